"""Another server for tests of the keyring: it publishes keys, and answers as a notary."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import orjson

from federation.outbound.client import FederationClient
from federation.outbound.reachability import Reachability
from federation.outbound.requests import Allowed, SignedRequests
from federation.outbound.transport import Answer
from homeserver.core.hashes import unpadded_base64
from homeserver.core.signatures import generate_signing_key, key_id_of, sign_json
from homeserver.runtime.clock import Clock
from homeserver.runtime.random import SeededRandomness
from tests.federation.network import Network


@dataclass
class KeyServer:
    """Publishes `keys` (current, signing) and `old` (key → when it expired)."""

    name: str
    valid_until: int
    seed: bytes = b"o" * 32
    version: str = "1"
    old: dict[Any, int] = field(default_factory=dict)
    notarised: list[dict[str, Any]] = field(default_factory=list)

    @property
    def key(self) -> Any:
        return generate_signing_key(self.version, self.seed)

    def published(self) -> dict[str, Any]:
        content = {
            "server_name": self.name,
            "valid_until_ts": self.valid_until,
            "verify_keys": {key_id_of(self.key): {"key": unpadded_base64(bytes(self.key.verify_key))}},
            "old_verify_keys": {
                key_id_of(key): {"key": unpadded_base64(bytes(key.verify_key)), "expired_ts": expired}
                for key, expired in self.old.items()
            },
        }
        return sign_json(content, self.name, self.key)

    async def serve(self, method: str, target: str, headers: Mapping[str, str], body: bytes | None) -> Answer:
        if target == "/_matrix/key/v2/server":
            return Answer(200, {}, orjson.dumps(self.published()))
        assert target == "/_matrix/key/v2/query"
        signed = [sign_json(response, self.name, self.key) for response in self.notarised]
        return Answer(200, {}, orjson.dumps({"server_keys": signed}))


def client_of(network: Network, name: str, clock: Clock, seed: bytes = b"a" * 32) -> FederationClient:
    """A federation client of the server `name`."""
    reachability = Reachability(clock, SeededRandomness(), retry_min_s=1, retry_max_s=10)
    key = generate_signing_key("1", seed)
    requests = SignedRequests(
        network.transport(name), reachability, name, key, timeout_s=10, is_allowed=Allowed()
    )
    return FederationClient(requests)
