"""One OpenID Connect provider: where people are sent to log in, and what it says of them when they come back.

OpenID Connect Core 1.0 (authorization code flow) and Discovery 1.0, PKCE (RFC 7636), RFC 9207.
"""

import hashlib
import logging
from base64 import b64encode, urlsafe_b64encode
from collections.abc import Mapping
from typing import Any, Final, Protocol
from urllib.parse import quote_plus, urlencode

import orjson

from homeserver.config.sign_on_sections import IdentityProvider as Options
from homeserver.errors import BadGateway, Forbidden
from homeserver.runtime.clock import Clock
from homeserver.runtime.http_client import HttpAnswer, HttpFailure

log = logging.getLogger(__name__)
_ALGORITHMS: Final = (
    "RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA"
)  # fmt: skip
_LEEWAY_S: Final = 60
_METADATA_LASTS_S: Final = 3600.0
_KEYS_AT_LEAST_S: Final = 10.0
_MAX_BYTES: Final = 1024 * 1024
_TIMEOUT_S: Final = 15.0


class Http(Protocol):
    """What requests to the provider are made with."""

    async def send(
        self,
        method: str,
        url: str,
        body: bytes,
        *,
        token: str | None = None,
        headers: Mapping[str, str] | None = None,
        timeout_s: float = 30.0,
        max_bytes: int = 65_536,
    ) -> HttpAnswer:
        """Raises HttpFailure."""
        ...


class ProviderFailed(BadGateway):
    """The provider cannot be reached, or does not answer as it should."""

    default_message = "The login service does not answer as it should; try again later"


