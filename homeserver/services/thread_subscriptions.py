"""Users follow threads: by their own will, or because a client saw that they are mentioned. Proposals 4306, 4308."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import orjson

from homeserver.core.events import Event
from homeserver.errors import ConflictingUnsubscription, NotFound, NotInThread
from homeserver.services.account_data import AccountData
from homeserver.services.history_access import HistoryAccess
from homeserver.services.notifier import Notifier
from storage import thread_subscriptions as storage
from storage.database import Database, Write
from storage.streams import Stream
from storage.thread_subscriptions import ThreadSubscription


@dataclass(frozen=True, slots=True)
class Changes:
    """`body` is the JSON object of what changed; `before` where more lies between it and what was asked for."""

    body: dict[str, Any]
    before: str | None


class ThreadSubscriptions:
    """Reads and changes them. An unsubscribed thread is remembered: only what comes later subscribes by itself."""

    def __init__(
        self, database: Database, notifier: Notifier, access: HistoryAccess, account_data: AccountData
    ) -> None:
        self._database = database
        self._notifier = notifier
        self._access = access
        self._account_data = account_data

    async def get(self, user_id: str, room_id: str, thread_id: str) -> dict[str, Any]:
        """How the user follows the thread. Raises NotFound where they do not."""
        await self._access.to_event(user_id, room_id, thread_id)
        async with self._database.read() as tx:
            found = await storage.find(tx, user_id, room_id, thread_id)
        if found is None or not found.subscribed:
            raise NotFound("You do not follow the thread")
        return {"automatic": found.automatic}

    async def subscribe(self, user_id: str, room_id: str, thread_id: str, cause: str | None) -> None:
        """Follow a thread; `cause` is the event for which a client does it by itself.

        Raises NotFound, NotInThread, and ConflictingUnsubscription where the user left the thread after that event.
        """
        await self._access.to_event(user_id, room_id, thread_id)
        caused_at = None if cause is None else await self._position(user_id, room_id, thread_id, cause)
        async with self._account_data.lock(user_id):
            async with self._database.read() as tx:
                found = await storage.find(tx, user_id, room_id, thread_id)
            if found is not None and found.subscribed and (cause is not None or not found.automatic):
                return
            if found is not None and not found.subscribed and caused_at is not None and caused_at <= found.position:
                raise ConflictingUnsubscription
            await self._store(user_id, room_id, thread_id, subscribed=True, automatic=cause is not None)

    async def unsubscribe(self, user_id: str, room_id: str, thread_id: str) -> None:
        """Follow a thread no more. Raises NotFound where there is no such thread."""
        await self._access.to_event(user_id, room_id, thread_id)
        async with self._account_data.lock(user_id):
            async with self._database.read() as tx:
                found = await storage.find(tx, user_id, room_id, thread_id)
            if found is not None and found.subscribed:
                await self._store(user_id, room_id, thread_id, subscribed=False, automatic=False)

    async def changes(self, user_id: str, after: int, upto: int | None, limit: int) -> Changes:
        """The newest `limit` changes at positions of (after, upto]; `upto` None: up to now."""
        upto = self._notifier.position if upto is None else upto
        async with self._database.read() as tx:
            found = await storage.changed(tx, user_id, after, upto, limit + 1)
        shown = found[:limit]
        return Changes(_written(shown), str(shown[-1].position - 1) if len(found) > limit else None)

    async def _position(self, user_id: str, room_id: str, thread_id: str, cause: str) -> int:
        try:
            _, stored, _ = await self._access.to_event(user_id, room_id, cause)
        except NotFound:
            raise NotInThread from None
        if cause == thread_id or (stored.thread_root or _thread_named(stored.event)) != thread_id:
            raise NotInThread
        return stored.position or 0

    async def _store(self, user_id: str, room_id: str, thread_id: str, *, subscribed: bool, automatic: bool) -> None:
        async def operation(tx: Write) -> None:
            position = tx.position(Stream.THREAD_SUBSCRIPTIONS, user_id)
            storage.store(
                tx, user_id, room_id, thread_id, subscribed=subscribed, automatic=automatic, position=position
            )

        await self._database.write(operation)


def changes_json(changes: Changes) -> bytes:
    """The object of the sliding sync extension."""
    more = {} if changes.before is None else {"prev_batch": changes.before}
    return orjson.dumps({**changes.body, **more})


def _written(found: Sequence[ThreadSubscription]) -> dict[str, Any]:
    body: dict[str, dict[str, dict[str, Any]]] = {}
    for one in found:
        value: dict[str, Any] = {"automatic": one.automatic} if one.subscribed else {}
        rooms = body.setdefault("subscribed" if one.subscribed else "unsubscribed", {})
        rooms.setdefault(one.room_id, {})[one.thread_id] = {**value, "bump_stamp": one.position}
    return body


def _thread_named(event: Event) -> object:
    """The thread that the event says it belongs to."""
    relation = event.content.get("m.relates_to")
    if not isinstance(relation, Mapping) or relation.get("rel_type") != "m.thread":
        return None
    return relation.get("event_id")
