"""Reports: users tell the people who run the server of what should not be.

https://spec.matrix.org/v1.19/client-server-api/#reporting-content
"""

import logging
from typing import Final

from homeserver.core.identifiers import is_valid_user_id
from homeserver.errors import InvalidParam, NotFound, TooLarge
from homeserver.runtime.clock import Clock
from homeserver.services.history_access import HistoryAccess
from homeserver.services.room_heads import RoomHeads
from storage import memberships, users
from storage import reports as storage
from storage.database import Database, Write
from storage.reports import Report

log = logging.getLogger(__name__)
_MAX_REASON: Final = 10_000


class Reports:
    """Keeps reports, and says in the log that there is one; what people wrote stays in the database."""

    def __init__(self, database: Database, heads: RoomHeads, access: HistoryAccess, clock: Clock) -> None:
        self._database = database
        self._heads = heads
        self._access = access
        self._clock = clock

    async def room(self, reporter: str, room_id: str, reason: str) -> None:
        """Report a room, which the reporter need not be in. Raises NotFound."""
        if await self._heads.get(room_id) is None:
            raise NotFound("The room is not known here")
        await self._keep(reporter, reason, room_id=room_id)

    async def event(self, reporter: str, room_id: str, event_id: str, reason: str, score: object) -> None:
        """Report an event of a room that the reporter is joined to. Raises NotFound, InvalidParam."""
        if score is not None and not (type(score) is int and -100 <= score <= 0):
            raise InvalidParam("score must be a whole number from -100 to 0")
        head = await self._heads.get(room_id)
        if head is None or reporter not in head.joined:
            raise NotFound("There is no such event, or you are not joined to the room")
        await self._access.to_event(reporter, room_id, event_id)
        await self._keep(reporter, reason, room_id=room_id, event_id=event_id, score=score)

    async def user(self, reporter: str, user_id: str, reason: str) -> None:
        """Report a user of any server. Raises InvalidParam, NotFound."""
        if not is_valid_user_id(user_id):
            raise InvalidParam("This is not a user id")
        async with self._database.read() as tx:
            is_known = await users.user_of(tx, user_id) is not None or bool(await memberships.of_user(tx, user_id))
        if not is_known:
            raise NotFound("The user is not known here")
        await self._keep(reporter, reason, user_id=user_id)

    async def _keep(
        self,
        reporter: str,
        reason: str,
        *,
        room_id: str | None = None,
        event_id: str | None = None,
        user_id: str | None = None,
        score: int | None = None,
    ) -> None:
        if len(reason) > _MAX_REASON:
            raise TooLarge(f"A reason has at most {_MAX_REASON} characters")
        report_id = self._database.new_id("report")
        now = self._clock.now_ms()
        report = Report(report_id, reporter, room_id, event_id, user_id, reason, score, now)

        async def operation(tx: Write) -> None:
            storage.add(tx, report)

        await self._database.write(operation)
        what = event_id or room_id or user_id
        log.warning("report %d: %s reports %s (room %s)", report_id, reporter, what, room_id or "-")
