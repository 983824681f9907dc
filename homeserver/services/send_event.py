"""Events of local users: built on the head of the room, checked, signed and appended, in one write.

https://spec.matrix.org/v1.19/client-server-api/#sending-events-to-a-room
"""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol

from signedjson.types import SigningKey

from homeserver.core.auth_rule_numbers import numbers_of
from homeserver.core.auth_rules import AuthError, auth_types_for, check_auth, select_auth_events
from homeserver.core.auth_selection import CREATE_KEY, POWER_LEVELS_KEY
from homeserver.core.canonical_json import CanonicalJSONError
from homeserver.core.event_builder import EventDraft, build_event
from homeserver.core.event_format import MAX_PREV_EVENTS, EventTooLarge, InvalidEvent
from homeserver.core.events import REDACTION, Event, StateKey
from homeserver.core.policy import POLICY_STATE
from homeserver.core.power_levels import PowerLevels
from homeserver.errors import BadJson, Forbidden, InvalidParam, NotFound, TooLarge
from homeserver.runtime.clock import Clock
from homeserver.runtime.random import Randomness
from homeserver.services.events import Events, StoredEvent
from homeserver.services.idempotency import Idempotency, Scope
from homeserver.services.persist_event import PersistEvent, SentBy
from homeserver.services.relation_checks import check_relation
from homeserver.services.room_heads import HeadDraft, RoomHead, RoomHeads
from homeserver.services.snapshots import Snapshot
from homeserver.services.suspension import refuse_suspended
from storage.database import Database, Read, Write

if TYPE_CHECKING:
    from homeserver.services.sessions import Requester

_MAX_DEPTH = 2**53 - 1
Along = Callable[[Write, str], Awaitable[None]]


class Policy(Protocol):
    """`services.policy_servers.PolicyServers`."""

    async def recommended(self, head: RoomHead, event: Event) -> Event: ...


@dataclass(frozen=True, slots=True)
class Advised:
    """An event that a policy server has signed, and the state that it was built on."""

    event: Event
    before: Snapshot


