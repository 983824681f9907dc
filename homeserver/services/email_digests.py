"""Mails people what they have not read: some time after it was said, and not too often about the same room.

The service follows the log behind those who write it, a few times a minute, and only while somebody has a pusher of the
kind email. What waits is durable; of several processes the one that holds the lease works.
"""

import asyncio
import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, Protocol

from homeserver.config.server_sections import Email
from homeserver.runtime.bus import Hint
from homeserver.runtime.clock import Clock
from homeserver.runtime.mailer import MailFailure
from homeserver.runtime.tasks import Tasks
from homeserver.services.digest_content import DigestContent, Marks
from homeserver.services.digest_mail import Digest, DigestRoom
from homeserver.services.email_pushers import EMAIL_PUSHERS_CHANGED
from homeserver.services.events import Events, StoredEvent
from homeserver.services.notifier import Notifier
from homeserver.services.push_actions import PushActions
from homeserver.services.room_heads import RoomHeads
from storage import email_pushers as storage
from storage import read_marks, timeline
from storage.database import Database, Write
from storage.email_pushers import DigestRow
from storage.leases import Lease
from storage.log_readers import read_position, store_position
from storage.streams import Stream

log = logging.getLogger(__name__)
NAME: Final = "email digests"
STEP_S: Final = 15.0
UNSUBSCRIBE_PATH: Final = "_matrix/client/unstable/pushers/unsubscribe"
_LEASE_MS: Final = 60_000
_READ_AT_ONCE: Final = 500
_LOOK_BACK: Final = 50_000
_USERS_AT_ONCE: Final = 50
_RETRY_MS: Final = 900_000
_GROWTH: Final = 4
Place = tuple[str, int]
"""(user id, room_nid)"""


class Mail(Protocol):
    """What sends mails."""

    async def send(
        self, recipient: str, subject: str, text: str, *, html: str | None = None, headers: dict[str, str] | None = None
    ) -> None:
        """Raises MailFailure."""
        ...


