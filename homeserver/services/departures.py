"""Takes users out of all their rooms, as when an account is closed."""

import logging

from homeserver.errors import MatrixError
from homeserver.services.membership import Membership
from homeserver.services.sessions import Requester
from storage import memberships
from storage.database import Database

log = logging.getLogger(__name__)
_LEAVABLE = frozenset(("join", "invite", "knock"))


class LeaveRooms:
    """`Departures` through ordinary leaves."""

    def __init__(self, database: Database, membership: Membership) -> None:
        self._database = database
        self._membership = membership

    async def leave_all(self, user_id: str) -> None:
        """Leave every room that the user is joined to, and reject every invite. Failures are logged."""
        async with self._database.read() as tx:
            rooms = [m.room_id for m in await memberships.of_user(tx, user_id, _LEAVABLE)]
        requester = Requester(user_id, None)
        for room_id in rooms:
            try:
                await self._membership.leave(requester, room_id, for_good=True)
            except MatrixError as error:
                log.warning("%s could not leave %s: %s", user_id, room_id, error)
