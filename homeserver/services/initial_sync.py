"""What a room, or an account, is at the moment: the form of before /sync.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3roomsroomidinitialsync
"""

from typing import TYPE_CHECKING, Any, Final

import orjson

from homeserver.core.tokens import SyncToken
from homeserver.errors import MatrixError
from homeserver.services.account_data import AccountData, UserData
from homeserver.services.client_events import serialise
from homeserver.services.directory import Directory
from homeserver.services.events import Events
from homeserver.services.notifier import Notifier
from homeserver.services.room_reading import RoomReading
from homeserver.services.timeline import DEFAULT_LIMIT, Timeline
from storage import memberships
from storage.database import Database

if TYPE_CHECKING:
    from homeserver.services.sessions import Requester

_SHOWN: Final = ("join", "invite", "knock")
_ARCHIVED: Final = (*_SHOWN, "leave", "ban")


class InitialSync:
    """Put together of what is read one by one elsewhere: few clients still ask for it."""

    def __init__(
        self,
        database: Database,
        notifier: Notifier,
        events: Events,
        timeline: Timeline,
        reading: RoomReading,
        directory: Directory,
        account_data: AccountData,
    ) -> None:
        self._database = database
        self._notifier = notifier
        self._events = events
        self._timeline = timeline
        self._reading = reading
        self._directory = directory
        self._account_data = account_data

    async def room(self, requester: "Requester", room_id: str, limit: int = DEFAULT_LIMIT) -> dict[str, Any]:
        """A room with its newest messages and its state. Raises Forbidden."""
        end = SyncToken(self._notifier.position)
        data = await self._account_data.of_user(requester.user_id)
        page = orjson.loads(await self._timeline.messages(requester.user_id, room_id, backwards=True, limit=limit))
        async with self._database.read() as tx:
            member = await memberships.membership_of(tx, room_id, requester.user_id)
        answer: dict[str, Any] = {
            "room_id": room_id,
            "messages": {"chunk": page["chunk"][::-1], "start": page.get("end", page["start"]), "end": str(end)},
            "state": orjson.Fragment(await self._reading.state(requester, room_id)),
            "visibility": "public" if await self._directory.is_public(room_id) else "private",
            "account_data": _account_data_of(data, room_id),
        }
        if member is not None:
            answer["membership"] = member.membership
        return answer

    async def account(
        self, requester: "Requester", limit: int = DEFAULT_LIMIT, *, archived: bool = False
    ) -> dict[str, Any]:
        """All rooms of the user, and their account data."""
        end = SyncToken(self._notifier.position)
        user_id = requester.user_id
        data = await self._account_data.of_user(user_id)
        async with self._database.read() as tx:
            members = await memberships.of_user(tx, user_id, _ARCHIVED if archived else _SHOWN)
        rooms: list[dict[str, Any]] = []
        for member in members:
            if member.forgotten:
                continue
            if member.membership in ("invite", "knock"):
                found = await self._events.get_many_by_nid((member.event_nid,))
                invite = [orjson.Fragment(serialise(stored)) for stored in found.values()]
                room = {"room_id": member.room_id, "membership": member.membership}
                rooms.append({**room, "invite": invite[0]} if invite else room)
                continue
            try:
                rooms.append(await self.room(requester, member.room_id, limit))
            except MatrixError:
                # Left before there was anything to see of it.
                continue
        return {"end": str(end), "presence": [], "rooms": rooms, "account_data": _account_data_of(data, "")}


def _account_data_of(data: UserData, room_id: str) -> list[dict[str, Any]]:
    return [
        {"type": row.type, "content": orjson.Fragment(row.content)}
        for row in data.rows.values()
        if row.room_id == room_id
    ]
