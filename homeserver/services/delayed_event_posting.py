"""Sends one delayed event as its user, and settles it in the same write."""

import orjson

from homeserver.core.event_builder import EventDraft
from homeserver.core.events import MEMBER, REDACTION
from homeserver.errors import BadJson, UserDeactivated, UserLocked
from homeserver.runtime.clock import Clock
from homeserver.services.client_events import BY_DELAY
from homeserver.services.directory import Directory
from homeserver.services.membership import Membership
from homeserver.services.persist_event import SentBy
from homeserver.services.send_event import SendEvent
from homeserver.services.sessions import Requester
from storage import delayed_events as storage
from storage import users
from storage.database import Database, Write
from storage.delayed_events import DelayedEvent

_CANONICAL_ALIAS = "m.room.canonical_alias"


class AlreadyHandled(Exception):
    """Somebody else sent, cancelled or restarted the event in this moment. Undoes the write."""


class DelayedEventPosting:
    """Rules for sending are those of events that are sent at once."""

    def __init__(
        self, database: Database, send_event: SendEvent, membership: Membership, directory: Directory, clock: Clock
    ) -> None:
        self._database = database
        self._send = send_event
        self._membership = membership
        self._directory = directory
        self._clock = clock

    async def post(self, event: DelayedEvent, *, due_by: int | None = None) -> None:
        """Send it, unless it is settled by now; with `due_by` (ms) also unless it was put off beyond that.

        Raises as sending does; the event is still scheduled then.
        """
        requester = await self._requester(event)
        content = orjson.loads(event.content)

        async def settle(tx: Write, event_id: str) -> None:
            now = self._clock.now_ms()
            if not await storage.finalise(tx, event.delay_id, now, event_id=event_id, due_by=due_by):
                raise AlreadyHandled

        try:
            if event.type == MEMBER and event.state_key is not None:
                # May ask other servers, so not one write; a membership that is so already changes nothing.
                event_id = await self._membership.set_by_state(requester, event.room_id, event.state_key, content)
                await self._database.write(lambda tx: settle(tx, event_id))
            elif event.type == REDACTION and event.state_key is None:
                redacts = content.pop("redacts", None)
                if not isinstance(redacts, str):
                    raise BadJson("redacts must name the event to redact")
                await self._send.redact(requester, event.room_id, redacts, content, None, along=settle)
            else:
                if event.type == _CANONICAL_ALIAS and event.state_key == "":
                    await self._directory.check_canonical_alias(event.room_id, content)
                draft = EventDraft(event.type, event.user_id, content, event.room_id, state_key=event.state_key)
                await self._send.send(
                    requester,
                    event.room_id,
                    draft,
                    origin_server_ts=event.origin_server_ts,
                    sent_by=SentBy(BY_DELAY, event.delay_id),
                    along=settle,
                )
        except AlreadyHandled:
            return

    async def _requester(self, event: DelayedEvent) -> Requester:
        """The user as they are now. Raises UserDeactivated, UserLocked."""
        async with self._database.read() as tx:
            row = await users.user_of(tx, event.user_id)
        if row is None or row.deactivated:
            raise UserDeactivated
        if row.locked:
            raise UserLocked
        return Requester(event.user_id, event.device_id, is_guest=row.is_guest, is_suspended=row.suspended)
