"""A small OpenID Connect provider on loopback: it logs everybody in at once, as whoever `person` is."""

import hashlib
from base64 import b64decode, urlsafe_b64encode
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from functools import cache
from typing import Any
from urllib.parse import parse_qsl, urlencode

from aiohttp import web
from aiohttp.test_utils import TestServer
from joserfc import jwt
from joserfc.jwk import ECKey, RSAKey

from homeserver.runtime.clock import Clock

CLIENT_ID, CLIENT_SECRET = "hearth client", "s3cret:&"


@dataclass
class OpenIdProvider:
    """What it answers can be changed; `forms` are what its token endpoint was sent."""

    clock: Clock
    url: str = ""
    key: Any = field(default_factory=lambda: _first_key())
    published: Any = None  # the key that it says is its own, where that is another
    algorithm: str = "RS256"
    person: dict[str, Any] = field(
        default_factory=lambda: {"sub": "1001", "preferred_username": "Dana", "name": "Dana <D>"}
    )
    userinfo: dict[str, Any] = field(default_factory=dict)
    changed: dict[str, Any] = field(default_factory=dict)  # claims of the ID token that are not as they should be
    metadata: dict[str, Any] = field(default_factory=dict)
    refusal: str | None = None
    forms: list[dict[str, str]] = field(default_factory=list)
    asked: dict[str, dict[str, str]] = field(default_factory=dict)

    def rotate(self) -> None:
        """Another key, of another kind."""
        self.key, self.algorithm = ECKey.generate_key("P-256", {"kid": "two", "use": "sig"}), "ES256"

    async def discovery(self, request: web.Request) -> web.Response:
        return web.json_response(
            {
                "issuer": self.url,
                "authorization_endpoint": f"{self.url}/authorize",
                "token_endpoint": f"{self.url}/token",
                "userinfo_endpoint": f"{self.url}/userinfo",
                "jwks_uri": f"{self.url}/keys",
            }
            | self.metadata
        )

    async def keys(self, request: web.Request) -> web.Response:
        return web.json_response({"keys": [(self.published or self.key).as_dict(private=False)]})

    async def authorize(self, request: web.Request) -> web.Response:
        """As a person's browser would come back."""
        query = dict(request.query)
        answer = {"state": query["state"], "iss": self.url}
        if self.refusal is not None:
            answer["error"] = self.refusal
        else:
            answer["code"] = f"code{len(self.asked)}"
            self.asked[answer["code"]] = query
        raise web.HTTPFound(f"{query['redirect_uri']}?{urlencode(answer)}")

    async def token(self, request: web.Request) -> web.Response:
        form = dict(parse_qsl(await request.text()))
        self.forms.append(form)
        asked = self.asked.pop(form.get("code", ""), None)
        basic = b64decode(request.headers.get("Authorization", "Basic ").removeprefix("Basic ")).decode()
        if basic != "hearth+client:s3cret%3A%26" and form.get("client_secret") != CLIENT_SECRET:
            return web.json_response({"error": "invalid_client"}, status=401)
        challenge = urlsafe_b64encode(hashlib.sha256(form.get("code_verifier", "").encode()).digest())
        if asked is None or challenge.rstrip(b"=").decode() != asked["code_challenge"]:
            return web.json_response({"error": "invalid_grant"}, status=400)
        now = self.clock.now_ms() // 1000
        claims = {"iss": self.url, "aud": CLIENT_ID, "iat": now, "exp": now + 300, "nonce": asked["nonce"]}
        claims |= self.person | self.changed
        claims = {name: value for name, value in claims.items() if value is not None}
        header = {"alg": self.algorithm, "kid": self.key.kid}
        id_token = jwt.encode(header, claims, self.key, algorithms=[self.algorithm])
        return web.json_response({"access_token": "at", "token_type": "Bearer", "id_token": id_token})

    async def say_more(self, request: web.Request) -> web.Response:
        assert request.headers["Authorization"] == "Bearer at"
        return web.json_response(self.userinfo)


@cache
def _first_key() -> Any:
    """One for the run: making an RSA key takes a while."""
    return RSAKey.generate_key(2048, {"kid": "one", "use": "sig"})


@asynccontextmanager
async def openid_provider(clock: Clock) -> AsyncIterator[OpenIdProvider]:
    """Serve until the end of the block. `clock`: that of the server under test."""
    provider = OpenIdProvider(clock)
    application = web.Application()
    application.router.add_get("/.well-known/openid-configuration", provider.discovery)
    application.router.add_get("/keys", provider.keys)
    application.router.add_get("/authorize", provider.authorize)
    application.router.add_post("/token", provider.token)
    application.router.add_get("/userinfo", provider.say_more)
    async with TestServer(application) as server:
        provider.url = str(server.make_url("")).rstrip("/")
        yield provider
