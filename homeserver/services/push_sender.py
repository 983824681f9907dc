"""Tells push gateways of events, each once in the usual case, through outages and restarts.

The sender follows the log: for every event it asks the push rules what the event means for those of the room's members
who have pushers. How far it has come is durable, and how far a pusher is where its gateway fails; after a crash the
last notifications may be sent again, which gateways recognise by the event id.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Container, Sequence, Set
from typing import Final

from homeserver.core.push_rules import Verdict
from homeserver.runtime.bus import Hint
from homeserver.runtime.clock import Clock
from homeserver.runtime.random import Randomness
from homeserver.runtime.tasks import Tasks
from homeserver.services.events import Events, StoredEvent
from homeserver.services.notifier import Notifier
from homeserver.services.push_actions import PushActions
from homeserver.services.push_badges import badge_of
from homeserver.services.push_gateway import GatewayFailed, PushGateway
from homeserver.services.push_queue import MAX_WAITING, PushQueue, WaitingPush
from homeserver.services.pushers import PUSHERS_CHANGED, remove_pusher
from homeserver.services.room_heads import RoomHeads
from storage import pushers as storage
from storage import timeline
from storage.database import Database, Write
from storage.leases import Lease
from storage.log_readers import read_position, store_position
from storage.pushers import PusherRow
from storage.read_marks import MAIN
from storage.streams import Stream

log = logging.getLogger(__name__)

NAME: Final = "push sender"
LEASE_MS: Final = 15_000
STEP_S: Final = 1.0
READ_AT_ONCE: Final = 500
AT_ONCE: Final = 20
_SESSIONS_CHANGED: Final = "sessions:"
Key = tuple[str, str, str]


class PushSender:
    """One per process; of several processes the one that holds the lease works, the others wait to take over."""

    def __init__(
        self,
        database: Database,
        notifier: Notifier,
        events: Events,
        heads: RoomHeads,
        push_actions: PushActions,
        gateway: PushGateway,
        clock: Clock,
        randomness: Randomness,
        tasks: Tasks,
        *,
        process_name: str,
    ) -> None:
        self._database = database
        self._notifier = notifier
        self._events = events
        self._heads = heads
        self._push_actions = push_actions
        self._gateway = gateway
        self._clock = clock
        self._randomness = randomness
        self._tasks = tasks
        self._lease = Lease(database, NAME, process_name, LEASE_MS)
        self._queues: dict[str, dict[Key, PushQueue]] = {}
        self._arrived: deque[Hint] = deque()
        self._wake = asyncio.Event()
        self._is_routing = self._is_active = self._is_stopped = False
        self._reread = False
        self._seen = self._routed = 0
        self._stored: dict[Key, tuple[int | None, int | None]] = {}
        self._stored_position = -1
        self._slots = asyncio.Semaphore(AT_ONCE)

    # --- start and stop

    async def start(self) -> None:
        """Take up the work where it was left, or stand by until the process that does it is gone."""
        self._notifier.listeners.append(self._on_hints)
        self._notifier.on_reset.append(self._on_reset)
        await self._step()
        self._tasks.start("push router", self._route_forever())
        self._tasks.loop("pushers", self._step, every_s=STEP_S, clock=self._clock)

    async def stop(self) -> None:
        """Note how far every pusher is, and let another process go on."""
        self._is_stopped = True
        if not self._is_active:
            return
        self._is_active = False
        await self._store_progress()
        await self._lease.give_up()

    async def _step(self) -> None:
        """Once a second: hold the lease, note progress, try gateways whose pause is over."""
        if self._is_stopped or not await self._lease.hold(self._clock.now_ms()):
            self._is_active = False
            return
        if not self._is_active:
            await self._load()
            self._is_active = self._reread = True
            self._wake.set()
        await self._store_progress()
        for queue in self._all_queues():
            self._kick(queue)

    async def _load(self) -> None:
        async with self._database.read(snapshot=True) as tx:
            rows = await storage.all_of_them(tx)
            checkpoint = await read_position(tx, NAME)
        # Nobody is told of what was before their pusher.
        oldest = min((row.position for row in rows), default=self._notifier.position)
        self._routed = self._seen = max(checkpoint or 0, oldest)
        self._arrived.clear()
        self._queues, self._stored = {}, {}
        self._stored_position = -1 if checkpoint is None else checkpoint
        for row in rows:
            queue = self._new_queue(row)
            if row.sent_position is not None:
                await self._fill(queue, self._routed)

    async def _fill(self, queue: PushQueue, upto: int) -> None:
        """A pusher that was behind: read again what its user was not told."""
        user_id = queue.pusher.user_id
        if queue.after >= upto:
            return
        async with self._database.read() as tx:
            missed = await storage.events_for(tx, user_id, queue.after, upto, 5 * MAX_WAITING)
        found = await self._events.get_many([event_id for _, event_id in missed])
        for position, event_id in missed:
            if event_id in found:
                verdicts = await self._verdicts(found[event_id], {user_id})
                if user_id in verdicts:
                    queue.add(WaitingPush(position, event_id, verdicts[user_id]))

    async def _store_progress(self) -> None:
        """Keep how far the log was routed, and which pushers are behind, where that has changed."""
        if not self._queues and self._stored_position >= 0:
            return  # without pushers there is nothing to lose: new ones begin where they are made
        is_idle = not self._arrived and not self._is_routing and not self._reread
        position = max(self._routed, self._seen) if is_idle else self._routed
        behind = {queue.pusher.key: queue.progress() for queue in self._all_queues()}
        changed = {key: now for key, now in behind.items() if self._stored.get(key, (None, None)) != now}
        if not changed and position == self._stored_position:
            return

        async def operation(tx: Write) -> None:
            store_position(tx, NAME, position)
            for key, (sent_position, failing_since) in changed.items():
                storage.store_progress(tx, key, sent_position, failing_since)

        await self._database.write(operation)
        self._stored, self._stored_position = behind, position

    # --- from the log to the queues

    def _on_hints(self, hints: Sequence[Hint]) -> None:
        self._seen = max(self._seen, self._notifier.position)
        if not self._is_active:
            return
        for hint in hints:
            if self._concerns(hint):
                self._arrived.append(hint)
                self._wake.set()

    def _concerns(self, hint: Hint) -> bool:
        if hint.stream == Stream.CACHES:
            return any(_changed_user(key, self._queues) is not None for key in hint.keys)
        if not self._queues and not self._arrived and not self._is_routing:
            return False
        if hint.stream == Stream.EVENTS:
            return isinstance(hint.payload, StoredEvent)
        return hint.stream in (Stream.RECEIPTS, Stream.MEMBERSHIPS) and any(key in self._queues for key in hint.keys)

    def _on_reset(self) -> None:
        """Hints were lost: the log says what they were about."""
        self._reread = True
        self._wake.set()

    async def _route_forever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not self._is_active:
                continue
            self._is_routing = True
            try:
                await self._route()
            except asyncio.CancelledError:
                raise
            except Exception:
                log.exception("push notifications could not be worked out; reading the log again")
                self._reread = True
                await self._clock.sleep(STEP_S)
                self._wake.set()
            finally:
                self._is_routing = False

    async def _route(self) -> None:
        if self._reread:
            self._reread = False
            await self._route_log()
        while self._arrived:
            hint = self._arrived.popleft()
            if hint.stream == Stream.CACHES:
                for user_id in filter(None, (_changed_user(key, self._queues) for key in hint.keys)):
                    await self._reload(user_id)
            elif hint.stream == Stream.EVENTS:
                if hint.position > self._routed:
                    await self._route_event(hint.payload, hint.position)
            elif hint.stream == Stream.RECEIPTS:
                self._route_receipt(hint)
            elif hint.position > self._routed:
                await self._route_invites(hint.position - 1, hint.position)
            self._routed = max(self._routed, hint.position)

    async def _route_log(self) -> None:
        """Read what happened since the position up to which everything was routed, new pushers included."""
        async with self._database.read() as tx:
            with_pushers = {row.user_id for row in await storage.all_of_them(tx)}
        for user_id in with_pushers | self._queues.keys():
            await self._reload(user_id)
        upto = self._notifier.position
        while self._queues and self._routed < upto:
            end = min(self._routed + READ_AT_ONCE, upto)
            async with self._database.read() as tx:
                places = await timeline.events_between(tx, self._routed, end)
            found = await self._events.get_many([event_id for _, _, event_id in places])
            for position, _, event_id in places:
                if event_id in found:
                    await self._route_event(found[event_id], position)
            await self._route_invites(self._routed, end)
            self._routed = end
        self._routed = max(self._routed, upto)

    async def _route_event(self, stored: StoredEvent, position: int) -> None:
        if not stored.is_accepted:
            return
        for user_id, verdict in (await self._verdicts(stored, self._queues.keys())).items():
            self._add(user_id, WaitingPush(position, stored.event_id, verdict))

    async def _route_invites(self, after: int, upto: int) -> None:
        """Invites to rooms that this server is not in are no events of a timeline."""
        async with self._database.read() as tx:
            invites = await storage.invites_after(tx, [*self._queues], after, upto)
        for row in invites:
            stored = await self._events.get(row.event_id)
            head = None if stored is None else await self._heads.get(stored.event.room_id)
            if stored is not None and head is not None:
                verdicts = await self._push_actions.verdicts(stored.event, head, (row.user_id,))
                if verdicts[row.user_id].notify:
                    self._add(row.user_id, WaitingPush(row.position, row.event_id, verdicts[row.user_id]))

    def _route_receipt(self, hint: Hint) -> None:
        for user_id in hint.keys[1:]:
            for queue in self._queues.get(user_id, {}).values():
                queue.tells_badge = True
                self._kick(queue)

    async def _verdicts(self, stored: StoredEvent, user_ids: Set[str]) -> dict[str, Verdict]:
        """For those of the users who are in the room and are to be told of the event: how."""
        event = stored.event
        head = await self._heads.get(event.room_id)
        if head is None:
            return {}
        concerned = set(user_ids & head.joined)
        if event.membership == "invite" and event.state_key is not None and event.state_key in user_ids:
            concerned.add(event.state_key)
        concerned.discard(event.sender)
        if not concerned:
            return {}
        verdicts = await self._push_actions.verdicts(stored.shown, head, concerned)
        return {user_id: verdict for user_id, verdict in verdicts.items() if verdict.notify}

    def _add(self, user_id: str, push: WaitingPush) -> None:
        for queue in self._queues.get(user_id, {}).values():
            queue.add(push)
            self._kick(queue)

    # --- the queues

    def _all_queues(self) -> list[PushQueue]:
        return [queue for queues in self._queues.values() for queue in queues.values()]

    def _new_queue(self, row: PusherRow) -> PushQueue:
        after = row.position if row.sent_position is None else row.sent_position
        queue = PushQueue(row, after, failing_since=row.failing_since)
        self._stored[row.key] = (row.sent_position, row.failing_since)
        self._queues.setdefault(row.user_id, {})[row.key] = queue
        return queue

    async def _reload(self, user_id: str) -> None:
        """The user's pushers may have changed."""
        async with self._database.read() as tx:
            rows = {row.key: row for row in await storage.of_user(tx, user_id)}
        queues = self._queues.get(user_id, {})
        for key in queues.keys() - rows.keys():
            queues.pop(key).is_gone = True
            self._stored.pop(key, None)
        for key, row in rows.items():
            if key not in queues:
                queue = self._new_queue(row)
                # Heard of late: what came after it in the log was routed without it.
                await self._fill(queue, self._routed)
                self._kick(queue)
            else:
                queues[key].pusher = row
        if not rows:
            self._queues.pop(user_id, None)

    def _kick(self, queue: PushQueue) -> None:
        """Have what waits sent, unless that is being done or has to wait."""
        if self._is_active and queue.has_work and queue.task is None and queue.retry_at <= self._clock.now_ms():
            queue.task = self._tasks.start("push notifications", self._send(queue))

    async def _send(self, queue: PushQueue) -> None:
        try:
            async with self._slots:
                while self._is_active and queue.has_work and await self._send_one(queue):
                    queue.succeeded()
        except GatewayFailed as error:
            now = self._clock.now_ms()
            pause = queue.next_pause()
            log.info("pusher of %s: %s; trying again in %.0f s", queue.pusher.user_id, error, pause)
            queue.tells_badge = queue.tells_badge or not queue.waiting
            queue.failed(now, self._randomness.jitter(pause))
        finally:
            queue.task = None

    async def _send_one(self, queue: PushQueue) -> bool:
        """Tell of the oldest event that waits, or of the counts. False where the pusher is gone."""
        user_id = queue.pusher.user_id
        push = next(iter(queue.waiting.values()), None)
        badge = await badge_of(self._database, user_id, self._notifier.position)
        # Whatever is told carries the counts.
        queue.tells_badge = False
        if push is None:
            taken = await self._gateway.tell_badge(queue.pusher, badge)
        else:
            stored = await self._events.get(push.event_id)
            is_read = stored is None or badge.has_read(stored.room_nid, stored.thread_root or MAIN, push.position)
            if stored is None or is_read or stored.redacted_because is not None:
                queue.sent(push)
                return True
            head = await self._heads.get(stored.event.room_id)
            taken = await self._gateway.notify(queue.pusher, stored, head, push.verdict, badge)
            queue.sent(push)
        if not taken:
            log.info("a pusher of %s was rejected by its gateway", user_id)
            queue.is_gone = True
            await self._database.write(lambda tx: remove_pusher(tx, queue.pusher.key))
        return taken


def _changed_user(key: str, known: Container[str]) -> str | None:
    """Whose pushers have changed, if the key of a hint says so. A session that ended may have taken pushers along."""
    if key.startswith(PUSHERS_CHANGED):
        return key[len(PUSHERS_CHANGED) :]
    user_id = key.removeprefix(_SESSIONS_CHANGED)
    return user_id if user_id != key and user_id in known else None
