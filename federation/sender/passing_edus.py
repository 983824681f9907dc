"""EDUs that are worth something now only: who is to be told that somebody types, has read, or is there."""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

from federation.sender.room_hosts import RoomHosts
from homeserver.core.canonical_json import decode
from homeserver.runtime.bus import Hint
from homeserver.runtime.clock import Clock
from storage import destinations as storage
from storage.database import Database
from storage.receipts import Receipt
from storage.streams import Stream


@dataclass(frozen=True, slots=True)
class PassingEdu:
    """What these servers are told. `key`: a later one with the same takes its place."""

    servers: Iterable[str]
    key: tuple[str, ...]
    edu_type: str
    content: dict[str, Any]


class PassingEdus:
    """Makes them of the hints of this server's own users."""

    def __init__(self, database: Database, hosts: RoomHosts, clock: Clock, server_name: str) -> None:
        self._database = database
        self._hosts = hosts
        self._clock = clock
        self._server_name = server_name

    async def of(self, hint: Hint) -> PassingEdu | None:
        """What others are to be told of; None where it is not theirs to know."""
        if hint.stream == Stream.TYPING:
            return await self._typing(hint)
        if hint.stream == Stream.RECEIPTS:
            return await self._receipt(hint)
        if hint.stream == Stream.PRESENCE:
            return await self._presence(hint)
        return None

    async def _typing(self, hint: Hint) -> PassingEdu | None:
        payload = hint.payload
        if not isinstance(payload, dict) or not payload.get("is_local"):
            return None
        room_id, user_id = hint.keys[0], payload["user_id"]
        content = {"room_id": room_id, "user_id": user_id, "typing": payload["typing"]}
        return PassingEdu(await self._hosts.of_room(room_id), ("typing", room_id, user_id), "m.typing", content)

    async def _receipt(self, hint: Hint) -> PassingEdu | None:
        room_id, receipt = hint.keys[0], hint.payload
        if len(hint.keys) > 1 and hint.keys[1].partition(":")[2] != self._server_name:
            return None
        if not isinstance(receipt, Receipt):
            receipt = await self._stored_receipt(room_id, hint.position)
        if receipt is None or receipt.receipt_type not in ("m.read", "io.hearth.delivered"):
            return None
        if receipt.user_id.partition(":")[2] != self._server_name:
            return None
        entry = {"event_ids": [receipt.event_id], "data": decode(receipt.data)}
        content = {room_id: {receipt.receipt_type: {receipt.user_id: entry}}}
        key = ("receipt", room_id, receipt.user_id, receipt.thread_id, receipt.receipt_type)
        return PassingEdu(await self._hosts.of_room(room_id), key, "m.receipt", content)

    async def _stored_receipt(self, room_id: str, position: int) -> Receipt | None:
        """A receipt that another process wrote."""
        async with self._database.read() as tx:
            room_nid = await storage.room_nid_of(tx, room_id)
            return None if room_nid is None else await storage.receipt_at(tx, room_nid, position)

    async def _presence(self, hint: Hint) -> PassingEdu | None:
        payload, user_id = hint.payload, hint.keys[0]
        if not isinstance(payload, dict) or not payload.get("is_local"):
            return None
        update: dict[str, Any] = {"user_id": user_id, "presence": payload["state"]}
        if payload["status_msg"] is not None:
            update["status_msg"] = payload["status_msg"]
        if payload["last_active_at"]:
            update["last_active_ago"] = max(self._clock.now_ms() - payload["last_active_at"], 0)
        update["currently_active"] = payload["currently_active"]
        async with self._database.read() as tx:
            servers = await storage.servers_of_user(tx, user_id)
        return PassingEdu(servers, ("presence", user_id), "m.presence", {"push": [update]})
