"""A server without HTTP whose devices have keys, beside another server that says what the test wants."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson
from sqlalchemy import select

from federation.outbound.failures import FederationError
from homeserver.core.hashes import unpadded_base64
from homeserver.core.signatures import generate_signing_key, sign_json
from homeserver.runtime.bus import Bus
from homeserver.services.announce_devices import AnnounceDevices
from homeserver.services.cross_signing import CrossSigning
from homeserver.services.device_keys import DeviceKeys
from homeserver.services.device_lists import DeviceLists
from homeserver.services.idempotency import Idempotency
from homeserver.services.key_claims import KeyClaims
from homeserver.services.key_queries import KeyQueries
from homeserver.services.key_signatures import KeySignatures
from homeserver.services.local_keys import LocalKeys
from homeserver.services.one_time_key_counts import OneTimeKeyCounts
from homeserver.services.remote_device_lists import RemoteDeviceLists
from homeserver.services.sync.device_lists import DeviceLists as SyncDeviceLists
from homeserver.services.sync.device_messages import DeviceMessages
from homeserver.services.sync.engine import SyncEngine
from homeserver.services.to_device import ToDevice
from storage import devices, users
from storage.database import Database, Write
from storage.tables import outbound_edus
from tests.services.sync_world import SERVER, World

THERE = "there.example"
Json = dict[str, Any]


@dataclass
class OtherServers:
    """What other servers answer; a server without an answer is down. `before`: runs while a request is on its way."""

    devices: dict[str, Json] = field(default_factory=dict)
    keys: dict[str, Json] = field(default_factory=dict)
    claims: dict[str, Json] = field(default_factory=dict)
    asked: list[tuple[str, Any]] = field(default_factory=list)
    before: Callable[[], Awaitable[None]] | None = None

    async def user_devices(self, destination: str, user_id: str) -> Json:
        self.asked.append(("devices", user_id))
        return await self._answer(destination, self.devices.get(user_id))

    async def query_user_keys(self, destination: str, device_keys: Mapping[str, Sequence[str]]) -> Json:
        self.asked.append(("query", sorted(device_keys)))
        return await self._answer(destination, self.keys.get(destination))

    async def claim_user_keys(self, destination: str, one_time_keys: Mapping[str, Mapping[str, str]]) -> Json:
        self.asked.append(("claim", dict(one_time_keys)))
        return await self._answer(destination, self.claims.get(destination))

    async def _answer(self, destination: str, answer: Json | None) -> Json:
        if self.before is not None:
            before, self.before = self.before, None
            await before()
        if answer is None:
            raise FederationError("unreachable", destination, "down")
        return orjson.loads(orjson.dumps(answer))


class KeysWorld(World):
    """A `World` in which devices have keys and messages."""

    def __init__(self, db: Database, bus: Bus) -> None:
        self.others = OtherServers()
        super().__init__(db, bus)

    def make_engine(self) -> SyncEngine:
        db = self.db
        self.counts = OneTimeKeyCounts(db)
        self.lists = DeviceLists(db, SERVER, share_names=True)
        self.announce = AnnounceDevices(db, self.heads, self.tasks, self.lists, server_name=SERVER)
        self.device_keys = DeviceKeys(db, self.clock, self.lists, self.counts)
        self.remote_lists = RemoteDeviceLists(db, self.others, self.tasks, server_name=SERVER)
        self.queries = KeyQueries(db, self.remote_lists, self.others, server_name=SERVER)
        self.claims = KeyClaims(db, self.others, server_name=SERVER)
        self.cross_signing = CrossSigning(db, self.lists)
        self.signatures = KeySignatures(db, self.queries, self.lists)
        self.local_keys = LocalKeys(db, self.claims, server_name=SERVER)
        self.to_device = ToDevice(
            db,
            Idempotency(db, self.clock),
            self.clock,
            self.random,
            server_name=SERVER,
            kept=20,
            look_every=10,
        )
        engine = super().make_engine()
        engine._device_messages = DeviceMessages(self.to_device)
        engine._device_lists = SyncDeviceLists(self.notifier, self.users, self.heads, self.lists)
        engine._key_counts = self.counts
        return engine

    async def add_device(self, user_id: str, device_id: str = "DEVICE", name: str | None = None) -> None:
        """Log in."""

        async def operation(tx: Write) -> None:
            if await users.user_of(tx, user_id) is None:
                await users.create(tx, user_id, self.clock.now_ms())
            devices.put(tx, user_id, device_id, name, self.clock.now_ms(), "", "")

        await self.db.write(operation)

    async def upload(self, user_id: str, device_id: str = "DEVICE", *one_time: str, **body: Any) -> dict[str, int]:
        """Upload the device's keys and one-time keys of these ids."""
        self.clock.advance(0.001)
        body.setdefault("device_keys", device_keys(user_id, device_id))
        if one_time:
            body["one_time_keys"] = {f"signed_curve25519:{key_id}": one_time_key(key_id) for key_id in one_time}
        return await self.device_keys.upload(user_id, device_id, body)

    async def edus(self, edu_type: str) -> list[tuple[str, Json]]:
        """(destination, content) of the EDUs that wait, oldest first."""
        statement = select(outbound_edus.c.destination, outbound_edus.c.content).where(
            outbound_edus.c.edu_type == edu_type
        )
        async with self.db.read() as tx:
            rows = await tx.fetch_all(statement.order_by(outbound_edus.c.position))
        return [(row.destination, orjson.loads(row.content)) for row in rows]


def device_keys(user_id: str, device_id: str, seed: int = 1) -> Json:
    """Keys of a device, signed by it."""
    key = generate_signing_key(device_id, bytes([seed]) * 32)
    return sign_json(
        {
            "user_id": user_id,
            "device_id": device_id,
            "algorithms": ["m.olm.v1.curve25519-aes-sha2"],
            "keys": {
                f"ed25519:{device_id}": unpadded_base64(key.verify_key.encode()),
                f"curve25519:{device_id}": "c" * 43,
            },
        },
        user_id,
        key,
    )


def one_time_key(key: str) -> Json:
    return {"key": key, "signatures": {}}


class Identity:
    """A user's cross-signing keys."""

    def __init__(self, user_id: str, seed: int = 10) -> None:
        self.user_id = user_id
        self._keys = {}
        for number, usage in enumerate(("master", "self_signing", "user_signing")):
            plain = generate_signing_key("x", bytes([seed + number]) * 32)
            name = unpadded_base64(plain.verify_key.encode())
            self._keys[usage] = generate_signing_key(name, bytes([seed + number]) * 32)

    def name(self, usage: str) -> str:
        """The public key."""
        return str(self._keys[usage].version)

    def key_id(self, usage: str) -> str:
        return f"ed25519:{self.name(usage)}"

    def key(self, usage: str) -> Json:
        name = self.name(usage)
        key = {"user_id": self.user_id, "usage": [usage], "keys": {f"ed25519:{name}": name}}
        return key if usage == "master" else self.sign("master", key)

    def sign(self, usage: str, obj: Json) -> Json:
        return sign_json(obj, self.user_id, self._keys[usage])

    @property
    def body(self) -> Json:
        """For device_signing/upload."""
        return {f"{usage}_key": self.key(usage) for usage in self._keys}
