"""Invites to users of other servers, who have to sign them before they count.

server-server-api §Inviting to a room
"""

from typing import Any, Final

from homeserver.core.event_builder import EventDraft
from homeserver.core.events import MEMBER, Event
from homeserver.services.client_events import stripped, stripped_membership
from homeserver.services.events import Events
from homeserver.services.persist_event import PersistEvent
from homeserver.services.remote_rooms import RemoteRooms
from homeserver.services.room_heads import RoomHead, RoomHeads
from homeserver.services.room_state import RoomState
from homeserver.services.send_event import SendEvent
from storage.database import Database, Write

# https://spec.matrix.org/v1.19/client-server-api/#stripped-state
STRIPPED_TYPES: Final = (
    "m.room.create",
    "m.room.name",
    "m.room.avatar",
    "m.room.topic",
    "m.room.join_rules",
    "m.room.canonical_alias",
    "m.room.encryption",
)


class OutgoingInvites:
    """Sends invites over federation and appends them with both signatures."""

    def __init__(
        self,
        database: Database,
        events: Events,
        heads: RoomHeads,
        state: RoomState,
        send_event: SendEvent,
        persist: PersistEvent,
        remote: RemoteRooms,
    ) -> None:
        self._database = database
        self._events = events
        self._heads = heads
        self._state = state
        self._send = send_event
        self._persist = persist
        self._remote = remote

    async def send(self, sender: str, room_id: str, user_id: str, content: dict[str, Any]) -> None:
        """Invite a user of another server. Raises `Forbidden`, and what that server says."""
        head = await self._send.require_head(room_id)
        snapshot = head.snapshot
        draft = EventDraft(MEMBER, sender, content, room_id, state_key=user_id)
        advised = await self._send.advised(head, draft)
        event = await self._send.build(head, draft) if advised is None else advised.event
        await self._send.check(head, event)
        signed = await self._remote.send_invite(event, await self.stripped_state(head, event))

        async def operation(tx: Write) -> None:
            room = await self._send.require_draft(tx, room_id)
            # The room may have moved on while the other server was asked.
            await self._send.check(room, signed, tx)
            await self._persist.append(tx, room, signed, snapshot_before=snapshot, is_local=True, is_new=True)

        await self._database.write(operation, rooms=(head.room_nid,))

    async def stripped_state(self, head: RoomHead, event: Event) -> list[dict[str, Any]]:
        """What an invited (knocking) user is told of the room, and who it is that invites."""
        keys = [(event_type, "") for event_type in STRIPPED_TYPES] + [(MEMBER, event.sender)]
        found = await self._state.events_of(head.state, keys)
        told = [stripped(found[key]) for key in keys if key in found]
        return [*told, stripped_membership(event)]
