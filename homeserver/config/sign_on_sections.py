"""Sections about proving who one is by other means than a password: single sign-on, terms, captchas."""

from dataclasses import dataclass
from typing import Literal

from homeserver.config.option import REQUIRED, Duration, Secret, option


@dataclass(frozen=True, slots=True)
class Policy:
    """A document that people agree to when they register; several of one id are the same in other languages."""

    id: str = option(REQUIRED, "A short name, such as privacy_policy.")
    version: str = option("1.0", "Its version.")
    language: str = option("en", "The language of this edition.")
    name: str = option(REQUIRED, "What people see.")
    url: str = option(REQUIRED, "Where it can be read.")


@dataclass(frozen=True, slots=True)
class Captcha:
    """reCAPTCHA when registering."""

    site_key: str | None = option(None, "The public key of the site; default: none is asked.")
    secret_key: Secret | None = option(None, "The secret that goes with it.")
    verify_url: str = option(
        "https://www.google.com/recaptcha/api/siteverify", "Where answers are checked.", advanced=True
    )


@dataclass(frozen=True, slots=True)
class IdentityProvider:
    """An OpenID Connect provider that people log in with."""

    id: str = option(REQUIRED, "A name that never changes: accounts are linked by it. Letters, digits and .-_~")
    name: str = option(REQUIRED, "What people see on the button.")
    icon: str | None = option(None, "mxc:// URI of a picture for the button.")
    brand: str | None = option(None, "Which well-known provider it is, for clients that have its picture.")
    issuer: str = option(REQUIRED, "The provider's issuer URL; the rest is found at .well-known/openid-configuration.")
    client_id: str = option(REQUIRED, "What the provider calls this server.")
    client_secret: Secret | None = option(None, "The secret that goes with it; default: a public client.")
    client_auth: Literal["basic", "post", "none"] | None = option(
        None, "How the secret is shown; default: as the provider says that it wants it."
    )
    scopes: tuple[str, ...] = option(("openid", "profile", "email"), "What is asked for; openid must be among them.")
    pkce: Literal["always", "never"] = option("always", "Proof Key for Code Exchange.")
    userinfo: bool = option(False, "Read the provider's userinfo too, for claims that are not in the ID token.")
    localpart: str = option("{preferred_username}", "The user name, claims in braces; {org.unit} reaches inside.")
    display_name: str = option("{name}", "The display name of new accounts.")
    email: str = option("{email}", "The e-mail address of new accounts, where the provider has verified it.")
    ask_for_name: bool = option(False, "Let everybody choose a user name, not only those whose name is taken.")
    register: bool = option(True, "Make an account when somebody new logs in.")
    link_existing_accounts: bool = option(
        False,
        "Somebody new gets the account that has their user name already: only where the provider's names are this "
        "server's.",
    )
    required_claims: dict[str, str] = option({}, "Who may log in: claims with the values that they must have.")


@dataclass(frozen=True, slots=True)
class SignOn:
    """Single sign-on with OpenID Connect: docs/operating/single-sign-on.md."""

    providers: tuple[IdentityProvider, ...] = option(
        (),
        "The providers.",
        shown=[{"id": "example", "name": "Example", "issuer": "https://id.example.org/", "client_id": "hearth"}],
    )
    allowed_redirects: tuple[str, ...] = option(
        (),
        "Beginnings of the URLs of clients that get a login without people being asked.",
        shown=["https://app.example.org/"],
    )
    lifetime: Duration = option(900, "How long logging in may take.")
    login_token_lifetime: Duration = option(10, "How long the client has to use its login token.")