class EmailDigests:
    """One per process."""

    def __init__(
        self,
        database: Database,
        notifier: Notifier,
        events: Events,
        heads: RoomHeads,
        push_actions: PushActions,
        content: DigestContent,
        mail: Mail,
        clock: Clock,
        tasks: Tasks,
        config: Email,
        *,
        server_name: str,
        public_base_url: str,
        process_name: str,
    ) -> None:
        self._database = database
        self._notifier = notifier
        self._events = events
        self._heads = heads
        self._push_actions = push_actions
        self._content = content
        self.mail = mail
        self._clock = clock
        self._tasks = tasks
        self._config = config
        self._server_name = server_name
        self._base_url = public_base_url
        self._lease = Lease(database, NAME, process_name, _LEASE_MS)
        self._lock = asyncio.Lock()
        self._users: set[str] = set()
        self._is_stale = True
        self._position: int | None = None

    def start(self) -> None:
        """Go on in the background."""
        self._notifier.listeners.append(self._on_hints)
        self._notifier.on_reset.append(self._on_reset)
        self._tasks.loop(NAME, self.step, every_s=STEP_S, clock=self._clock)

    async def stop(self) -> None:
        """Let another process go on."""
        await self._lease.give_up()

    async def step(self) -> None:
        """Read what is new in the log, and send what is due."""
        async with self._lock:
            await self._step()

    async def _step(self) -> None:
        if not await self._lease.hold(self._clock.now_ms()):
            self._position, self._is_stale = None, True
            return
        if self._is_stale:
            self._is_stale = False
            try:
                await self._read()
            except BaseException:
                self._is_stale = True
                raise
        if not self._users:
            self._position = self._notifier.position
            return
        await self._follow_log()
        await self._send_due()

    async def _read(self) -> None:
        async with self._database.read() as tx:
            self._users = await storage.users(tx)
            checkpoint = await read_position(tx, NAME) if self._position is None else self._position
        here = self._notifier.position
        self._position = here if checkpoint is None else max(checkpoint, here - _LOOK_BACK)

    def _on_hints(self, hints: Sequence[Hint]) -> None:
        for hint in hints:
            if hint.stream == Stream.CACHES and any(key.startswith(EMAIL_PUSHERS_CHANGED) for key in hint.keys):
                self._is_stale = True

    def _on_reset(self) -> None:
        self._is_stale = True

    # --- from the log to what waits

    async def _follow_log(self) -> None:
        upto = self._notifier.position
        assert self._position is not None
        while self._position < upto:
            end = min(self._position + _READ_AT_ONCE, upto)
            async with self._database.read() as tx:
                places = await timeline.events_between(tx, self._position, end)
            found = await self._events.get_many([event_id for _, _, event_id in places])
            waiting: dict[Place, int] = {}
            for position, _, event_id in places:
                stored = found.get(event_id)
                if stored is not None and stored.is_accepted:
                    for user_id in await self._notified(stored):
                        waiting.setdefault((user_id, stored.room_nid), position)
            await self._keep(waiting, end)
            self._position = end

    async def _notified(self, stored: StoredEvent) -> list[str]:
        event = stored.event
        head = await self._heads.get(event.room_id)
        if head is None:
            return []
        concerned = self._users & head.joined
        if event.membership == "invite" and event.state_key in self._users:
            concerned = {*concerned, event.state_key}
        concerned = concerned - {event.sender}
        if not concerned:
            return []
        verdicts = await self._push_actions.verdicts(stored.shown, head, concerned)
        return [user_id for user_id, verdict in verdicts.items() if verdict.notify]

    async def _keep(self, waiting: dict[Place, int], upto: int) -> None:
        now = self._clock.now_ms()
        rows: list[DigestRow] = []
        for user_id in {user_id for user_id, _ in waiting}:
            known, marks = await self._known(user_id)
            for (whose, room_nid), position in waiting.items():
                row = known.get(room_nid)
                if whose == user_id and (row is None or row.first_position is None):
                    rows.append(self._waiting(row or _nothing(user_id, room_nid), position, marks, now))

        async def operation(tx: Write) -> None:
            for row in rows:
                storage.put_digest(tx, row)
            store_position(tx, NAME, upto)

        await self._database.write(operation)

    async def _known(self, user_id: str) -> tuple[dict[int, DigestRow], Marks]:
        async with self._database.read() as tx:
            rows = {row.room_nid: row for row in await storage.digests_of(tx, user_id)}
            found = await read_marks.marks_of(tx, user_id)
        return rows, {(mark.room_nid, mark.thread_id): mark.position for mark in found}

    def _waiting(self, row: DigestRow, position: int, marks: Marks, now: int) -> DigestRow:
        """Something waits again: not before the pause since the last mail is over, unless that was read meanwhile."""
        due_at = now + round(self._config.digest_delay * 1000)
        read_upto = max((upto for (room_nid, _), upto in marks.items() if room_nid == row.room_nid), default=0)
        if row.sent_at is None or row.told_position is None or read_upto >= row.told_position:
            return replace(row, first_position=position, due_at=due_at, pause=0)
        return replace(row, first_position=position, due_at=max(due_at, row.sent_at + row.pause))

    # --- from what waits to mails

    async def _send_due(self) -> None:
        async with self._database.read() as tx:
            users = await storage.users_due(tx, self._clock.now_ms(), _USERS_AT_ONCE)
        for user_id in users:
            await self._send_to(user_id)

    async def _send_to(self, user_id: str) -> None:
        now = self._clock.now_ms()
        known, marks = await self._known(user_id)
        # One mail tells of everything that waits, but for rooms that there was a mail about just now.
        due = [row for row in known.values() if row.due_at is not None and (row.sent_at or 0) + row.pause <= now]
        async with self._database.read() as tx:
            room_ids = await storage.room_ids(tx, [row.room_nid for row in due])
            pushers = await storage.of_user(tx, user_id)
        if not pushers:
            await self._database.write(lambda tx: storage.forget_digests(tx, user_id))
            return
        told: dict[int, DigestRoom] = {}
        for row in due:
            room = await self._content.of_room(row, room_ids.get(row.room_nid, ""), marks)
            if room is not None:
                told[row.room_nid] = room
        sent = True
        for pusher in pushers if told else ():
            link = f"{self._base_url}{UNSUBSCRIBE_PATH}?token={pusher.unsubscribe_token}"
            sent &= await self._send(pusher.pushkey, Digest(self._server_name, user_id, [*told.values()], link))
        await self._note(due, told, now, sent=sent)

    async def _send(self, address: str, digest: Digest) -> bool:
        headers = {
            "List-Unsubscribe": f"<{digest.unsubscribe_url}>",
            "List-Unsubscribe-Post": "List-Unsubscribe=One-Click",
        }
        try:
            await self.mail.send(address, digest.subject(), digest.text(), html=digest.html(), headers=headers)
        except MailFailure as error:
            log.warning("a mail about unread messages could not be sent to %s: %s", digest.user_id, error)
            return False
        return True

    async def _note(self, due: Sequence[DigestRow], told: dict[int, DigestRoom], now: int, *, sent: bool) -> None:
        shortest, longest = (
            round(s * 1000) for s in (self._config.digest_pause_min, self._config.digest_pause_max)
        )
        upto = self._position or 0

        async def operation(tx: Write) -> None:
            for row in due:
                if row.room_nid not in told:
                    changed = replace(row, first_position=None, due_at=None, pause=0)
                elif not sent:
                    changed = replace(row, due_at=now + _RETRY_MS)
                else:
                    pause = min(max(row.pause * _GROWTH, shortest), longest)
                    changed = replace(
                        row, first_position=None, due_at=None, told_position=upto, sent_at=now, pause=pause
                    )
                storage.put_digest(tx, changed)

        await self._database.write(operation)


def _nothing(user_id: str, room_nid: int) -> DigestRow:
    return DigestRow(user_id, room_nid, None, None, None, None, 0)
