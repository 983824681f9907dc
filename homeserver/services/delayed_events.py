"""Delayed events: users schedule what is to be sent later, and restart, send or cancel it before.

Proposal 4140, https://github.com/matrix-org/matrix-spec-proposals/pull/4140. A delayed event is settled in the write
that appends it to its room, so it is sent once however many processes there are and whenever one of them dies.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final, Protocol

import orjson

from homeserver.core.canonical_json import CanonicalJSONError, encode
from homeserver.core.event_format import MAX_PDU_BYTES, has_too_many_bytes
from homeserver.errors import AlreadySettled, BadJson, Forbidden, LimitExceeded, NotFound, NotJson, TooLarge, Unknown
from homeserver.runtime.clock import Clock
from homeserver.runtime.random import Randomness
from homeserver.services.events import Events
from homeserver.services.idempotency import Idempotency, Scope
from homeserver.services.room_heads import RoomHeads
from homeserver.services.sessions import Requester
from storage import delayed_events as storage
from storage.database import Database, Write
from storage.delayed_events import DelayedEvent
from storage.streams import Stream

HINT: Final = "delayed_events:"
"""Before the time (ms) at which something newly scheduled is to be sent, in hints of `Stream.CACHES`."""
_FINALISED: Final = 100
SUPERSEDED: Final = {"errcode": "M_UNKNOWN", "error": "Somebody else changed the state that the event was to change"}


@dataclass(frozen=True, slots=True)
class Wanted:
    """What to send, and after how many ms. `content` is None where the request has no body: one that was made before.
    `origin_server_ts` where an application service says when it happened."""

    room_id: str
    type: str
    state_key: str | None
    content: Mapping[str, Any] | None
    delay_ms: int
    txn_id: str | None = None
    origin_server_ts: int | None = None


class Posting(Protocol):
    """`services.delayed_event_posting.DelayedEventPosting`."""

    async def post(self, event: DelayedEvent, *, due_by: int | None = None) -> None: ...


class DelayedEvents:
    """Every user's. `max_delay_ms` 0: none are allowed; `max_scheduled` is how many a user may have at once."""

    def __init__(
        self,
        database: Database,
        events: Events,
        heads: RoomHeads,
        idempotency: Idempotency,
        posting: Posting,
        clock: Clock,
        randomness: Randomness,
        *,
        max_delay_ms: int,
        max_scheduled: int,
    ) -> None:
        self._database = database
        self._events = events
        self._heads = heads
        self._idempotency = idempotency
        self._posting = posting
        self._clock = clock
        self._randomness = randomness
        self._max_delay_ms = max_delay_ms
        self._max_scheduled = max_scheduled

    async def schedule(self, requester: Requester, wanted: Wanted) -> str:
        """Have an event sent later; returns the delay id. The same transaction id gives the same one.

        Whether the user may send it is judged when it is sent. Raises Forbidden, Unknown (the delay is too long),
        LimitExceeded, TooLarge, BadJson.
        """
        scope = None
        if wanted.txn_id is not None and requester.device_id is not None:
            key = f"delay:{wanted.room_id}:{wanted.type}:{wanted.txn_id}"
            scope = Scope(requester.user_id, requester.device_id, key)

        async def write() -> str:
            event = await self._draft(requester, wanted)

            async def operation(tx: Write) -> str:
                done = await self._idempotency.recorded(tx, scope)
                if done is not None:
                    return str(done)
                await self._require_room_for_more(tx, requester.user_id)
                await storage.add(tx, event)
                self._idempotency.record(tx, scope, event.delay_id)
                tx.position(Stream.CACHES, f"{HINT}{event.send_at}")
                return event.delay_id

            return await self._database.write(operation)

        return str(await self._idempotency.once(scope, write))

    async def cancel(self, delay_id: str) -> None:
        """Never send it. Fine where it was cancelled before; raises NotFound, AlreadySettled."""
        event = await self._require(delay_id)
        now = self._clock.now_ms()
        if event.send_at is not None and await self._database.write(lambda tx: storage.finalise(tx, delay_id, now)):
            return
        if (await self._require(delay_id)).event_id is not None:
            raise AlreadySettled("The event was sent already")

    async def restart(self, delay_id: str) -> None:
        """Count its delay from now on. Raises NotFound, AlreadySettled."""
        event = await self._require(delay_id)
        now = self._clock.now_ms()
        if event.send_at is None or not await self._database.write(lambda tx: storage.restart(tx, event, now)):
            raise AlreadySettled("The event was sent or cancelled already")

    async def send(self, delay_id: str) -> None:
        """Send it now. What is refused stays scheduled. Raises NotFound, AlreadySettled, and as sending does."""
        event = await self._require(delay_id)
        if event.send_at is not None:
            await self._posting.post(event)
            event = await self._require(delay_id)
        if event.event_id is None:
            raise AlreadySettled("The event was cancelled already")

    async def all_of(self, user_id: str) -> list[dict[str, Any]]:
        """What the user has scheduled, in the order in which it will be sent."""
        async with self._database.read() as tx:
            found = await storage.scheduled_by(tx, user_id)
        current = [await self._looked_at(event) for event in found]
        return [_shown(event) for event in current if event.send_at is not None]

    async def finalised_of(self, user_id: str) -> list[dict[str, Any]]:
        """What became of the user's delayed events, the newest first, as earlier drafts of the proposal show it."""
        async with self._database.read() as tx:
            found = await storage.finalised_of(tx, user_id, _FINALISED)
        return [_outcome(event) for event in found]

    async def one_of(self, user_id: str, delay_id: str) -> dict[str, Any]:
        """One of the user's, scheduled or finalised lately. Raises NotFound."""
        event = await self._require(delay_id)
        if event.user_id != user_id:
            raise NotFound("There is no such delayed event")
        return _shown(event)

    async def _draft(self, requester: Requester, wanted: Wanted) -> DelayedEvent:
        if self._max_delay_ms <= 0 or self._max_scheduled <= 0:
            raise Forbidden("This server sends no delayed events")
        if wanted.delay_ms > self._max_delay_ms:
            # So that clients of the experiment find out what they may ask for.
            limit = {
                "org.matrix.msc4140.errcode": "M_MAX_DELAY_EXCEEDED",
                "org.matrix.msc4140.max_delay": self._max_delay_ms,
            }
            raise Unknown(f"An event may be delayed by {self._max_delay_ms} ms at most", **limit)
        if wanted.content is None:
            raise NotJson("The body must be the content of the event")
        try:
            size = len(encode(wanted.content))
        except CanonicalJSONError as error:
            raise BadJson(f"The event is not valid: {error}") from error
        if size > MAX_PDU_BYTES:
            raise TooLarge("The event is too large")
        head = await self._heads.get(wanted.room_id)
        if head is None or not head.extremities:
            raise Forbidden("You are not joined to the room")
        for key, limit in ((wanted.type, None), (wanted.state_key or "", head.room_version)):
            if "\0" in key:
                raise BadJson("The type or state key holds a NUL character")
            if has_too_many_bytes(key, limit):
                raise TooLarge("The type or state key is too long")
        now = self._clock.now_ms()
        return DelayedEvent(
            delay_id=self._randomness.alphanumeric(24),
            user_id=requester.user_id,
            device_id=requester.device_id,
            room_id=wanted.room_id,
            type=wanted.type,
            state_key=wanted.state_key,
            content=orjson.dumps(wanted.content),
            origin_server_ts=wanted.origin_server_ts,
            delay_ms=wanted.delay_ms,
            scheduled_at=now,
            send_at=now + wanted.delay_ms,
            based_on=None if wanted.state_key is None else head.state.get((wanted.type, wanted.state_key)),
        )

    async def _require_room_for_more(self, tx: Write, user_id: str) -> None:
        count, next_at = await storage.count_of(tx, user_id)
        if count >= self._max_scheduled:
            wait_ms = max((next_at or 0) - self._clock.now_ms(), 1)
            raise LimitExceeded(
                f"You have {count} delayed events scheduled, which is as many as there may be", retry_after_ms=wait_ms
            )

    async def _require(self, delay_id: str) -> DelayedEvent:
        async with self._database.read() as tx:
            event = await storage.find(tx, delay_id)
        if event is None:
            raise NotFound("There is no such delayed event")
        return await self._looked_at(event)

    async def _looked_at(self, event: DelayedEvent) -> DelayedEvent:
        """The event as it is by now: newer state of somebody else cancels it."""
        if event.send_at is None or not await is_superseded(event, self._heads, self._events):
            return event
        error, now = orjson.dumps(SUPERSEDED), self._clock.now_ms()
        await self._database.write(lambda tx: storage.finalise(tx, event.delay_id, now, error=error))
        async with self._database.read() as tx:
            return await storage.find(tx, event.delay_id) or event


