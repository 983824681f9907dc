"""Sends other servers what concerns them: events, EDUs; in order, once each, through outages and restarts.

The log is the queue. The router follows it and notes, for every event of this server, which servers it concerns; a
server's outbox holds what it has not been sent, and `delivery` sends it. A crash loses nothing: what was not noted as
sent is sent again, and receivers drop what they have.
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Final

from federation.outbound.client import FederationClient
from federation.outbound.outbox import Outbox, WaitingEvent, edu
from federation.outbound.reachability import Failing, Reachability
from federation.sender.delivery import Delivery
from federation.sender.passing_edus import PassingEdu, PassingEdus
from federation.sender.room_hosts import Committed, RoomHosts, carries_event
from homeserver.core.canonical_json import decode, encode_lenient
from homeserver.runtime.bus import Hint
from homeserver.runtime.clock import Clock
from homeserver.runtime.tasks import Tasks
from storage import destinations as storage
from storage.database import Database, Write
from storage.destinations import CHECKPOINT, Destination, OutboundEvent
from storage.leases import Lease
from storage.rooms import log_position
from storage.streams import Stream

log = logging.getLogger(__name__)

LEASE: Final = "federation sender"
LEASE_MS: Final = 15_000
STEP_S: Final = 1.0
ROUTED_AT_ONCE: Final = 200
KNOWN_SERVERS: Final = 5_000
HEARD_EVERY_S: Final = 10.0
# A room whose members were not all known (`services.room_heads`) has other servers in it, perhaps.
_WHOLE: Final = "whole:"


class FederationSender:
    """One per process; of several processes the one that holds the lease works, the others wait to take over."""

    def __init__(
        self,
        database: Database,
        client: FederationClient,
        reachability: Reachability,
        clock: Clock,
        tasks: Tasks,
        *,
        server_name: str,
        process_name: str,
    ) -> None:
        self._database = database
        self._reachability = reachability
        self._clock = clock
        self._tasks = tasks
        self._server_name = server_name
        self._lease = Lease(database, LEASE, process_name, LEASE_MS)
        self._outboxes: dict[str, Outbox] = {}
        self._hosts = RoomHosts(database)
        self._passing = PassingEdus(database, self._hosts, clock, server_name)
        self._delivery = Delivery(
            database, client, reachability, clock, tasks, server_name=server_name, emptied=self._forget
        )
        self._arrived: list[Hint] = []
        self._wake = asyncio.Event()
        self._routed = 0
        self._reread = True
        self._stored: dict[str, Destination] = {}
        self._is_stopped = False
        self._heard_at: dict[str, float] = {}

    @property
    def is_active(self) -> bool:
        """Whether it is this process that sends."""
        return self._delivery.is_open

    def waiting(self) -> dict[str, int]:
        """Servers that have something to be sent, and how many events memory holds for each."""
        return {name: len(outbox.events) for name, outbox in self._outboxes.items() if not outbox.is_empty}

    # --- start and stop

    async def start(self) -> None:
        """Takes up the work where it was left, or stands by until the process that does it is gone."""
        self._database.bus.subscribe(self._on_hints, self._on_gap)
        await self._step()
        self._tasks.start("federation router", self._route_forever())
        self._tasks.loop("federation retries", self._step, every_s=STEP_S, clock=self._clock)

    async def stop(self) -> None:
        """Notes how far every server is, and lets another process go on. It does not start again."""
        self._is_stopped = True
        if not self.is_active:
            return
        self._delivery.close()
        await self._store_progress()
        await self._lease.give_up()

    def heard_from(self, server_name: str) -> None:
        """A request of the server came in: what waits for it is sent at once, by whichever process does that."""
        now = self._clock.monotonic()
        # Other processes may know that it fails: they are told, but not of every request.
        is_news = self._database.is_shared and self._heard_at.get(server_name, -HEARD_EVERY_S) + HEARD_EVERY_S <= now
        if self._reachability.failing(server_name) is None and not is_news:
            return
        if len(self._heard_at) >= KNOWN_SERVERS:
            self._heard_at.clear()
        self._heard_at[server_name] = now
        # At once, as it may have to be asked about what it says.
        self._reachability.succeeded(server_name)
        self._database.bus.publish([Hint(Stream.FEDERATION_CONTACT, 0, (server_name,))])

    async def _step(self) -> None:
        """Once a second: hold the lease, note progress, try servers whose pause is over."""
        if self._is_stopped or not await self._lease.hold(self._clock.now_ms()):
            self._delivery.close()
            return
        if not self.is_active:
            await self._load()
            self._delivery.open()
            self._reread = True
            self._wake.set()
        await self._store_progress()
        for outbox in list(self._outboxes.values()):
            self._kick(outbox)

    async def _load(self) -> None:
        async with self._database.read(snapshot=True) as tx:
            rows = {row.server_name: row for row in await storage.load_all(tx)}
            with_edus = await storage.servers_with_edus(tx)
        checkpoint = rows.pop(CHECKPOINT, None)
        self._routed = self._database.position if checkpoint is None else checkpoint.sent_position
        self._stored = rows
        self._outboxes = {}
        for row in rows.values():
            self._outboxes[row.server_name] = Outbox(row.server_name, row.sent_position, from_database=True)
            if row.failing_since is not None and row.retry_at is not None:
                failing = Failing(row.failing_since, row.retry_at, row.retry_interval)
                self._reachability.restore(row.server_name, failing)
        for server_name in with_edus:
            self._outbox(server_name).has_edus = True
        if checkpoint is None:
            await self._store_progress()

    async def _store_progress(self) -> None:
        """Keeps which servers are behind, and how far the log was routed, where that has changed."""
        wanted = {
            outbox.server_name: self._destination(outbox) for outbox in self._outboxes.values() if outbox.is_behind
        }
        changed = [row for name, row in wanted.items() if self._stored.get(name) != row]
        gone = [name for name in self._stored if name not in wanted and name != CHECKPOINT]
        checkpoint = Destination(CHECKPOINT, self._routed)
        if not changed and not gone and self._stored.get(CHECKPOINT) == checkpoint:
            return

        async def store(tx: Write) -> None:
            storage.store_checkpoint(tx, checkpoint.sent_position)
            for row in changed:
                storage.store(tx, row)
            for name in gone:
                storage.remove(tx, name)

        await self._database.write(store)
        self._stored = {**wanted, CHECKPOINT: checkpoint}

    def _destination(self, outbox: Outbox) -> Destination:
        failing = self._reachability.failing(outbox.server_name)
        if failing is None:
            return Destination(outbox.server_name, outbox.sent_position)
        return Destination(
            outbox.server_name, outbox.sent_position, failing.retry_at, failing.interval, failing.since
        )

    # --- the router: from the log to the outboxes

    def _on_hints(self, hints: list[Hint]) -> None:
        for hint in hints:
            if hint.stream == Stream.EVENTS:
                self._hosts.heard(hint)
            elif hint.stream == Stream.CACHES and any(key.startswith(_WHOLE) for key in hint.keys):
                self._hosts.clear()
            if hint.stream in _ROUTED:
                self._arrived.append(hint)
                self._wake.set()

    def _on_gap(self) -> None:
        """Hints may have been lost: the log says what they were about."""
        self._hosts.clear()
        self._reread = True
        self._wake.set()

    async def _route_forever(self) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            if not self.is_active:
                self._arrived.clear()
                self._reread = True
                continue
            arrived, self._arrived = self._arrived, []
            try:
                await self._route(arrived)
            except asyncio.CancelledError:
                raise
            except Exception:
                log.exception("routing failed; reading the log again")
                self._hosts.clear()
                self._reread = True
                await self._clock.sleep(STEP_S)
                self._wake.set()

    async def _route(self, arrived: list[Hint]) -> None:
        events = [hint for hint in arrived if hint.stream == Stream.EVENTS]
        if self._reread or (events and (self._database.is_shared or not all(map(carries_event, events)))):
            is_after_gap, self._reread = self._reread, False
            await self._route_log()
            if is_after_gap:
                await self._look_for_edus()
        else:
            await self._route_payloads(events)
        for hint in arrived:
            if hint.stream != Stream.EVENTS:
                await self._route_hint(hint)

    async def _route_payloads(self, hints: list[Hint]) -> None:
        """The usual case of a single process: the events are in memory, and told of in the order of the log."""
        for hint in hints:
            stored: Committed = hint.payload
            if hint.position > self._routed:
                if stored.is_local and stored.rejected is None:
                    await self._route_event(_outbound(stored, hint.position))
                for server_name in stored.told_too:
                    self._read_from(server_name, hint.position)
                self._routed = hint.position

    async def _route_log(self) -> None:
        while True:
            async with self._database.read(snapshot=True) as tx:
                upto = await log_position(tx)
                events = await storage.events_after(tx, self._routed, upto, ROUTED_AT_ONCE)
                last = upto if len(events) < ROUTED_AT_ONCE else events[-1].position
                noted = await storage.servers_noted(tx, self._routed, last)
            if self._database.is_shared:
                # The log may be ahead of the news that somebody joined.
                self._hosts.clear()
            for event in events:
                await self._route_event(event)
                self._routed = event.position
            for server_name, position in noted:
                self._read_from(server_name, position)
            if len(events) < ROUTED_AT_ONCE:
                self._routed = max(self._routed, upto)
                return

    async def _route_event(self, event: OutboundEvent) -> None:
        """Puts the event into the outboxes of the servers that were in its room, and of the one whose user it is
        about."""
        waiting = WaitingEvent(event.position, event.nid, event.event_id, event.body)
        hosts = await self._hosts.of(event.room_nid)
        # A join or leave that another server had this one send comes from there.
        sender_server = event.sender.partition(":")[2]
        for server_name, since in hosts.items():
            if since < event.position and server_name not in (sender_server, self._server_name):
                self._add_event(server_name, waiting)
        target = _server_told_of(event)
        if target is not None and target not in (*hosts, sender_server, self._server_name):
            # Its row in `destination_events` was written with the event.
            self._add_event(target, WaitingEvent(event.position, event.nid, event.event_id, event.body, is_noted=True))

    def _read_from(self, server_name: str, position: int) -> None:
        """What the database has for the server at and after a position, memory may not."""
        outbox = self._outbox(server_name)
        earlier = position - 1
        outbox.sent_position = min(outbox.sent_position, earlier) if outbox.is_behind else earlier
        outbox.give_up_memory()
        self._kick(outbox)

    def _add_event(self, server_name: str, event: WaitingEvent) -> None:
        outbox = self._outbox(server_name)
        if not outbox.is_behind and event.position > outbox.sent_position:
            outbox.sent_position = event.position - 1
        if event.position > outbox.sent_position:
            outbox.add_event(event)
        self._kick(outbox)

    # --- EDUs

    async def _look_for_edus(self) -> None:
        """No word may have come of EDUs that wait."""
        async with self._database.read() as tx:
            waiting = await storage.servers_with_edus(tx)
        self._send_edus(waiting)

    def _send_edus(self, server_names: Iterable[str]) -> None:
        for server_name in server_names:
            outbox = self._outbox(server_name)
            outbox.has_edus = True
            self._kick(outbox)

    async def _route_hint(self, hint: Hint) -> None:
        if hint.stream == Stream.FEDERATION_EDUS:
            self._send_edus(hint.keys)
        elif hint.stream == Stream.FEDERATION_CONTACT:
            for server_name in hint.keys:
                self._reachability.succeeded(server_name)
                if server_name in self._outboxes:
                    self._kick(self._outboxes[server_name])
        elif (passing := await self._passing.of(hint)) is not None:
            self._pass_on(passing)

    def _pass_on(self, passing: PassingEdu) -> None:
        """Sends what is worth something now only: not to servers that cannot be reached."""
        others = [name for name in passing.servers if name != self._server_name and self._reachability.may_try(name)]
        if others:
            body = edu(passing.edu_type, encode_lenient(passing.content))
            for server_name in others:
                outbox = self._outbox(server_name)
                outbox.add_passing(passing.key, body)
                self._kick(outbox)

    # --- from an outbox to its server

    def _outbox(self, server_name: str) -> Outbox:
        outbox = self._outboxes.get(server_name)
        if outbox is None:
            outbox = self._outboxes[server_name] = Outbox(server_name, 0)
        return outbox

    def _kick(self, outbox: Outbox) -> None:
        """Starts sending, unless that is under way, or the server is being left alone."""
        if outbox.is_sending or not self.is_active:
            return
        if outbox.is_empty:
            self._forget(outbox)
        elif self._reachability.may_try(outbox.server_name):
            self._delivery.enqueue(outbox)

    def _forget(self, outbox: Outbox) -> None:
        if self._outboxes.get(outbox.server_name) is outbox:
            del self._outboxes[outbox.server_name]


_ROUTED: Final = frozenset(
    {
        Stream.EVENTS,
        Stream.FEDERATION_EDUS,
        Stream.FEDERATION_CONTACT,
        Stream.TYPING,
        Stream.RECEIPTS,
        Stream.PRESENCE,
    }
)


def _outbound(stored: Committed, position: int) -> OutboundEvent:
    event = stored.event
    return OutboundEvent(
        position,
        stored.nid,
        event.event_id,
        stored.room_nid,
        event.type,
        event.state_key,
        event.sender,
        event.encoded(),
    )


def _server_told_of(event: OutboundEvent) -> str | None:
    """The server of the user whom a membership change is about: it must hear of kicks and bans of its last user.

    Invites go by an endpoint of their own.
    """
    if event.type != "m.room.member" or event.state_key is None or event.state_key == event.sender:
        return None
    if decode(event.body).get("content", {}).get("membership") not in ("leave", "ban"):
        return None
    return event.state_key.partition(":")[2] or None