class SendEvent:
    """Sends events for local users."""

    def __init__(
        self,
        database: Database,
        events: Events,
        heads: RoomHeads,
        persist: PersistEvent,
        idempotency: Idempotency,
        *,
        server_name: str,
        signing_key: SigningKey,
        clock: Clock,
        randomness: Randomness,
        policy: Policy | None = None,
    ) -> None:
        self._database = database
        self._events = events
        self._heads = heads
        self._persist = persist
        self._idempotency = idempotency
        self._server_name = server_name
        self._signing_key = signing_key
        self._clock = clock
        self._randomness = randomness
        self._policy = policy

    async def send(
        self,
        requester: "Requester",
        room_id: str,
        draft: EventDraft,
        *,
        txn_id: str | None = None,
        txn_target: str = "",
        origin_server_ts: int | None = None,
        sent_by: SentBy | None = None,
        along: Along | None = None,
    ) -> str:
        """Send an event and return its id. The same transaction id (for the same `txn_target`) gives the same event.

        A state event that would change nothing is not sent: the id of the current one comes back. `along` writes in
        the same transaction, given the event's id. Raises `Forbidden`, `TooLarge`, `BadJson`, and as `check_relation`.
        """
        if draft.type != REDACTION:
            refuse_suspended(requester)
        if draft.type == CREATE_KEY[0]:
            raise InvalidParam("A room is created once")
        scope = None
        if txn_id is not None and requester.device_id is not None:
            scope = Scope(requester.user_id, requester.device_id, f"send:{room_id}:{draft.type}:{txn_target}:{txn_id}")
            sent_by = SentBy(requester.device_id, txn_id)
        head = await self.require_head(room_id)
        advised = await self.advised(head, draft, origin_server_ts=origin_server_ts)

        async def operation(tx: Write) -> str:
            done = await self._idempotency.recorded(tx, scope)
            if done is not None:
                return str(done)
            room = await self.require_draft(tx, room_id)
            unchanged = await self.unchanged(tx, room, draft)
            if unchanged is not None:
                if along is not None:
                    await along(tx, unchanged)
                return unchanged
            if "m.relates_to" in draft.content:
                await check_relation(tx, self._events, draft)
            if advised is not None:
                stored = await self.append_advised(tx, room, advised, sent_by=sent_by)
            else:
                stored = await self.append(tx, room, draft, sent_by=sent_by, origin_server_ts=origin_server_ts)
            self._idempotency.record(tx, scope, stored.event_id)
            if along is not None:
                await along(tx, stored.event_id)
            return stored.event_id

        async def write() -> str:
            return await self._database.write(operation, rooms=(head.room_nid,))

        return str(await self._idempotency.once(scope, write))

    async def redact(
        self,
        requester: "Requester",
        room_id: str,
        event_id: str,
        content: Mapping[str, object],
        txn_id: str | None,
        *,
        along: Along | None = None,
    ) -> str:
        """Redact an event: one's own, or with the power to redact those of others. Returns the redaction's id.

        Who may redact events of others may do so before this server has the event. Raises `NotFound` where the room
        has no such event, `Forbidden`.
        """
        head = await self.require_head(room_id)
        target = await self._events.get(event_id)
        if target is not None and target.room_nid != head.room_nid:
            raise NotFound("There is no such event in the room")
        if requester.user_id not in head.joined:
            raise Forbidden("You are not joined to the room")
        if target is None or target.event.sender != requester.user_id:
            refuse_suspended(requester)
            levels = await self.power_levels(head)
            if levels.user(requester.user_id) < levels.redact:
                if target is None:
                    raise NotFound("There is no such event in the room")
                raise Forbidden("Your power level is too low to redact events of others")
        draft = EventDraft(REDACTION, requester.user_id, dict(content), room_id, redacts=event_id)
        return await self.send(requester, room_id, draft, txn_id=txn_id, txn_target=event_id, along=along)

    # --- for services that send as part of their own writes

    async def require_head(self, room_id: str) -> RoomHead:
        """The head of a room that this server takes part in; raises `Forbidden` where there is none."""
        head = await self._heads.get(room_id)
        if head is None or not head.extremities:
            raise Forbidden("You are not joined to the room")
        return head

    async def require_draft(self, tx: Write, room_id: str) -> HeadDraft:
        """As `require_head`, for a write."""
        draft = await self._heads.draft(tx, room_id)
        if draft is None or not draft.extremities:
            raise Forbidden("You are not joined to the room")
        return draft

    async def power_levels(self, room: RoomHead | HeadDraft, tx: Read | None = None) -> PowerLevels:
        """Who may do what in the room now."""
        found = await self._load(room, (CREATE_KEY, POWER_LEVELS_KEY), tx)
        power_levels = found.get(POWER_LEVELS_KEY)
        return PowerLevels.of(None if power_levels is None else power_levels.content, found[CREATE_KEY])

    async def unchanged(self, tx: Write, room: HeadDraft, draft: EventDraft) -> str | None:
        """The id of the current state event that `draft` would only repeat."""
        if draft.state_key is None:
            return None
        event_id = room.state.get((draft.type, draft.state_key))
        current = None if event_id is None else await self._events.get(event_id, tx)
        if current is None or current.event.sender != draft.sender or current.redacted_because is not None:
            return None
        return current.event_id if current.event.content == draft.content else None

    async def append(
        self,
        tx: Write,
        room: HeadDraft,
        draft: EventDraft,
        *,
        sent_by: SentBy | None = None,
        origin_server_ts: int | None = None,
    ) -> StoredEvent:
        """Build an event on the draft of the room, check it, and append it."""
        event = await self.build(room, draft, tx=tx, origin_server_ts=origin_server_ts)
        await self.check(room, event, tx)
        return await self._persist.append(tx, room, event, is_local=True, is_new=True, sent_by=sent_by)

    async def advised(
        self, head: RoomHead, draft: EventDraft, *, origin_server_ts: int | None = None
    ) -> Advised | None:
        """The event as the room's policy server has signed it; None where it need not. Raises as `append`, and
        `NotRecommended`. Waits for another server, so not within a write."""
        if self._policy is None or POLICY_STATE not in head.state:
            return None
        snapshot = head.snapshot
        event = await self.build(head, draft, origin_server_ts=origin_server_ts)
        await self.check(head, event)
        return Advised(await self._policy.recommended(head, event), snapshot)

    async def append_advised(
        self, tx: Write, room: HeadDraft, advised: Advised, *, sent_by: SentBy | None = None
    ) -> StoredEvent:
        """As `append`. The room may have moved on while the policy server was asked."""
        await self.check(room, advised.event, tx)
        return await self._persist.append(
            tx, room, advised.event, snapshot_before=advised.before, is_local=True, is_new=True, sent_by=sent_by
        )

    async def build(
        self,
        room: RoomHead | HeadDraft,
        draft: EventDraft,
        *,
        tx: Read | None = None,
        origin_server_ts: int | None = None,
    ) -> Event:
        """A signed event on top of the room. Raises `TooLarge` and `BadJson`. Does not check whether it is allowed."""
        version = room.room_version
        prev: Sequence[Event | str] = _newest(room.extremities)
        auth: Sequence[Event | str] = select_auth_events(draft, room.state, version)
        opaque = ""
        if version.event_references_carry_hashes:
            found = await self._events.get_many([*_ids(prev), *_ids(auth)], tx)
            prev, auth = [found[i].event for i in _ids(prev)], [found[i].event for i in _ids(auth)]
            opaque = self._randomness.opaque_id()
        try:
            return build_event(
                draft,
                version,
                prev_events=prev,
                auth_events=auth,
                depth=min(max(room.extremities.values(), default=0) + 1, _MAX_DEPTH),
                origin_server_ts=self._clock.now_ms() if origin_server_ts is None else origin_server_ts,
                server_name=self._server_name,
                signing_key=self._signing_key,
                event_id_opaque=opaque,
            )
        except EventTooLarge as error:
            raise TooLarge(f"The event is too large: {error.reason}") from error
        except InvalidEvent as error:
            raise BadJson(f"The event is not valid: {error.reason}") from error
        except CanonicalJSONError as error:
            raise BadJson(f"The event is not valid: {error}") from error

    async def check(self, room: RoomHead | HeadDraft, event: Event, tx: Read | None = None) -> None:
        """Raises `Forbidden` where the room's state does not allow the event."""
        keys = auth_types_for(event.type, event.sender, event.state_key, event.content, event.room_version)
        state = await self._load(room, (*keys, CREATE_KEY), tx)
        try:
            check_auth(event, state)
        except AuthError as error:
            version = event.room_version
            if version.privileged_creators and error.rule == numbers_of(version).power_levels_creators:
                raise InvalidParam(error.reason) from error
            if version.owned_state and error.rule == f"{numbers_of(version).state_key}.1.1":
                raise BadJson(error.reason) from error
            raise Forbidden(f"You are not allowed to do this: {error.reason}") from error

    async def _load(
        self, room: RoomHead | HeadDraft, keys: Sequence[StateKey], tx: Read | None
    ) -> dict[StateKey, Event]:
        state, write = room.state, tx if isinstance(tx, Write) else None
        found: dict[StateKey, Event] = {}
        missing: dict[StateKey, str] = {}
        for key in keys:
            event_id = state.get(key)
            if event_id is None:
                continue
            stored = self._events.cached(event_id, write)
            if stored is None:
                missing[key] = event_id
            else:
                found[key] = stored.event
        if missing:
            loaded = await self._events.get_many(missing.values(), tx)
            found.update((key, loaded[event_id].event) for key, event_id in missing.items())
        return found


def _newest(extremities: Mapping[str, int]) -> list[str]:
    """The extremities that a new event cites: all, or as many of the deepest as it may."""
    if len(extremities) <= MAX_PREV_EVENTS:
        return list(extremities)
    return sorted(extremities, key=lambda event_id: -extremities[event_id])[:MAX_PREV_EVENTS]


def _ids(references: Sequence[Event | str]) -> list[str]:
    return [reference if isinstance(reference, str) else reference.event_id for reference in references]
