"""Policy servers of rooms: who it is, which events it is asked about, and whether it has signed one.

server-server-api §Policy Servers
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from homeserver.core.canonical_json import CanonicalJSONError
from homeserver.core.events import Event
from homeserver.core.hashes import bytes_of_base64, signed_bytes
from homeserver.core.identifiers import is_valid_server_name
from homeserver.core.signatures import verify

POLICY: Final = "m.room.policy"
POLICY_STATE: Final = (POLICY, "")
KEY_VERSION: Final = "policy_server"
KEY_ID: Final = "ed25519:policy_server"


@dataclass(frozen=True, slots=True)
class PolicyServer:
    """What an m.room.policy event names: a server and the key (32 bytes) with which it signs what it recommends."""

    server_name: str
    verify_key: bytes

    @classmethod
    def of(cls, content: Mapping[str, Any]) -> "PolicyServer | None":
        """None where the content is not valid, as if there were no such event."""
        via, keys = content.get("via"), content.get("public_keys")
        text = keys.get("ed25519") if isinstance(keys, dict) else None
        key = bytes_of_base64(text) if isinstance(text, str) else None
        if not isinstance(via, str) or not is_valid_server_name(via) or key is None or len(key) != 32:
            return None
        return cls(via, key)

    def recommends(self, event: Event) -> bool:
        """Whether the event bears this server's signature."""
        by_server = event.pdu.get("signatures")
        by_key = by_server.get(self.server_name) if isinstance(by_server, dict) else None
        text = by_key.get(KEY_ID) if isinstance(by_key, dict) else None
        signature = bytes_of_base64(text) if isinstance(text, str) else None
        if signature is None:
            return False
        try:
            return verify(signed_bytes(event.pdu, event.room_version), signature, self.verify_key)
        except CanonicalJSONError:
            return False


def is_exempt(event_type: str, state_key: str | None) -> bool:
    """Policy servers have no say in who the policy server is."""
    return event_type == POLICY and state_key == ""
