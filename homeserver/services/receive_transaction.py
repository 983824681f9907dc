"""Transactions of other servers: events room by room, EDUs beside them (server-server-api §Transactions)."""

import asyncio
import logging
from collections.abc import Sequence
from typing import Any, Final

from homeserver.core.canonical_json import CanonicalJSONError
from homeserver.core.event_format import InvalidEvent, check_pdu
from homeserver.core.events import Event
from homeserver.core.identifiers import InvalidIdentifier
from homeserver.core.room_versions import RoomVersion
from homeserver.errors import BadJson, MatrixError
from homeserver.services.bounded_cache import BoundedCache
from homeserver.services.edus import Edus
from homeserver.services.receive_pdu import ReceivePdu, Verdict
from homeserver.services.rescinded_invites import RescindedInvites
from homeserver.services.room_heads import RoomHeads
from homeserver.services.server_access import ServerAccess
from schemas import SchemaError

log = logging.getLogger(__name__)

MAX_PDUS: Final = 50
MAX_EDUS: Final = 100
Results = dict[str, dict[str, str]]
"""Event id → {} or {"error": why}"""


class ReceiveTransaction:
    """One at a time of each server and room, rooms side by side.

    The same transaction again gets the same answer. That is remembered in memory only: everything that a transaction
    brings is recognised by its own id too, so one that is taken in twice changes nothing.
    """

    def __init__(
        self,
        heads: RoomHeads,
        access: ServerAccess,
        receive: ReceivePdu,
        edus: Edus,
        rescinded: RescindedInvites,
        *,
        remembered: int = 10_000,
    ) -> None:
        self._heads = heads
        self._access = access
        self._receive = receive
        self._edus = edus
        self._rescinded = rescinded
        self._answers: BoundedCache[tuple[str, str], Results] = BoundedCache(remembered)
        self._under_way: dict[tuple[str, str], asyncio.Future[Results]] = {}

    async def receive(self, origin: str, txn_id: str, pdus: Sequence[object], edus: Sequence[object]) -> Results:
        """Takes everything in; what became of each event, by id. Raises BadJson where it is over the limits."""
        if len(pdus) > MAX_PDUS or len(edus) > MAX_EDUS:
            raise BadJson(f"A transaction has at most {MAX_PDUS} PDUs and {MAX_EDUS} EDUs")
        key = (origin, txn_id)
        answered = self._answers.get(key)
        if answered is not None:
            return answered
        under_way = self._under_way.get(key)
        if under_way is None:
            under_way = self._under_way[key] = asyncio.get_running_loop().create_future()
            try:
                results = await self._take_in(origin, pdus, edus)
            except BaseException as error:
                under_way.set_exception(
                    error if isinstance(error, Exception) else RuntimeError("the transaction was broken off")
                )
                under_way.exception()  # nobody else may have waited for it
                raise
            finally:
                del self._under_way[key]
            under_way.set_result(results)
            self._answers.put(key, results)
            return results
        return await asyncio.shield(under_way)

    async def _take_in(self, origin: str, pdus: Sequence[object], edus: Sequence[object]) -> Results:
        by_room: dict[str, list[dict[str, Any]]] = {}
        for pdu in pdus:
            room_id = _room_id(pdu)
            if room_id is not None and isinstance(pdu, dict):
                by_room.setdefault(room_id, []).append(pdu)
        if len(by_room) == 1 and not edus:
            ((room_id, of_room),) = by_room.items()
            return await self._take_in_room(origin, room_id, of_room)
        results: Results = {}
        answers = await asyncio.gather(
            *(self._take_in_room(origin, room_id, of_room) for room_id, of_room in by_room.items()),
            self._take_in_edus(origin, edus),
        )
        for answer in answers:
            results.update(answer)
        return results

    async def _take_in_room(self, origin: str, room_id: str, pdus: Sequence[dict[str, Any]]) -> Results:
        head = await self._heads.get(room_id)
        if head is None:
            return {}
        if not await self._access.is_allowed(head, origin):
            return _all_refused(pdus, head.room_version, "The room's server ACL shuts your server out")
        if not self._access.is_resident(head):
            await self._rescinded.receive(origin, head, pdus)
            return _all_refused(pdus, head.room_version, "This server is not in the room")
        return _results(await self._receive.receive(origin, head, pdus))

    async def _take_in_edus(self, origin: str, edus: Sequence[object]) -> Results:
        for edu in edus:
            try:
                await self._edus.receive(origin, edu)
            except (MatrixError, SchemaError, InvalidIdentifier, CanonicalJSONError) as error:
                log.info("dropped an EDU of %s: %s", origin, error)
        return {}


def _results(verdicts: Sequence[Verdict]) -> Results:
    # Rejected and soft-failed events were taken in: what this server thinks of them is its own affair.
    return {
        verdict.event_id: {"error": verdict.reason} if verdict.outcome == "dropped" else {}
        for verdict in verdicts
        if verdict.event_id
    }


def _all_refused(pdus: Sequence[dict[str, Any]], version: RoomVersion, reason: str) -> Results:
    results: Results = {}
    for pdu in pdus:
        try:
            results[Event.from_pdu(check_pdu(pdu, version), version).event_id] = {"error": reason}
        except (InvalidEvent, CanonicalJSONError):
            continue
    return results


def _room_id(pdu: object) -> str | None:
    room_id = pdu.get("room_id") if isinstance(pdu, dict) else None
    return room_id if isinstance(room_id, str) and "\0" not in room_id else None
