"""Other proofs of who somebody is than a password: identity providers, captchas, terms."""

from dataclasses import dataclass

from client_api.auth_pages import AuthPageHandlers
from client_api.single_sign_on import BASE, SingleSignOnHandlers
from federation.outbound.transport import ssl_context
from homeserver.app.accounts import AccountServices
from homeserver.app.foundation import Foundation
from homeserver.config.sign_on_sections import Policy
from homeserver.runtime.http_client import HttpClient
from homeserver.services.captcha import Captcha
from homeserver.services.identity_provider import IdentityProvider
from homeserver.services.single_sign_on import SingleSignOn


@dataclass(frozen=True, slots=True)
class SignOnServices:
    """Single sign-on, and the handlers of its pages."""

    sso: SingleSignOn
    http: HttpClient
    handlers: tuple[object, ...]

    def start(self, base: Foundation) -> None:
        """Clean up now and then what has expired."""
        if self.sso.is_enabled:
            base.tasks.loop("expired single sign-on", self.sso.forget_old, every_s=300, clock=base.clock)

    async def stop(self) -> None:
        """End the connections."""
        await self.http.close()


def build_sign_on(base: Foundation, accounts: AccountServices) -> SignOnServices:
    """Teaches user-interactive authentication its further stages."""
    config = base.config
    # Providers are the operator's choice: they may be in the server's own network.
    http = HttpClient(tls=ssl_context(config.federation.ca_files, config.federation.verify_certificates))
    redirect_uri = f"{config.public_base_url.rstrip('/')}{BASE}/callback"
    providers = [
        IdentityProvider(options, http, base.clock, redirect_uri=redirect_uri) for options in config.sso.providers
    ]
    sso = SingleSignOn(
        base.database,
        base.clock,
        base.randomness,
        accounts.accounts,
        accounts.logins,
        accounts.uia,
        accounts.emails,
        config.sso,
        providers,
    )
    uia = accounts.uia
    uia.has_passwords = config.sessions.password_login
    uia.sign_on = sso if sso.is_enabled else None
    uia.policies = policies_of(config.registration.terms)
    captcha = config.registration.captcha
    if captcha.site_key is not None and captcha.secret_key is not None:
        uia.captchas = Captcha(
            http, site_key=captcha.site_key, secret_key=captcha.secret_key, verify_url=captcha.verify_url
        )
    is_secure = config.public_base_url.startswith("https://")
    return SignOnServices(
        sso, http, (SingleSignOnHandlers(sso, is_secure=is_secure), AuthPageHandlers(uia, sso))
    )


def policies_of(terms: tuple[Policy, ...]) -> dict[str, dict[str, object]]:
    """As clients are told of them (client-server-api §Terms of service at registration)."""
    policies: dict[str, dict[str, object]] = {}
    for edition in terms:
        policy = policies.setdefault(edition.id, {"version": edition.version})
        policy[edition.language] = {"name": edition.name, "url": edition.url}
    return policies
