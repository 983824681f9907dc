"""Asks other servers for what lacks to judge an event: events before it, what authorises it, the state before it."""

import asyncio
import logging
from collections.abc import Collection, Sequence
from typing import Any, Final

from federation.outbound.client import FederationClient
from federation.outbound.failures import FederationError
from homeserver.core.auth_rules import auth_events_of
from homeserver.core.events import Event, StateKey
from homeserver.services.events import Events
from homeserver.services.outliers import Outliers
from homeserver.services.room_heads import RoomHead

log = logging.getLogger(__name__)

MAX_GAP: Final = 20
"""Missing events fetched before an event; what lies further back is left to backfill."""
ONE_BY_ONE: Final = 30
"""Up to so many events of a state are asked for singly; of more, the whole state is."""
AT_ONCE: Final = 8
MAX_STATE: Final = 500_000
_ANSWERED: Final = frozenset({"refused", "malformed"})


class FetchMissing:
    """Network and outliers only: nothing here changes a room."""

    def __init__(self, client: FederationClient, events: Events, outliers: Outliers) -> None:
        self._client = client
        self._events = events
        self._outliers = outliers

    async def gap(self, origin: str, head: RoomHead, event: Event) -> list[Any] | None:
        """Unchecked PDUs between what this server has of the room and the event, oldest first; None where the other
        server does not answer."""
        earliest = list(head.extremities)[:MAX_GAP]
        # A branch that was long cut off is of smaller depths than what is newest here; all of it is wanted that is not
        # older than what this server has of the room.
        depth = min(head.missing.values(), default=0)
        try:
            return (
                await self._client.missing_events(
                    origin,
                    event.room_id,
                    earliest=earliest,
                    latest=[event.event_id],
                    limit=MAX_GAP,
                    min_depth=max(0, min(depth, event.depth)),
                )
            )[:MAX_GAP]
        except FederationError as error:
            log.info("no missing events before %s: %s", event.event_id, error)
            return [] if error.kind == "malformed" else None

    async def auth_events(self, origin: str, event: Event) -> None:
        """Has what authorises the event stored, as far as the other server gives it. Raises `FederationError` where it
        does not answer."""
        if not await self._lacking(auth_events_of(event)):
            return
        try:
            chain = await self._client.event_auth(origin, event.room_id, event.event_id)
        except FederationError as error:
            log.info("no auth events of %s: %s", event.event_id, error)
            chain = []
        await self._outliers.take_in(event.room_id, event.room_version, chain, auth_events_of(event))
        # The chain is what the other server believes; the event itself says what it needs.
        if lacking := await self._lacking(auth_events_of(event)):
            found = await self._single(origin, lacking)
            await self._outliers.take_in(event.room_id, event.room_version, found, lacking)

    async def state_after(
        self, origin: str, event: Event, prev_event_id: str, *, vouches: bool = False
    ) -> dict[StateKey, str]:
        """The state after a prev event that is missing here, as the other server has it; the prev event and all of the
        state are stored then, the former without its place in the timeline. Raises `FederationError`.

        `vouches`: its word is taken for the keys of servers that cannot be reached.
        """
        after = await self._state_before(origin, event, prev_event_id, vouches)
        prev = await self._events.get(prev_event_id)
        if prev is None or prev.event.room_id != event.room_id:
            raise FederationError("malformed", origin, f"there is no event {prev_event_id} to be had")
        if prev.event.is_state and prev.rejected is None:
            after[prev.event.key] = prev_event_id
        return after

    async def state_before(self, origin: str, event: Event, *, vouches: bool = False) -> dict[StateKey, str]:
        """The state before an event that is stored here, as the other server has it; all of it is stored then. Raises
        `FederationError`. `vouches`: as in `state_after`."""
        return await self._state_before(origin, event, event.event_id, vouches)

    async def _state_before(self, origin: str, event: Event, at: str, vouches: bool) -> dict[StateKey, str]:
        """The state before the event `at`, which is asked for too where it is missing here."""
        room_id, version, told_by = event.room_id, event.room_version, origin if vouches else None
        state_ids, chain_ids = await self._client.state_ids(origin, room_id, at)
        if len(state_ids) + len(chain_ids) > MAX_STATE:
            raise FederationError("malformed", origin, "the state is too large")
        lacking = await self._lacking([*state_ids, *chain_ids])
        if len(lacking) > ONE_BY_ONE:
            state, chain = await self._client.state(origin, room_id, at)
            await self._outliers.take_in(room_id, version, [*chain, *state], state_ids, told_by)
            lacking = []
        if lacking := await self._lacking([*lacking, at]):
            await self._outliers.take_in(room_id, version, await self._single(origin, lacking), lacking, told_by)
        return await self._state_of(origin, event, state_ids)

    async def _state_of(self, origin: str, event: Event, state_ids: Sequence[str]) -> dict[StateKey, str]:
        stored = await self._events.get_many(state_ids)
        state: dict[StateKey, str] = {}
        for event_id in state_ids:
            one = stored.get(event_id)
            if one is None or one.rejected is not None or one.event.room_id != event.room_id or not one.event.is_state:
                log.info("%s is no state before %s", event_id, event.event_id)
                continue
            state[one.event.key] = event_id
        if ("m.room.create", "") not in state:
            raise FederationError("malformed", origin, "the state has no m.room.create event")
        return state

    async def _lacking(self, event_ids: Collection[str]) -> list[str]:
        found = await self._events.which_are_stored(event_ids)
        return [event_id for event_id in dict.fromkeys(event_ids) if event_id not in found]

    async def _single(self, origin: str, event_ids: Sequence[str]) -> list[Any]:
        """Those of the events that the other server gives, unchecked. Raises `FederationError` where it does not answer
        about one."""
        slots = asyncio.Semaphore(AT_ONCE)

        async def fetch(event_id: str) -> Any:
            async with slots:
                try:
                    return await self._client.event(origin, event_id)
                except FederationError as error:
                    if error.kind not in _ANSWERED:
                        raise  # it may be had later: without it, the state would not be what it is elsewhere
                    log.info("no event %s: %s", event_id, error)
                    return None

        found = await asyncio.gather(*(fetch(event_id) for event_id in event_ids[: ONE_BY_ONE + 1]))
        return [pdu for pdu in found if pdu is not None]
