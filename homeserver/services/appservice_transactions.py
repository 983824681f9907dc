"""What one transaction to an application service holds: events, what passes, messages to devices, news of keys.

https://spec.matrix.org/v1.19/application-service-api/#pushing-events; the parts about devices are of the proposals 4203
and 3202, whose names they bear.
"""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, field
from typing import Any, Final

import orjson

from homeserver.core.events import MEMBER
from homeserver.services.appservice_interest import Interest
from homeserver.services.appservice_news import News
from homeserver.services.appservices import Appservice
from homeserver.services.client_events import serialise
from homeserver.services.events import Events, StoredEvent
from homeserver.services.one_time_key_counts import OneTimeKeyCounts
from homeserver.services.presence import OFFLINE, Presence
from homeserver.services.receipts import READ, READ_PRIVATE, render
from homeserver.services.room_heads import RoomHeads
from homeserver.services.typing import Typing
from storage import appservice_queues, device_lists, receipts, to_device
from storage.appservice_queues import QueueRow
from storage.database import Database, Write
from storage.to_device import DeviceMessage

MAX_EVENTS: Final = 100
MAX_MESSAGES: Final = 200
_ALL: Final = 1_000_000


@dataclass(slots=True)
class Transaction:
    """`parts` are the names and JSON values of the body. `upto` is the place in the log that it brings the application
    service to; `messages` are those to devices that arrive with it."""

    upto: int
    events: Sequence[StoredEvent] = ()
    messages: Sequence[DeviceMessage] = ()
    parts: dict[str, bytes] = field(default_factory=dict)

    @property
    def is_empty(self) -> bool:
        return not self.events and not self.parts

    def inside(self) -> bytes:
        """The body without its braces."""
        events = b'"events":[' + b",".join(serialise(stored) for stored in self.events) + b"]"
        return b",".join([events, *(b'"%b":%b' % (name.encode(), value) for name, value in self.parts.items())])


