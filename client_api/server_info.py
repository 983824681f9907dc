"""What the server is and can do (client-server-api §API standards, §Capabilities negotiation, §Server discovery)."""

import base64
import hashlib
import hmac
from typing import Any, Final

from homeserver.config import Config
from homeserver.core.room_versions import ROOM_VERSIONS
from homeserver.errors import NotFound
from homeserver.runtime.clock import Clock
from homeserver.web.request import Request

VERSIONS: Final = ("r0.5.0", "r0.6.0", "r0.6.1", *(f"v1.{minor}" for minor in range(1, 17)))
UNSTABLE_FEATURES: Final = {
    "org.matrix.msc3202": True,
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

    async def versions(self, request: Request) -> dict[str, Any]:
        return {"versions": VERSIONS, "unstable_features": UNSTABLE_FEATURES}

    async def capabilities(self, request: Request) -> dict[str, Any]:
        return {"capabilities": self._capabilities}

    async def well_known_client(self, request: Request) -> dict[str, Any]:
        return {"m.homeserver": {"base_url": self._config.public_base_url.rstrip("/")}}

    async def well_known_support(self, request: Request) -> dict[str, Any]:
        raise NotFound("The operator of this server has not said how to be reached")

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


def _capabilities(config: Config) -> dict[str, Any]:
    return {
        "m.room_versions": {
            "default": config.rooms.default_version,
            "available": dict.fromkeys(ROOM_VERSIONS, "stable"),
        },
        "m.change_password": {"enabled": config.sessions.password_login},
        "m.set_displayname": {"enabled": True},
        "m.set_avatar_url": {"enabled": True},
        "m.profile_fields": {"enabled": True},
        "m.3pid_changes": {"enabled": False},
        "m.get_login_token": {"enabled": True},
    }
