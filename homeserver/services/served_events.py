"""History and state that other servers ask for, as far as each may see it (server-server-api §Retrieving events,
§Backfilling and retrieving missing events)."""

import heapq
from collections.abc import Collection, Iterable, Sequence
from typing import Any, Final

from homeserver.core.auth_rules import auth_events_of
from homeserver.core.history_visibility import HISTORY_VISIBILITY, server_may_see_event, visibility_of
from homeserver.errors import Forbidden, NotFound
from homeserver.runtime.clock import Clock
from homeserver.services.auth_chains import AuthChains
from homeserver.services.events import Events, StoredEvent
from homeserver.services.former_hosts import FormerHosts
from homeserver.services.resident import pdu_array
from homeserver.services.room_heads import RoomHead, RoomHeads
from homeserver.services.room_state import RoomState
from homeserver.services.server_access import ServerAccess

MAX_BACKFILL: Final = 100
MAX_MISSING: Final = 20
_VISIBILITY_KEY: Final = (HISTORY_VISIBILITY, "")


class ServedEvents:
    """Answers in JSON bytes. Everything raises NotFound or Forbidden where the server may not have it."""

    def __init__(
        self,
        heads: RoomHeads,
        events: Events,
        state: RoomState,
        chains: AuthChains,
        access: ServerAccess,
        clock: Clock,
        former: FormerHosts,
    ) -> None:
        self._heads = heads
        self._events = events
        self._state = state
        self._chains = chains
        self._access = access
        self._clock = clock
        self._former = former

    async def event(self, origin: str, event_id: str) -> bytes:
        """One event, in the shape of a transaction."""
        stored = await self._events.get(event_id)
        if stored is None or stored.rejected is not None:
            raise NotFound("There is no such event here")
        await self._require_shared(origin, stored.event.room_id, [stored])
        # What came without a place in the timeline is state, or authorises some: every server of the room may have it.
        if not stored.outlier and not await self.may_see(origin, stored):
            raise Forbidden("Your server may not see this event")
        return self._transaction([stored])

    async def state(self, origin: str, room_id: str, event_id: str) -> bytes:
        """The state before an event, and what authorises it."""
        state = await self._state_before(origin, room_id, event_id)
        found = await self._events.get_many(state)
        cited = {auth_id for stored in found.values() for auth_id in auth_events_of(stored.event)}
        chain = await self._events.get_many(sorted(await self._chains.chain_of(cited)))
        return b'{"auth_chain":%b,"pdus":%b}' % (
            pdu_array(chain.values()),
            pdu_array([found[i] for i in state if i in found]),
        )

    async def state_ids(self, origin: str, room_id: str, event_id: str) -> dict[str, Any]:
        """As `state`, by ids; all of the state counts as what authorises others, so that none of it has to be read."""
        state = await self._state_before(origin, room_id, event_id)
        return {"auth_chain_ids": sorted(await self._chains.chain_of(state)), "pdu_ids": state}

    async def auth_chain(self, origin: str, room_id: str, event_id: str) -> bytes:
        """What authorises an event."""
        stored = await self._in_room(origin, room_id, event_id)
        chain = await self._chains.auth_chain_of_event(auth_events_of(stored.event))
        found = await self._events.get_many(chain)
        return b'{"auth_chain":%b}' % pdu_array(list(found.values()))

    async def backfill(self, origin: str, room_id: str, event_ids: Sequence[str], limit: int) -> bytes:
        """Events before and including these, the deepest first; redacted where the server may not see them."""
        asked = await self._events.get_many(event_ids)
        head = await self._require_shared(origin, room_id, asked.values())
        limit = min(limit, MAX_BACKFILL)
        chosen: list[StoredEvent] = []
        waiting: list[tuple[int, str]] = []
        seen: set[str] = set()
        await self._push(head, waiting, seen, event_ids)
        while waiting and len(chosen) < limit:
            _, event_id = heapq.heappop(waiting)
            stored = await self._events.get(event_id)
            if stored is None:
                continue
            chosen.append(stored)
            await self._push(head, waiting, seen, stored.event.prev_events)
        return self._transaction_of([await self._shown(origin, stored) for stored in chosen])

    async def _push(
        self, head: RoomHead, waiting: list[tuple[int, str]], seen: set[str], event_ids: Iterable[str]
    ) -> None:
        new = [event_id for event_id in event_ids if event_id not in seen]
        seen.update(new)
        for stored in (await self._events.get_many(new)).values():
            if stored.room_nid == head.room_nid and not stored.outlier and stored.rejected is None:
                heapq.heappush(waiting, (-stored.event.depth, stored.event_id))

    async def missing_events(
        self,
        origin: str,
        room_id: str,
        *,
        earliest: Collection[str],
        latest: Sequence[str],
        limit: int,
        min_depth: int,
    ) -> bytes:
        """Events between `earliest` and `latest`, without either, oldest first."""
        asked = await self._events.get_many(latest)
        head = await self._require_shared(origin, room_id, asked.values())
        limit = min(limit, MAX_MISSING)
        seen = {*earliest, *latest}
        chosen: list[StoredEvent] = []
        ring = list(asked.values())
        while ring and len(chosen) < limit:
            following: list[str] = []
            for stored in ring:
                if stored.room_nid == head.room_nid and not stored.outlier:
                    following += [event_id for event_id in stored.event.prev_events if event_id not in seen]
                    seen.update(following)
            ring = [
                stored
                for stored in (await self._events.get_many(following)).values()
                if stored.room_nid == head.room_nid
                and not stored.outlier
                and stored.rejected is None
                and stored.event.depth >= min_depth
            ]
            chosen += ring
        chosen = sorted(chosen[:limit], key=lambda stored: stored.event.depth)
        return b'{"events":[%b]}' % b",".join([await self._shown(origin, stored) for stored in chosen])

    # ---

    async def _state_before(self, origin: str, room_id: str, event_id: str) -> list[str]:
        stored = await self._in_room(origin, room_id, event_id)
        await self._require_members(room_id)
        state = await self._state.before(stored)
        if state is None:
            raise NotFound("The state before this event is not known here")
        return list(state.values())

    async def _require_shared(self, origin: str, room_id: str, asked: Iterable[StoredEvent]) -> RoomHead:
        """The head of a room that the server is in, or was in until after the events that it asks for.

        This server may have left the room: who else would tell what came before its leaving?
        """
        head = await self._access.head_with_history(room_id, origin)
        if origin in head.hosts:
            return head
        left_at = await self._former.left_at(head, origin)
        if left_at is None or any(one.position is not None and one.position > left_at for one in asked):
            raise Forbidden("Your server is not in the room")
        return head

    async def _require_members(self, room_id: str) -> None:
        head = await self._heads.get(room_id)
        if head is not None and head.is_partial:
            raise Forbidden("This server does not know all members of the room yet")

    async def _in_room(self, origin: str, room_id: str, event_id: str) -> StoredEvent:
        stored = await self._events.get(event_id)
        await self._require_shared(origin, room_id, () if stored is None else (stored,))
        if stored is None or stored.event.room_id != room_id:
            raise NotFound("There is no such event in the room")
        return stored

    async def _shown(self, origin: str, stored: StoredEvent) -> bytes:
        """The PDU, without its content where the server may not see it: the graph has to stay whole."""
        event = stored.shown if await self.may_see(origin, stored) else stored.event.redacted()
        return event.encoded()

    async def may_see(self, origin: str, stored: StoredEvent) -> bool:
        """Whether a server that is in the room may have the content of an event."""
        event = stored.event
        if event.sender.partition(":")[2] == origin:
            return True
        if stored.snapshot_id is None:
            # The state before is not known here: by the current one, and only if that shows history to all.
            setting = await self._state.event(event.room_id, HISTORY_VISIBILITY)
            visibility = visibility_of(None if setting is None else setting.shown.content)
            return server_may_see_event(visibility, (), origin, event)
        entry = await self._state.entry_before(stored, _VISIBILITY_KEY)
        setting = None if entry is None else await self._events.get(entry)
        visibility = visibility_of(None if setting is None else setting.shown.content)
        if visibility in ("shared", "world_readable"):
            return True
        await self._require_members(event.room_id)
        return server_may_see_event(visibility, await self._memberships(stored, origin), origin, event)

    async def _memberships(self, stored: StoredEvent, server_name: str) -> list[tuple[str, str]]:
        state = await self._state.before(stored) or {}
        suffix = ":" + server_name
        ids = [event_id for (kind, key), event_id in state.items() if kind == "m.room.member" and key.endswith(suffix)]
        found = await self._events.get_many(ids)
        return [(one.event.state_key or "", one.event.membership or "leave") for one in found.values()]

    def _transaction(self, events: Sequence[StoredEvent]) -> bytes:
        return self._transaction_of([one.shown.encoded() for one in events])

    def _transaction_of(self, pdus: Sequence[bytes]) -> bytes:
        return b'{"origin":"%b","origin_server_ts":%d,"pdus":[%b]}' % (
            self._access.server_name.encode(),
            self._clock.now_ms(),
            b",".join(pdus),
        )