async def is_superseded(event: DelayedEvent, heads: RoomHeads, events: Events) -> bool:
    """Whether somebody else has changed the state that the event would change, since it was scheduled."""
    if event.state_key is None:
        return False
    head = await heads.get(event.room_id)
    current = None if head is None else head.state.get((event.type, event.state_key))
    if current is None or current == event.based_on:
        return False
    stored = await events.get(current)
    return stored is not None and stored.event.sender != event.user_id


def _outcome(event: DelayedEvent) -> dict[str, Any]:
    settled = _shown(event)
    optional = {name: settled.pop(name) for name in ("error", "event_id") if name in settled}
    at = settled.pop("finalised_ts", 0)
    reason = "error" if "error" in optional else "action"
    if "event_id" in optional and at >= event.scheduled_at + event.delay_ms:
        reason = "delay"
    outcome = "send" if "event_id" in optional else "cancel"
    return {"delayed_event": settled, "outcome": outcome, "reason": reason, "origin_server_ts": at, **optional}


def _shown(event: DelayedEvent) -> dict[str, Any]:
    """`delay` and `running_since` are what clients of earlier drafts of the proposal look for."""
    optional: dict[str, Any] = {
        "state_key": event.state_key,
        "event_id": event.event_id,
        "finalised_ts": event.finalised_at,
        "error": None if event.error is None else orjson.loads(event.error),
    }
    return {
        "delay_id": event.delay_id,
        "room_id": event.room_id,
        "type": event.type,
        "content": orjson.loads(event.content),
        "delay_ms": event.delay_ms,
        "delay": event.delay_ms,
        "scheduled_at": event.scheduled_at,
        "running_since": event.scheduled_at,
        **{name: value for name, value in optional.items() if value is not None},
    }
