"""Who may read which part of a room's history, and what tokens mean in it."""

from collections.abc import Sequence
from dataclasses import dataclass

from homeserver.core.history_visibility import HISTORY_VISIBILITY, visibility_of
from homeserver.core.tokens import PaginationToken, SyncToken
from homeserver.errors import Forbidden, NotFound
from homeserver.services.events import Events, StoredEvent
from homeserver.services.room_heads import RoomHead, RoomHeads
from homeserver.services.room_state import RoomState
from homeserver.services.visibility import Visibility
from storage import memberships, timeline
from storage.database import Database

Token = SyncToken | PaginationToken
BEGINNING = PaginationToken(0, 0)


@dataclass(frozen=True, slots=True)
class Access:
    """What lets a user read a room. `membership` is their last; `left_at`: the position of the event that ended it."""

    head: RoomHead
    membership: str
    left_at: int | None

    @property
    def was_joined(self) -> bool:
        return self.membership == "join" or self.left_at is not None


class HistoryAccess:
    """Asked for everything that is read of a room's past on behalf of a user."""

    def __init__(
        self, database: Database, events: Events, heads: RoomHeads, state: RoomState, visibility: Visibility
    ) -> None:
        self._database = database
        self._events = events
        self._heads = heads
        self._state = state
        self._visibility = visibility

    async def to_room(self, user_id: str, room_id: str) -> Access:
        """What the user may read of the room; raises Forbidden for who may read nothing of it."""
        head = await self._heads.get(room_id)
        if head is None or not head.state:
            raise Forbidden("You are not in this room")
        if user_id in head.joined:
            return Access(head, "join", None)
        async with self._database.read() as tx:
            member = await memberships.membership_of(tx, room_id, user_id)
        if member is not None and member.membership in ("leave", "ban") and not member.forgotten:
            return Access(head, member.membership, member.position)
        setting = await self._state.event(room_id, HISTORY_VISIBILITY)
        if setting is not None and visibility_of(setting.event.content) == "world_readable":
            return Access(head, "leave" if member is None else member.membership, None)
        raise Forbidden("You are not in this room")

    async def to_event(self, user_id: str, room_id: str, event_id: str) -> tuple[Access, StoredEvent, str]:
        """An event of the room with the user's membership at it; raises NotFound also where they may not see it."""
        stored = await self._events.get(event_id)
        if stored is None or stored.event.room_id != room_id or stored.position is None:
            raise NotFound("There is no such event, or you may not see it")
        try:
            access = await self.to_room(user_id, room_id)
        except Forbidden:
            raise NotFound("There is no such event, or you may not see it") from None
        seen = await self.seen(user_id, access, [stored])
        if not seen:
            raise NotFound("There is no such event, or you may not see it")
        return access, *seen[0]

    async def seen(self, user_id: str, access: Access, stored: Sequence[StoredEvent]) -> list[tuple[StoredEvent, str]]:
        """Those of the events that the user may see, each with their membership at it."""
        left_at = access.left_at
        if left_at is not None:
            later = [one for one in stored if (one.position or 0) > left_at]
            earlier = [one for one in stored if (one.position or 0) <= left_at]
            seen = await self._visibility.memberships_of_visible(user_id, earlier, is_joined=True)
            seen |= await self._visibility.memberships_of_visible(user_id, later, is_joined=False)
        else:
            seen = await self._visibility.memberships_of_visible(user_id, stored, is_joined=access.was_joined)
        return [(one, seen[one.event_id]) for one in stored if one.event_id in seen]

    async def gap(self, access: Access, token: Token | None, *, backwards: bool) -> PaginationToken:
        """The gap in the timeline that a token means; without one the end (or the beginning)."""
        if isinstance(token, PaginationToken):
            return token
        if token is None and not backwards:
            return BEGINNING
        async with self._database.read() as tx:
            if token is not None:
                find = timeline.last_place if backwards else timeline.place_at
                place = await find(tx, access.head.room_nid, token.position)
            elif access.left_at is not None:
                place = await timeline.place_at(tx, access.head.room_nid, access.left_at)
            else:
                place = await timeline.last_place(tx, access.head.room_nid)
        return BEGINNING if place is None else PaginationToken.after(place.depth, place.position)
