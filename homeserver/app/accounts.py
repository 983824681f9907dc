"""Accounts: who may ask, with which password, from which device."""

from dataclasses import dataclass
from typing import Any

from homeserver.app.foundation import Foundation
from homeserver.app.outside import Outside
from homeserver.config import Config
from homeserver.config.server_sections import Email
from homeserver.runtime.mailer import Mailer
from homeserver.services.accounts import Accounts
from homeserver.services.appservices import Appservices
from homeserver.services.device_lists import DeviceLists
from homeserver.services.devices import Devices
from homeserver.services.email_addresses import EmailAddresses
from homeserver.services.email_pushers import forget_address
from homeserver.services.logins import Logins
from homeserver.services.openid import OpenId
from homeserver.services.password_login import PasswordLogin, without_limit
from homeserver.services.passwords import Passwords
from homeserver.services.profiles import Profiles
from homeserver.services.registration import Registration
from homeserver.services.remote_profiles import FederatedProfiles
from homeserver.services.sessions import Sessions
from homeserver.services.shared_secret_registration import SharedSecretRegistration
from homeserver.services.uia import InteractiveAuth
from homeserver.web.rate_limits import RateLimiter


@dataclass(frozen=True, slots=True)
class AccountServices:
    """What users, their devices and their tokens are."""

    appservices: Appservices
    sessions: Sessions
    device_lists: DeviceLists
    logins: Logins
    accounts: Accounts
    password_login: PasswordLogin
    uia: InteractiveAuth
    registration: Registration
    shared_secret: SharedSecretRegistration
    openid: OpenId
    devices: Devices
    profiles: Profiles
    passwords: Passwords
    emails: EmailAddresses

    def start(self, base: Foundation) -> None:
        """Clean up now and then what has expired."""
        base.tasks.loop("expired tokens", self.logins.forget_expired, every_s=3600, clock=base.clock)
        base.tasks.loop("expired authentication", self.uia.forget_expired, every_s=300, clock=base.clock)

    async def stop(self) -> None:
        """Note which devices were seen."""
        await self.sessions.note_seen()
        self.passwords.close()


def build_accounts(base: Foundation, outside: Outside, limiter: RateLimiter | None = None) -> AccountServices:
    """Reads the registrations of application services, too. What accounts want of rooms is set once there are rooms."""
    config, database, clock, randomness = base.config, base.database, base.clock, base.randomness
    appservices = Appservices.load(config.appservices.registrations, base.server_name)
    device_lists = DeviceLists(database, base.server_name, share_names=config.federation.device_names)
    logins = Logins(database, clock, randomness, device_lists, config.sessions)
    passwords = Passwords(config.passwords, min_length=config.registration.min_password_length)
    accounts = Accounts(
        database, clock, randomness, passwords, logins, appservices, base.server_name, tasks=base.tasks,
        reserved=(config.notices_user,),
    )  # fmt: skip
    limit = without_limit if limiter is None else lambda user_id: limiter.check("login", f"account:{user_id}")
    password_login = PasswordLogin(database, passwords, base.server_name, limit)
    uia = InteractiveAuth(database, clock, randomness, password_login, lifetime_s=config.sessions.uia_lifetime)
    sessions = Sessions(database, clock, base.tasks, appservices, size=config.caches.sessions)
    emails = _emails(base)
    uia.emails = password_login.emails = emails
    remote_profiles = FederatedProfiles(outside.client) if config.federation.enabled else None
    return AccountServices(
        appservices,
        sessions,
        device_lists,
        logins,
        accounts,
        password_login,
        uia,
        Registration(accounts, uia, config.registration, base.server_name, emails),
        SharedSecretRegistration(accounts, clock, randomness, config.registration, base.server_name),
        OpenId(database, clock, randomness, base.server_name),
        Devices(database, clock, sessions, logins, device_lists),
        Profiles(
            database, base.tasks, appservices, base.server_name, remote=remote_profiles, given=_given_profiles(config)
        ),
        passwords,
        emails,
    )


def _given_profiles(config: Config) -> dict[str, dict[str, Any]]:
    notices = config.server_notices
    profile = {"displayname": notices.display_name, "avatar_url": notices.avatar_url}
    return {config.notices_user: {name: value for name, value in profile.items() if value}}


def mailer_of(config: Email) -> Mailer | None:
    """What sends mails; None where the operator has named no server."""
    if config.host is None:
        return None
    return Mailer(
        config.host,
        config.port,
        security=config.security,
        sender=config.sender,
        user=config.user,
        password=config.password,
    )


def _emails(base: Foundation) -> EmailAddresses:
    emails = EmailAddresses(
        base.database,
        mailer_of(base.config.email),
        base.clock,
        base.randomness,
        server_name=base.server_name,
        public_base_url=base.config.public_base_url,
    )
    emails.on_removed = forget_address
    return emails
