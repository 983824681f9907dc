"""What becomes of an event that another server sends: the numbered checks of server-server-api §Checks performed on
receipt of a PDU, in order. Steps 1 to 3 are in `received_events`, step 4 in `outliers`.

What is missing is fetched first, without holding anything up; then one write decides and appends, by the room as it is
in that moment.
"""

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from federation.outbound.failures import FederationError
from homeserver.core.auth_errors import AuthError, MissingEvents
from homeserver.core.auth_rules import auth_events_of, auth_types_for, check_auth
from homeserver.core.auth_selection import CREATE_KEY
from homeserver.core.events import Event, StateKey, StateMap
from homeserver.errors import NotRecommended
from homeserver.services.earlier_stays import EarlierStays
from homeserver.services.event_signatures import EventSignatures
from homeserver.services.events import Events, StoredEvent
from homeserver.services.fetch_missing import FetchMissing
from homeserver.services.lent_members import LentMembers
from homeserver.services.outliers import MissingAuthEvents, Outliers
from homeserver.services.persist_event import PersistEvent
from homeserver.services.policy_servers import PolicyServers
from homeserver.services.received_events import parse, verify
from homeserver.services.room_heads import HeadDraft, RoomHead, RoomHeads
from homeserver.services.room_state import RoomState
from homeserver.services.server_access import ServerAccess
from homeserver.services.snapshots import Snapshot
from storage import partial_rooms
from storage.database import Database, Write

log = logging.getLogger(__name__)