class IdentityProvider:
    """Its metadata and keys are read when they are first needed, and again when they are old."""

    def __init__(self, options: Options, http: Http, clock: Clock, *, redirect_uri: str) -> None:
        self.options = options
        self._http = http
        self._clock = clock
        self._redirect_uri = redirect_uri
        self._metadata: dict[str, Any] = {}
        self._metadata_until = self._keys_at = float("-inf")
        self._keys: Any = None

    async def authorization_url(self, state: str, nonce: str, verifier: str) -> str:
        """Where to send the browser. Raises ProviderFailed."""
        endpoint = await self._endpoint("authorization_endpoint")
        query = {
            "response_type": "code",
            "client_id": self.options.client_id,
            "redirect_uri": self._redirect_uri,
            "scope": " ".join(self.options.scopes),
            "state": state,
            "nonce": nonce,
        }
        if self.options.pkce == "always":
            challenge = urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
            query |= {"code_challenge": challenge, "code_challenge_method": "S256"}
        return f"{endpoint}{'&' if '?' in endpoint else '?'}{urlencode(query)}"

    def require_issuer(self, issuer: str | None) -> None:
        """Of an answer that says who it is from (RFC 9207). Raises Forbidden."""
        if issuer is not None and issuer != self.options.issuer:
            raise Forbidden("The answer comes from another login service")

    async def claims(self, code: str, nonce: str, verifier: str) -> dict[str, Any]:
        """What the provider says of who came back with a code. Raises ProviderFailed, Forbidden."""
        form = {"grant_type": "authorization_code", "code": code, "redirect_uri": self._redirect_uri}
        if self.options.pkce == "always":
            form["code_verifier"] = verifier
        answer = await self._ask_for_tokens(form)
        id_token = answer.get("id_token")
        if not isinstance(id_token, str):
            raise self._failure("the answer has no id_token")
        claims = await self._verified(id_token, nonce)
        if self.options.userinfo:
            said = await self._userinfo(answer.get("access_token"))
            if said.get("sub") != claims["sub"]:
                raise self._failure("userinfo is about somebody else")
            claims = {**said, **claims}
        return claims

    # --- the token endpoint

    async def _ask_for_tokens(self, form: dict[str, str]) -> dict[str, Any]:
        endpoint = await self._endpoint("token_endpoint")
        headers = {"Content-Type": "application/x-www-form-urlencoded", "Accept": "application/json"}
        client_id, secret = self.options.client_id, self.options.client_secret
        way = self._client_auth()
        if way == "basic":
            pair = f"{quote_plus(client_id)}:{quote_plus(secret or '')}"
            headers["Authorization"] = f"Basic {b64encode(pair.encode()).decode()}"
        else:
            form["client_id"] = client_id
            if way == "post" and secret is not None:
                form["client_secret"] = secret
        answer, found = await self._json("POST", endpoint, urlencode(form).encode(), headers)
        if found.get("error") == "invalid_grant":
            raise Forbidden("This login has expired: try again")
        if not answer.is_success:
            raise self._failure(f"the token endpoint answers {answer.status} {str(found.get('error', ''))[:100]!r}")
        return found

    def _client_auth(self) -> str:
        if self.options.client_auth is not None:
            return self.options.client_auth
        if self.options.client_secret is None:
            return "none"
        supported = self._metadata.get("token_endpoint_auth_methods_supported")
        if isinstance(supported, list) and "client_secret_basic" not in supported and "client_secret_post" in supported:
            return "post"
        return "basic"

    async def _userinfo(self, access_token: Any) -> dict[str, Any]:
        endpoint = await self._endpoint("userinfo_endpoint")
        if not isinstance(access_token, str):
            raise self._failure("the answer has no access_token")
        headers = {"Accept": "application/json"}
        answer, found = await self._json("GET", endpoint, b"", headers, token=access_token)
        if not answer.is_success:
            raise self._failure(f"the userinfo endpoint answers {answer.status}")
        return found

    # --- the ID token

    async def _verified(self, id_token: str, nonce: str) -> dict[str, Any]:
        from joserfc import jwt
        from joserfc.errors import JoseError

        try:
            claims = dict((await self._decoded(id_token)).claims)
            jwt.JWTClaimsRegistry(
                now=self._clock.now_ms() // 1000,
                leeway=_LEEWAY_S,
                iss={"essential": True, "value": self.options.issuer},
                aud={"essential": True, "value": self.options.client_id},
                exp={"essential": True},
                iat={"essential": True},
                sub={"essential": True},
                nonce={"essential": True, "value": nonce},
            ).validate(claims)
        except (JoseError, ValueError, TypeError) as error:
            log.warning("single sign-on: %s gave an ID token that does not hold: %s", self.options.id, error)
            raise Forbidden("The login service's answer could not be verified") from error
        several = isinstance(claims["aud"], list) and len(claims["aud"]) > 1
        if (several or "azp" in claims) and claims.get("azp") != self.options.client_id:
            raise Forbidden("The login was meant for another service")
        if not isinstance(claims["sub"], str) or not 0 < len(claims["sub"]) <= 255:
            raise Forbidden("The login service does not say who this is")
        return claims

    async def _decoded(self, id_token: str) -> Any:
        """Verified with the provider's keys; they are read again where the one that signed is not among them."""
        from joserfc import jwt
        from joserfc.errors import JoseError

        try:
            return jwt.decode(id_token, await self._key_set(), algorithms=_ALGORITHMS)
        except (JoseError, ValueError):
            if self._clock.monotonic() - self._keys_at < _KEYS_AT_LEAST_S:
                raise
        self._keys = None
        return jwt.decode(id_token, await self._key_set(), algorithms=_ALGORITHMS)

    async def _key_set(self) -> Any:
        if self._keys is None:
            from joserfc.errors import JoseError
            from joserfc.jwk import KeySet

            answer, found = await self._json("GET", await self._endpoint("jwks_uri"), b"", {})
            keys = found.get("keys")
            if not answer.is_success or not isinstance(keys, list):
                raise self._failure(f"its keys cannot be read (status {answer.status})")
            usable = [key for key in keys if isinstance(key, dict) and key.get("use", "sig") == "sig"]
            usable = [key for key in usable if key.get("kty") in ("RSA", "EC", "OKP")]
            try:
                self._keys = KeySet.import_key_set({"keys": usable})
            except (JoseError, ValueError, KeyError) as error:
                raise self._failure(f"its keys cannot be used: {type(error).__name__}") from error
            self._keys_at = self._clock.monotonic()
        return self._keys

    # --- metadata

    async def _endpoint(self, name: str) -> str:
        now = self._clock.monotonic()
        if self._metadata_until <= now:
            url = self.options.issuer.rstrip("/") + "/.well-known/openid-configuration"
            answer, found = await self._json("GET", url, b"", {"Accept": "application/json"})
            if not answer.is_success or found.get("issuer") != self.options.issuer:
                raise self._failure(f"{url} answers {answer.status} and the issuer {str(found.get('issuer'))[:100]!r}")
            self._metadata, self._metadata_until = found, now + _METADATA_LASTS_S
        endpoint = self._metadata.get(name)
        if not isinstance(endpoint, str) or not endpoint.startswith(("https://", "http://")):
            raise self._failure(f"its metadata has no {name}")
        return endpoint

    async def _json(
        self, method: str, url: str, body: bytes, headers: Mapping[str, str], *, token: str | None = None
    ) -> tuple[HttpAnswer, dict[str, Any]]:
        try:
            answer = await self._http.send(
                method, url, body, token=token, headers=headers, timeout_s=_TIMEOUT_S, max_bytes=_MAX_BYTES
            )
        except HttpFailure as error:
            raise self._failure(f"{url}: {error}") from error
        try:
            value = orjson.loads(answer.body)
        except orjson.JSONDecodeError:
            value = None
        return answer, value if isinstance(value, dict) else {}

    def _failure(self, what: str) -> ProviderFailed:
        log.warning("single sign-on: the provider %s: %s", self.options.id, what)
        return ProviderFailed()