class Transactions:
    """Gathers them, from the log and from what was noted."""

    def __init__(
        self,
        database: Database,
        events: Events,
        heads: RoomHeads,
        typing: Typing,
        presence: Presence,
        counts: OneTimeKeyCounts,
    ) -> None:
        self._database = database
        self._events = events
        self._heads = heads
        self._typing = typing
        self._presence = presence
        self._counts = counts

    def interest(self, appservice: Appservice) -> Interest:
        """What tells which events concern it."""
        return Interest(appservice, self._database, self._events)

    async def repeated(self, row: QueueRow, interest: Interest) -> Transaction:
        """The events of the transaction that was tried before: those alone, since nothing may be added to it."""
        assert row.pending_position is not None
        return await self._with_events(row.sent_position, row.pending_position, interest)

    async def next(
        self, appservice: Appservice, row: QueueRow, upto: int, interest: Interest, news: News
    ) -> tuple[Transaction, News]:
        """The transaction after `row`, at most to `upto`; and what it has no room for."""
        transaction = await self._with_events(row.sent_position, upto, interest)
        left = News()
        if news.is_whole:
            await self._complete(appservice, row, upto, news)
        if appservice.wants_ephemeral:
            passing = await self._passing(appservice, interest, news)
            if passing:
                body = b"[" + b",".join(passing) + b"]"
                if appservice.receives_ephemeral:
                    transaction.parts["ephemeral"] = body
                if appservice.receives_unstable_ephemeral:
                    transaction.parts["de.sorunome.msc2409.ephemeral"] = body
        await self._add_messages(transaction, news, left)
        if appservice.receives_device_news:
            await self._add_device_lists(appservice, interest, transaction, news)
            await self._add_counts(transaction, news)
        return transaction, left

    async def arrived(self, appservice: Appservice, messages: Sequence[DeviceMessage]) -> None:
        """Messages to devices are delivered once: they are forgotten where nobody else comes for them."""
        if not messages or not appservice.receives_device_news:
            return
        last = {(message.user_id, message.device_id): message for message in messages}

        async def operation(tx: Write) -> None:
            for message in last.values():
                await to_device.delete_delivered(tx, message)

        await self._database.write(operation)

    # --- the parts

    async def _with_events(self, after: int, upto: int, interest: Interest) -> Transaction:
        interest.after = after
        async with self._database.read() as tx:
            found = await appservice_queues.events_after(tx, after, upto, MAX_EVENTS)
        if len(found) == MAX_EVENTS:
            upto = found[-1][0]
        stored = await self._events.get_many_by_nid([nid for _, nid in found])
        events = [stored[nid] for _, nid in found if nid in stored and await interest.covers(stored[nid])]
        return Transaction(upto, events)

    async def _complete(self, appservice: Appservice, row: QueueRow, upto: int, news: News) -> None:
        """Find what hints would have said of the log after the queue's place; and who is there, by now."""
        own = appservice.id, appservice.sender
        async with self._database.read() as tx:
            if appservice.wants_ephemeral:
                news.receipts |= await appservice_queues.receipts_after(tx, *own, row.sent_position)
                news.presence |= await appservice_queues.people_near(tx, *own, self._presence.present())
            if appservice.receives_device_news:
                changes = await device_lists.changes_between(tx, row.sent_position, upto)
                news.device_lists.update(user_id for _, user_id in changes)
                news.counts.update(await appservice_queues.devices_with_keys(tx, *own))
                # What arrived was forgotten, so what is there did not.
                news.to_device |= await appservice_queues.messages_after(tx, *own, 0)
            elif appservice.wants_ephemeral:
                news.to_device |= await appservice_queues.messages_after(tx, *own, row.sent_position)

    async def _passing(self, appservice: Appservice, interest: Interest, news: News) -> list[bytes]:
        found = [
            _in_room(self._typing.event(room_id), room_id)
            for room_id in sorted(news.typing)
            if await interest.covers_room(room_id)
        ]
        for user_id in sorted(news.presence):
            if await interest.covers_user(user_id):
                state = await self._presence.get(user_id)
                if state.state != OFFLINE or state.stamp:
                    found.append(self._presence.event(state))
        for room_id, first in news.receipts.items():
            if await interest.covers_room(room_id):
                event = await self._receipts(appservice, room_id, first - 1)
                found += [] if event is None else [_in_room(event, room_id)]
        return found

    async def _receipts(self, appservice: Appservice, room_id: str, after: int) -> bytes | None:
        head = await self._heads.get(room_id)
        if head is None:
            return None
        async with self._database.read() as tx:
            changed = await receipts.changed_in(tx, head.room_nid, after)
        own = [r for r in changed if r.receipt_type == READ_PRIVATE and appservice.may_act_as(r.user_id)]
        return render([*(r for r in changed if r.receipt_type == READ), *own])

    async def _add_messages(self, transaction: Transaction, news: News, left: News) -> None:
        if not news.to_device:
            return
        async with self._database.read() as tx:
            found = await to_device.of_users(tx, news.to_device, MAX_MESSAGES + 1)
            if len(found) > MAX_MESSAGES and found[0].position == found[-1].position:
                # Sent in one go: what has one place in the log is not taken apart.
                found = await to_device.of_users(tx, news.to_device, _ALL)
        if len(found) > MAX_MESSAGES:
            cut = max(found[MAX_MESSAGES].position, found[0].position + 1)
            left.to_device = {user_id: max(first, cut) for user_id, first in news.to_device.items()}
            found = [message for message in found if message.position < cut]
        if found:
            transaction.messages = found
            transaction.parts["de.sorunome.msc2409.to_device"] = b"[" + b",".join(map(_message, found)) + b"]"

    async def _add_device_lists(
        self, appservice: Appservice, interest: Interest, transaction: Transaction, news: News
    ) -> None:
        changed = {user_id for user_id in news.device_lists if await interest.covers_user(user_id)}
        gone = set[str]()
        for stored in transaction.events:
            event = stored.event
            if event.type == MEMBER and event.state_key is not None and not appservice.may_act_as(event.state_key):
                (changed if event.membership == "join" else gone).add(event.state_key)
        gone = {user_id for user_id in gone if not await interest.covers_user(user_id)}
        if changed or gone:
            lists = {"changed": sorted(changed - gone), "left": sorted(gone)}
            transaction.parts["org.matrix.msc3202.device_lists"] = orjson.dumps(lists)

    async def _add_counts(self, transaction: Transaction, news: News) -> None:
        devices = news.counts | {(message.user_id, message.device_id) for message in transaction.messages}
        if devices:
            counts, unused = await self._counted(devices)
            # The second name is that of the proposal's first draft.
            transaction.parts["org.matrix.msc3202.device_one_time_keys_count"] = counts
            transaction.parts["org.matrix.msc3202.device_one_time_key_counts"] = counts
            transaction.parts["org.matrix.msc3202.device_unused_fallback_key_types"] = unused

    async def _counted(self, devices: Collection[tuple[str, str]]) -> tuple[bytes, bytes]:
        counts: dict[str, dict[str, Any]] = {}
        unused: dict[str, dict[str, Any]] = {}
        for user_id, device_id in sorted(devices):
            counts.setdefault(user_id, {})[device_id] = await self._counts.counts(user_id, device_id)
            unused.setdefault(user_id, {})[device_id] = await self._counts.unused_fallback(user_id, device_id)
        return orjson.dumps(counts), orjson.dumps(unused)


def _in_room(event: bytes, room_id: str) -> bytes:
    return event[:-1] + b',"room_id":' + orjson.dumps(room_id) + b"}"


def _message(message: DeviceMessage) -> bytes:
    names = orjson.dumps({"to_user_id": message.user_id, "to_device_id": message.device_id})
    return message.message[:-1] + b"," + names[1:]