Outcome = Literal["accepted", "known", "dropped", "undecided", "rejected", "soft_failed"]
"""`undecided`: what it takes to judge the event could not be had. It is not stored, and may be received again."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """What became of one event. `reason` names the step (and the rule) that refused it; empty where none did."""

    event_id: str
    outcome: Outcome
    reason: str = ""
    stored: StoredEvent | None = None


class NotResident(Exception):
    """This server left the room while the event was looked at."""


class ReceivePdu:
    """Receives events of rooms that this server is in."""

    def __init__(
        self,
        database: Database,
        heads: RoomHeads,
        events: Events,
        state: RoomState,
        persist: PersistEvent,
        signatures: EventSignatures,
        outliers: Outliers,
        fetch: FetchMissing,
        access: ServerAccess,
        policy: PolicyServers,
    ) -> None:
        self._database = database
        self._heads = heads
        self._events = events
        self._state = state
        self._persist = persist
        self._signatures = signatures
        self._outliers = outliers
        self._fetch = fetch
        self._access = access
        self._policy = policy
        self._lent = LentMembers(events, state)
        self._earlier = EarlierStays(database, heads, events)
        self._under_way: dict[str, asyncio.Future[Verdict]] = {}
        self.on_undecided: Callable[[str, Event], None] | None = None

    async def receive(self, origin: str, head: RoomHead, pdus: Sequence[object]) -> list[Verdict]:
        """Receives PDUs of one room, in order. A PDU without a valid id has none in its verdict."""
        received = await verify(parse(pdus, head.room_version, head.room_id), self._signatures)
        verdicts = [Verdict(event_id or "", "dropped", reason) for event_id, reason in received.dropped]
        for verdict in verdicts:
            _log(verdict, head.room_id, origin)
        verdicts += [await self.receive_event(origin, event) for event in received.events]
        return verdicts

    async def receive_event(self, origin: str, event: Event, *, fills_gap: bool = True, relay: bool = False) -> Verdict:
        """Receives an event that passed steps 1 to 3.

        `fills_gap`: fetch missing events before it; else it fills a gap itself, and the state is fetched where events
        before it are missing. `relay`: this server is to send it on (joins made through it).
        """
        under_way = self._under_way.get(event.event_id)
        if under_way is not None:
            return await asyncio.shield(under_way)
        future: asyncio.Future[Verdict] = asyncio.get_running_loop().create_future()
        self._under_way[event.event_id] = future
        verdict = Verdict(event.event_id, "dropped", "receiving it was broken off")
        try:
            verdict = await self._receive(origin, event, fills_gap, relay)
        finally:
            del self._under_way[event.event_id]
            future.set_result(verdict)
        _log(verdict, event.room_id, origin)
        if verdict.outcome == "undecided" and self.on_undecided is not None:
            self.on_undecided(origin, event)
        return verdict

    async def _receive(self, origin: str, event: Event, fills_gap: bool, relay: bool) -> Verdict:
        known = self._events.cached(event.event_id)
        try:
            lacking = await self._lacking_prev_events(event)
            if known is None and (lacking or relay or not event.prev_events):
                known = await self._events.get(event.event_id)
            # Where all before it is here, the write that appends it finds out whether it is known; a create event,
            # which has nothing before it, is known.
            again = known is not None and await self._earlier.has(known)
            if known is not None and not again and (not known.outlier or await self._is_of_before(event)):
                return Verdict(event.event_id, "known", stored=known)
            if lacking and fills_gap and await self._fill_gap(origin, event):
                lacking = await self._lacking_prev_events(event)
                if not await self._are_older_than_ours(event, lacking):
                    # It told all that it would tell; more of it may arrive by another way.
                    reason = f"step 5: {origin} does not give the events before it"
                    return Verdict(event.event_id, "undecided", reason)
            states = {event_id: await self._fetch.state_after(origin, event, event_id) for event_id in lacking}
            # Only now: what authorises it may have come with the state.
            await self._fetch.auth_events(origin, event)
            event, advice = await self._ask_policy_server(event)
            verdict = await self._decide_and_append(event, states, relay, advice, again)
            if verdict.outcome == "known" and verdict.stored is not None and await self._earlier.has(verdict.stored):
                return await self._decide_and_append(event, states, False, advice, True)
            return verdict
        except MissingAuthEvents as missing:
            return Verdict(event.event_id, "undecided", f"step 4: auth events could not be had: {missing}")
        except (FederationError, MissingEvents) as error:
            return Verdict(event.event_id, "undecided", f"step 5: the state before it could not be had: {error}")
        except NotResident:
            return Verdict(event.event_id, "dropped", "this server is not in the room")

    async def _ask_policy_server(self, event: Event) -> tuple[Event, str | None]:
        """Step 7: the event as the room's policy server has signed it, or why it has not."""
        head = await self._heads.get(event.room_id)
        if head is None:
            raise NotResident
        try:
            return await self._policy.recommended(head, event), None
        except NotRecommended as error:
            return event, error.message

    async def _lacking_prev_events(self, event: Event) -> list[str]:
        """Prev events the state after which is not known here."""
        found = await self._events.get_many(event.prev_events)
        return [
            event_id
            for event_id in dict.fromkeys(event.prev_events)
            if event_id not in found or found[event_id].snapshot_id is None
        ]

    async def _are_older_than_ours(self, event: Event, lacking: Sequence[str]) -> bool:
        """Whether it is where this server's part of the room begins that the event builds on: there is no gap then."""
        head = await self._heads.get(event.room_id)
        return head is not None and head.missing.keys() >= set(lacking)

    async def _is_of_before(self, event: Event) -> bool:
        """Whether an event that is only known as a part of a state, or as what authorises one, is older than all that
        this server has of the room: the room is built upon it, so it is no news."""
        head = await self._heads.get(event.room_id)
        return head is not None and event.depth < min(head.missing.values(), default=0)

    async def _fill_gap(self, origin: str, event: Event) -> bool:
        """Takes in what the other server has between what is known here and the event; whether it told of that."""
        head = await self._heads.get(event.room_id)
        if head is None:
            raise NotResident
        pdus = await self._fetch.gap(origin, head, event)
        if pdus is None:
            return False
        received = await verify(parse(pdus, event.room_version, event.room_id), self._signatures)
        for earlier in sorted(received.events, key=lambda other: other.depth):
            if earlier.event_id != event.event_id:
                await self.receive_event(origin, earlier, fills_gap=False)
        return True

    async def _decide_and_append(
        self,
        event: Event,
        remote_states: Mapping[str, StateMap],
        relay: bool,
        advice: str | None,
        again: bool,
    ) -> Verdict:
        async def operation(tx: Write) -> Verdict:
            draft = await self._heads.draft(tx, event.room_id)
            if draft is None or not draft.host_count(self._access.server_name):
                raise NotResident
            known = await self._events.get(event.event_id, tx) if relay else None
            if known is not None and not known.outlier:
                return Verdict(event.event_id, "known", stored=known)
            before = await self._snapshot_before(tx, draft, event, remote_states)
            if draft.is_partial:
                before = await self._lent.added(tx, draft, event, before)
            outcome, reason = await self._judge(tx, draft, event, before)
            if outcome == "accepted" and advice is not None:
                outcome, reason = "soft_failed", f"step 7: {advice}"
            stored = await self._persist.append(
                tx,
                draft,
                event,
                snapshot_before=before,
                rejected=reason if outcome == "rejected" else None,
                soft_failed=outcome == "soft_failed",
                is_local=relay and outcome == "accepted",
                again=again,
            )
            if stored.event is not event:  # it came in by another way meanwhile
                return Verdict(event.event_id, "known", stored=stored)
            return Verdict(event.event_id, outcome, reason, stored)

        head = await self._heads.get(event.room_id)
        return await self._database.write(operation, rooms=() if head is None else (head.room_nid,))

    async def _snapshot_before(
        self, tx: Write, draft: HeadDraft, event: Event, remote_states: Mapping[str, StateMap]
    ) -> Snapshot:
        """The state before the event: of what is known of its prev events, and of what the other server told."""
        if not remote_states:
            return await self._state.snapshot_before(tx, draft, event.prev_events)
        if draft.is_partial:
            await self._keep(tx, draft, remote_states)
        states = list(remote_states.values())
        for stored in (await self._events.get_many(event.prev_events, tx)).values():
            after = await self._state.after(stored, tx)
            if after is not None:
                states.append(after)
        resolved = await self._state.resolve(tx, draft.room_version, draft.room_nid, states)
        return await self._state.store(tx, draft.room_nid, resolved, draft.snapshot)

    async def _keep(self, tx: Write, draft: HeadDraft, told: Mapping[str, StateMap]) -> None:
        """What was told is needed again, when the event is judged again."""
        for event_id, state in told.items():
            snapshot = await self._state.store(tx, draft.room_nid, state, draft.snapshot)
            partial_rooms.put_told_state(tx, draft.room_nid, event_id, snapshot.snapshot_id)

    async def _judge(self, tx: Write, draft: HeadDraft, event: Event, before: Snapshot) -> tuple[Outcome, str]:
        # Step 4
        reason = await self._outliers.rejection(event, tx)
        if reason is not None:
            return "rejected", reason
        keys = _keys_for(event)
        # Step 5
        state = _entries(before, draft, keys)
        if draft.is_partial:
            state |= await self._lent.resolved(tx, draft, event, before)
        # What its auth events allow, the same events allow as the state.
        is_as_cited = set(state.values()) == set(auth_events_of(event))
        refusal = None if is_as_cited else await self._refusal(tx, event, state)
        if refusal is not None:
            return "rejected", f"step 5, {refusal}"
        # Step 6, which is caught up on when all members of the room are known
        if before is not draft.snapshot and not draft.is_partial:
            refusal = await self._refusal(tx, event, {key: draft.state[key] for key in keys if key in draft.state})
            if refusal is not None:
                return "soft_failed", f"step 6, {refusal}"
        return "accepted", ""

    async def _refusal(self, tx: Write, event: Event, state: Mapping[StateKey, str]) -> str | None:
        try:
            check_auth(event, await self._state.events_of(state, state.keys(), tx))
        except AuthError as error:
            return f"rule {error.rule}: {error.reason}"
        return None


def _keys_for(event: Event) -> list[StateKey]:
    """What of a room's state the authorization rules look at for the event."""
    keys = auth_types_for(event.type, event.sender, event.state_key, event.content, event.room_version)
    return keys if CREATE_KEY in keys else [*keys, CREATE_KEY]


def _entries(snapshot: Snapshot, draft: HeadDraft, keys: Sequence[StateKey]) -> dict[StateKey, str]:
    if snapshot is draft.snapshot:
        return {key: draft.state[key] for key in keys if key in draft.state}
    entries = {key: snapshot.get(key) for key in keys}
    return {key: entry[0] for key, entry in entries.items() if entry is not None}


def _log(verdict: Verdict, room_id: str, origin: str) -> None:
    if verdict.outcome not in ("accepted", "known"):
        log.info(
            "event %s of %s from %s: %s (%s)", verdict.event_id, room_id, origin, verdict.outcome, verdict.reason
        )
