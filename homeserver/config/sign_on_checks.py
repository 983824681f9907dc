"""What no single option about accounts can be wrong in by itself."""

import re
from collections.abc import Iterator
from typing import Final
from urllib.parse import urlsplit

from homeserver.config.sections import Config
from homeserver.config.sign_on_sections import IdentityProvider
from homeserver.config.values import Problem, describe
from homeserver.core.identifiers import is_valid_new_localpart, is_valid_room_alias, is_valid_user_id

_OPAQUE_ID: Final = re.compile(r"[0-9A-Za-z._~-]{1,255}")
_LOOPBACK: Final = frozenset(("localhost", "127.0.0.1", "::1"))


def check_accounts(config: Config) -> Iterator[Problem]:
    """Every contradiction in what is said of registering, of single sign-on and of the server's notices."""
    registration = config.registration
    if registration.requires_email and config.email.host is None:
        yield Problem("registration.requires_email", "expected false, found true: mails need a server (email.host)")
    captcha = registration.captcha
    if (captcha.site_key is None) != (captcha.secret_key is None):
        yield Problem("registration.captcha", "expected site_key and secret_key together")
    for number, alias in enumerate(registration.auto_join_rooms):
        if not is_valid_room_alias(alias):
            yield Problem(f"registration.auto_join_rooms[{number}]", f"expected a room alias, found {describe(alias)}")
    creator = registration.auto_join_creator
    if creator is not None and not is_valid_new_localpart(creator):
        yield Problem("registration.auto_join_creator", f"expected a user name, found {describe(creator)}")
    editions = [(policy.id, policy.language) for policy in registration.terms]
    if len(set(editions)) < len(editions):
        yield Problem("registration.terms", "expected one edition of each id and language")
    for number, policy in enumerate(registration.terms):
        if urlsplit(policy.url).scheme not in ("http", "https"):
            yield Problem(f"registration.terms[{number}].url", f"expected a URL, found {describe(policy.url)}")
    yield from _check_notices(config)
    yield from _check_providers(config)
    if not config.sessions.password_login and registration.enabled and not config.sso.providers:
        yield Problem(
            "sessions.password_login",
            "expected true, found false: people could register, and not log in again (sso.providers is empty)",
        )


def _check_notices(config: Config) -> Iterator[Problem]:
    notices = config.server_notices
    if not is_valid_new_localpart(notices.localpart) or not is_valid_user_id(config.notices_user):
        yield Problem("server_notices.localpart", f"expected a user name, found {describe(notices.localpart)}")
    for name, url in (("avatar_url", notices.avatar_url), ("room_avatar_url", notices.room_avatar_url)):
        if url is not None and not url.startswith("mxc://"):
            yield Problem(f"server_notices.{name}", f"expected an mxc:// URI, found {describe(url)}")


def _check_providers(config: Config) -> Iterator[Problem]:
    for number, start in enumerate(config.sso.allowed_redirects):
        parts = urlsplit(start)
        if not parts.scheme or (parts.scheme in ("http", "https") and not parts.path):
            # Without the slash it would also be the beginning of https://app.example.org.elsewhere.net/.
            expected = "expected the beginning of a URL, with a slash after the host"
            yield Problem(f"sso.allowed_redirects[{number}]", f"{expected}, found {describe(start)}")
    seen: set[str] = set()
    for number, provider in enumerate(config.sso.providers):
        path = f"sso.providers[{number}]"
        if not _OPAQUE_ID.fullmatch(provider.id) or provider.id in seen:
            yield Problem(
                f"{path}.id", f"expected letters, digits and .-_~ that no other has, found {describe(provider.id)}"
            )
        seen.add(provider.id)
        yield from _check_provider(provider, path)


def _check_provider(provider: IdentityProvider, path: str) -> Iterator[Problem]:
    parts = urlsplit(provider.issuer)
    is_safe = parts.scheme == "https" or (parts.scheme == "http" and parts.hostname in _LOOPBACK)
    if not is_safe or not parts.hostname or parts.query or parts.fragment:
        yield Problem(f"{path}.issuer", f"expected a URL that begins with https://, found {describe(provider.issuer)}")
    if "openid" not in provider.scopes:
        yield Problem(f"{path}.scopes", "expected openid among them")
    if provider.icon is not None and not provider.icon.startswith("mxc://"):
        yield Problem(f"{path}.icon", f"expected an mxc:// URI, found {describe(provider.icon)}")
    if provider.client_auth in ("basic", "post") and provider.client_secret is None:
        yield Problem(f"{path}.client_secret", f"expected a secret, as client_auth is {provider.client_auth}")
    if not provider.localpart and not provider.ask_for_name:
        yield Problem(f"{path}.localpart", "expected a template, or ask_for_name: true")
