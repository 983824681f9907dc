"""Accounts: who may ask, with which password, from which device."""

from dataclasses import dataclass

from homeserver.app.foundation import Foundation
from homeserver.app.outside import Outside
from homeserver.services.accounts import Accounts
from homeserver.services.appservices import Appservices
from homeserver.services.device_lists import DeviceLists
from homeserver.services.devices import Devices
from homeserver.services.logins import Logins
from homeserver.services.openid import OpenId
from homeserver.services.password_login import PasswordLogin
from homeserver.services.passwords import Passwords
from homeserver.services.profiles import Profiles
from homeserver.services.registration import Registration
from homeserver.services.remote_profiles import FederatedProfiles
from homeserver.services.sessions import Sessions
from homeserver.services.shared_secret_registration import SharedSecretRegistration
from homeserver.services.uia import InteractiveAuth


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


def build_accounts(base: Foundation, outside: Outside) -> AccountServices:
    """Reads the registrations of application services, too. What accounts want of rooms is set later: rooms come after."""
    config, database, clock, randomness = base.config, base.database, base.clock, base.randomness
    appservices = Appservices.load(config.appservices.registrations, base.server_name)
    device_lists = DeviceLists(database, base.server_name, share_names=config.federation.device_names)
    logins = Logins(database, clock, randomness, device_lists, config.sessions)
    passwords = Passwords(config.passwords, min_length=config.registration.min_password_length)
    accounts = Accounts(
        database, clock, randomness, passwords, logins, appservices, base.server_name, tasks=base.tasks
    )
    password_login = PasswordLogin(database, passwords, base.server_name)
    uia = InteractiveAuth(database, clock, randomness, password_login, lifetime_s=config.sessions.uia_lifetime)
    sessions = Sessions(database, clock, base.tasks, appservices, size=config.caches.sessions)
    remote_profiles = FederatedProfiles(outside.client) if config.federation.enabled else None
    return AccountServices(
        appservices,
        sessions,
        device_lists,
        logins,
        accounts,
        password_login,
        uia,
        Registration(accounts, uia, config.registration, base.server_name),
        SharedSecretRegistration(accounts, clock, randomness, config.registration, base.server_name),
        OpenId(database, clock, randomness, base.server_name),
        Devices(database, clock, sessions, logins, device_lists),
        Profiles(database, base.tasks, appservices, base.server_name, remote=remote_profiles),
    )
