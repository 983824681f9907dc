"""The state and the members of a room, as far as a user may see them: those of now while in the room, those at the
end of their stay afterwards.

https://spec.matrix.org/v1.19/client-server-api/#getting-events-for-a-room
"""

from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from homeserver.core.events import MEMBER
from homeserver.core.tokens import InvalidToken, SyncToken, parse_token
from homeserver.errors import Forbidden, InvalidParam, NotFound
from homeserver.services.client_events import serialise
from homeserver.services.events import Events, StoredEvent
from homeserver.services.partial_rooms import PartialRooms
from homeserver.services.room_heads import RoomHead, RoomHeads
from homeserver.services.room_state import RoomState
from storage import memberships
from storage import rooms as storage_rooms
from storage.database import Database

if TYPE_CHECKING:
    from homeserver.services.sessions import Requester

State = Mapping[tuple[str, str], str]
# The place in the timeline after the first two events of a room: its creation, and the creator's join.
_FOUNDED = (3, -(2**63))


class RoomReading:
    """Answers what clients ask of a room outside of /sync."""

    def __init__(
        self,
        database: Database,
        events: Events,
        heads: RoomHeads,
        state: RoomState,
        partial: PartialRooms | None = None,
    ) -> None:
        self._partial = partial
        self._database = database
        self._events = events
        self._heads = heads
        self._state = state

    async def state(self, requester: "Requester", room_id: str) -> bytes:
        """All state events, as a JSON array. Raises `Forbidden`."""
        state = await self._whole(requester, room_id)
        return await self._serialised(state.values())

    async def state_event(self, requester: "Requester", room_id: str, event_type: str, state_key: str) -> StoredEvent:
        """One state event. Raises `Forbidden`, `NotFound`."""
        state = await self._visible(requester, room_id)
        event_id = state.get((event_type, state_key))
        if event_id is None and event_type == MEMBER:
            event_id = (await self._whole(requester, room_id)).get((event_type, state_key))
        stored = None if event_id is None else await self._events.get(event_id)
        if stored is None:
            raise NotFound("The room has no such state")
        return stored

    async def members(
        self,
        requester: "Requester",
        room_id: str,
        *,
        at: str | None = None,
        membership: str | None = None,
        not_membership: str | None = None,
    ) -> bytes:
        """Member events, as a JSON array: those with `membership`, without those with `not_membership`; of now, or of
        when the token `at` was given. Raises `Forbidden`, `InvalidParam` for a token that is none."""
        state = await self._whole(requester, room_id)
        if at:
            state = await self._state_at(room_id, at)
        found = await self._events.get_many(event_id for key, event_id in state.items() if key[0] == MEMBER)
        kept = [stored for stored in found.values() if _is_wanted(stored.event.membership, membership, not_membership)]
        return b"[" + b",".join([serialise(stored) for stored in kept]) + b"]"

    async def joined_members(self, requester: "Requester", room_id: str) -> dict[str, dict[str, Any]]:
        """Who is joined, with name and avatar (None where there is none). Raises `Forbidden` for who is not."""
        head = await self._heads.get(room_id)
        if head is None or (requester.user_id not in head.joined and requester.appservice is None):
            raise Forbidden("You are not joined to the room")
        if self._partial is not None:
            await self._partial.wait(room_id)
        async with self._database.read() as tx:
            rows = await memberships.joined_members(tx, head.room_nid)
        return {row.user_id: {"display_name": row.display_name, "avatar_url": row.avatar_url} for row in rows}

    async def _whole(self, requester: "Requester", room_id: str) -> State:
        """The state that the user may see, once all members are known."""
        state = await self._visible(requester, room_id)
        if self._partial is None or not self._partial.is_partial(room_id):
            return state
        await self._partial.wait(room_id)
        return await self._visible(requester, room_id)

    async def _visible(self, requester: "Requester", room_id: str) -> State:
        """The state that the user may see."""
        head = await self._heads.get(room_id)
        if head is None:
            raise Forbidden("You are not in the room")
        if requester.user_id in head.joined or await self._is_world_readable(head):
            return head.state
        async with self._database.read() as tx:
            found = await memberships.membership_of(tx, room_id, requester.user_id)
        if found is None or found.membership not in ("leave", "ban") or found.forgotten:
            raise Forbidden("You are not in the room")
        left = (await self._events.get_many_by_nid((found.event_nid,))).get(found.event_nid)
        state = None if left is None else await self._state.after(left)
        if state is None or left is None or not await self._was_in(left):
            raise Forbidden("You were not in the room")
        return state

    async def _was_in(self, left: StoredEvent) -> bool:
        """Whether the event ended a stay in the room, rather than an invite or nothing at all."""
        previous = left.replaces
        while previous is not None and previous.membership in ("leave", "ban"):
            # Banned after having left, say: what counts is the stay before.
            stored = await self._events.get(previous.event_id)
            previous = None if stored is None else stored.replaces
        return previous is not None and previous.membership == "join"

    async def _is_world_readable(self, head: RoomHead) -> bool:
        event_id = head.state.get(("m.room.history_visibility", ""))
        stored = None if event_id is None else await self._events.get(event_id)
        return stored is not None and stored.event.content.get("history_visibility") == "world_readable"

    async def _state_at(self, room_id: str, at: str) -> State:
        head = await self._heads.get(room_id)
        assert head is not None
        try:
            token = parse_token(at)
        except InvalidToken as error:
            raise InvalidParam("at is not a token of this server") from error
        async with self._database.read() as tx:
            if isinstance(token, SyncToken):
                event_id = await storage_rooms.last_event_before(tx, head.room_nid, position=token.position)
            else:
                place = (token.depth, token.position)
                event_id = await storage_rooms.last_event_before(tx, head.room_nid, place=place)
            if event_id is None:
                # Where the timeline that the client was given begins with the room, the moment next to its beginning
                # at which there is any state: the creator has joined.
                event_id = await storage_rooms.last_event_before(tx, head.room_nid, place=_FOUNDED)
        stored = None if event_id is None else await self._events.get(event_id)
        state = None if stored is None else await self._state.after(stored)
        return {} if state is None else state

    async def _serialised(self, event_ids: Iterable[str]) -> bytes:
        found = await self._events.get_many(event_ids)
        return b"[" + b",".join([serialise(stored) for stored in found.values()]) + b"]"


def _is_wanted(membership: str | None, only: str | None, but: str | None) -> bool:
    return (only is None or membership == only) and (but is None or membership != but)
