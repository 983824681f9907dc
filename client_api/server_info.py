"""What the server is and can do (client-server-api §API standards, §Capabilities negotiation, §Server discovery)."""

import base64
import hashlib
import hmac
from typing import Any, Final

from homeserver.config import Config
from homeserver.core.room_versions import EXPERIMENTAL_VERSIONS, ROOM_VERSIONS
from homeserver.errors import NotFound, Unrecognized
from homeserver.runtime.clock import Clock
from homeserver.web.request import Request

VERSIONS: Final = ("r0.5.0", "r0.6.0", "r0.6.1", *(f"v1.{minor}" for minor in range(1, 17)))
UNSTABLE_FEATURES: Final = {
    "io.hearth.websocket": True,
    # Long in the specification; Element Web sets up cross-signing only where it reads this,
    "org.matrix.e2e_cross_signing": True,
    # and publishes spaces, and looks for published ones, only where it reads this.
    "org.matrix.msc3827.stable": True,
    "org.matrix.msc3202": True,
    "org.matrix.msc3814": True,
    "org.matrix.msc3874": True,
    "org.matrix.msc4155": True,
    "org.matrix.msc4380": True,
    "org.matrix.msc4380.stable": True,
    "org.matrix.simplified_msc3575": True,
    "uk.tcpip.msc4133": True,
    "uk.tcpip.msc4133.stable": True,
}


class ServerInfoHandlers:
    """Answers from the config."""

    def __init__(self, config: Config, clock: Clock) -> None:
        self._config = config
        self._clock = clock
        self._capabilities = _capabilities(config)
        self._features = UNSTABLE_FEATURES | _configured_features(config)

    async def versions(self, request: Request) -> dict[str, Any]:
        return {"versions": VERSIONS, "unstable_features": self._features}

    async def capabilities(self, request: Request) -> dict[str, Any]:
        if request.user.is_admin:
            return {"capabilities": {**self._capabilities, "m.account_moderation": {"suspend": True, "lock": True}}}
        return {"capabilities": self._capabilities}

    async def well_known_client(self, request: Request) -> dict[str, Any]:
        return {"m.homeserver": {"base_url": self._config.public_base_url.rstrip("/")}}

    async def well_known_support(self, request: Request) -> dict[str, Any]:
        support = self._config.support
        reached_by = {"matrix_id": support.matrix_id, "email_address": support.email_address}
        contact = {name: value for name, value in reached_by.items() if value}
        answer: dict[str, Any] = {"contacts": [{**contact, "role": "m.role.admin"}]} if contact else {}
        if support.page:
            answer["support_page"] = support.page
        if not answer:
            raise NotFound("The operator of this server has not said how to be reached")
        return answer

    async def well_known_policy_server(self, request: Request) -> dict[str, Any]:
        key = self._config.server.policy_server_key
        if key is None:
            raise NotFound("There is no policy server of this name")
        return {"public_keys": {"ed25519": key}}

    async def auth_metadata(self, request: Request) -> dict[str, Any]:
        """Clients take this for the sign that they log in by the API of login and registration."""
        raise Unrecognized("This server does not speak OAuth 2.0")

    async def turn_server(self, request: Request) -> dict[str, Any]:
        """Credentials that the TURN server can check by itself, as it shares a secret with this one."""
        turn = self._config.turn
        if not turn.uris or turn.shared_secret is None:
            return {}
        username = f"{self._clock.now_ms() // 1000 + round(turn.lifetime)}:{request.user.user_id}"
        mac = hmac.new(turn.shared_secret.encode(), username.encode(), hashlib.sha1).digest()
        return {
            "username": username,
            "password": base64.b64encode(mac).decode(),
            "uris": list(turn.uris),
            "ttl": round(turn.lifetime),
        }


def _configured_features(config: Config) -> dict[str, bool]:
    encrypted = config.rooms.encryption_default
    return {
        # Which new rooms are encrypted whatever a client asks for, by preset: so Element does not ask.
        "io.element.e2ee_forced.private": encrypted != "off",
        "io.element.e2ee_forced.trusted_private": encrypted != "off",
        "io.element.e2ee_forced.public": encrypted == "all",
        "org.matrix.msc4140": config.rooms.max_event_delay > 0 and config.rooms.max_delayed_events > 0,
        # Clients that let people follow threads expect to be notified by that.
        "org.matrix.msc4306": config.push.thread_subscriptions,
    }


def _capabilities(config: Config) -> dict[str, Any]:
    return {
        "m.room_versions": {
            "default": config.rooms.default_version,
            "available": dict.fromkeys(ROOM_VERSIONS, "stable") | dict.fromkeys(EXPERIMENTAL_VERSIONS, "unstable"),
        },
        "m.change_password": {"enabled": config.sessions.password_login},
        "m.set_displayname": {"enabled": True},
        "m.set_avatar_url": {"enabled": True},
        "m.profile_fields": {"enabled": True},
        "m.3pid_changes": {"enabled": config.email.host is not None},
        "m.get_login_token": {"enabled": True},
        "org.matrix.msc4140.delayed_events": {
            "max_delay_ms": round(config.rooms.max_event_delay * 1000),
            "max_scheduled": config.rooms.max_delayed_events,
        },
    }
