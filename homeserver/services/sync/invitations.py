"""Invites and knocks of an answer: stripped state. https://spec.matrix.org/v1.19/client-server-api/#stripped-state"""

from collections.abc import Sequence
from typing import Any

import orjson

from homeserver.core.events import MEMBER, StateKey
from homeserver.services.account_data import UserData
from homeserver.services.client_events import stripped, stripped_membership
from homeserver.services.events import Events
from homeserver.services.room_heads import RoomHeads
from homeserver.services.sync.answer import Answer
from homeserver.services.sync.selection import Selection
from homeserver.services.sync.users import SyncUser
from storage import timeline
from storage.database import Database

_SHOWN: Sequence[StateKey] = (
    ("m.room.create", ""),
    ("m.room.name", ""),
    ("m.room.avatar", ""),
    ("m.room.topic", ""),
    ("m.room.join_rules", ""),
    ("m.room.canonical_alias", ""),
    ("m.room.encryption", ""),
)


class Invitations:
    """What somebody outside of a room is told about it."""

    def __init__(self, db: Database, events: Events, heads: RoomHeads, *, server_name: str) -> None:
        self._db = db
        self._events = events
        self._heads = heads
        self._server_name = server_name

    async def add(self, answer: Answer, user: SyncUser, data: UserData, selection: Selection) -> None:
        """Add the invites and knocks of the selection, without invites that the user does not want."""
        async with self._db.read() as tx:
            kept = await timeline.stripped_states(tx, user.user_id)
        for room_id in selection.invited:
            if data.shows_invites_by(user.senders[room_id]):
                events = await self.stripped_state(user.user_id, room_id, kept)
                answer.add_room("invite", room_id, b'{"invite_state":{"events":%b}}' % events)
        for room_id in selection.knocked:
            events = await self.stripped_state(user.user_id, room_id, kept)
            answer.add_room("knock", room_id, b'{"knock_state":{"events":%b}}' % events)

    async def stripped_state(self, user_id: str, room_id: str, kept: dict[str, bytes]) -> bytes:
        """A JSON list: from the state of the room where this server is in it, else as another server told it."""
        head = await self._heads.get(room_id)
        if head is None or not head.hosts.get(self._server_name):
            return kept.get(room_id, b"[]")
        keys = (*_SHOWN, (MEMBER, user_id))
        ids = [head.state[key] for key in keys if key in head.state]
        member = head.state.get((MEMBER, user_id))
        found = await self._events.get_many(ids)
        inviter = found[member].event.sender if member in found else None
        if inviter is not None and inviter != user_id and (MEMBER, inviter) in head.state:
            ids.insert(-1, head.state[MEMBER, inviter])
            found.update(await self._events.get_many(ids))
        shown: list[dict[str, Any]] = [
            (stripped_membership if event_id == member else stripped)(found[event_id].shown)
            for event_id in ids
            if event_id in found
        ]
        return orjson.dumps(shown)
