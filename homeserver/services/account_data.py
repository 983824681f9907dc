"""Account data, tags and filters: what users keep on the server for themselves.

https://spec.matrix.org/v1.19/client-server-api/#client-config
"""

import asyncio
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any
from weakref import WeakValueDictionary

import orjson

from homeserver.core.filters import Filter, InvalidFilter
from homeserver.core.invite_permissions import (
    ALL_INVITES,
    CONFIG,
    EXPERIMENT,
    LISTS,
    TYPES,
    InvitePermission,
    InvitePermissions,
)
from homeserver.core.push_rules import default_ruleset
from homeserver.errors import BadJson, InvalidParam, NotFound, TooLarge
from homeserver.runtime.bus import Hint
from homeserver.services.bounded_cache import BoundedCache
from homeserver.services.notifier import Notifier
from storage import account_data as storage
from storage.account_data import AccountDataRow
from storage.database import Database, Write
from storage.streams import Stream

FULLY_READ = "m.fully_read"
PUSH_RULES = "m.push_rules"
IGNORED_USERS = "m.ignored_user_list"
TAGS = "m.tag"
_SERVER_MANAGED = frozenset({FULLY_READ, PUSH_RULES})
_FOR_PUSH = frozenset({PUSH_RULES, IGNORED_USERS})
_MAX_BYTES = 1024 * 1024
_MAX_FILTERS = 200
ACCOUNT = ""
_INVITE_PERMISSIONS = frozenset((ACCOUNT, kind) for kind in TYPES)


@dataclass(slots=True)
class UserData:
    """All account data of a user: (room id or empty, type) → row, the newest change last."""

    rows: OrderedDict[tuple[str, str], AccountDataRow] = field(default_factory=OrderedDict)
    ignored: frozenset[str] = frozenset()
    invites: InvitePermissions = ALL_INVITES
    legacy_mentions: bool = False
    thread_subscriptions: bool = False
    notices_user: str | None = None

    def default_push_rules(self, user_id: str) -> bytes:
        """The content of m.push_rules of the user as long as they never changed them."""
        ruleset = default_ruleset(
            user_id, legacy_mentions=self.legacy_mentions, thread_subscriptions=self.thread_subscriptions
        )
        return orjson.dumps({"global": ruleset})

    def set(self, row: AccountDataRow) -> None:
        """Take over a row that is newer than what is there."""
        key = (row.room_id, row.type)
        self.rows[key] = row
        self.rows.move_to_end(key)
        if key == (ACCOUNT, IGNORED_USERS):
            self.ignored = ignored_users(row.content)
        elif key in _INVITE_PERMISSIONS:
            self.invites = InvitePermissions(self._object(CONFIG) or self._object(EXPERIMENT), self._object(LISTS))

    def shows_invites_by(self, sender: str) -> bool:
        """Whether the user wants to hear of invites by the sender. Who wants none at all still hears of notices."""
        if sender in self.ignored:
            return False
        return sender == self.notices_user or self.invites.of(sender) is InvitePermission.ALLOW

    def _object(self, kind: str) -> dict[str, Any]:
        row = self.rows.get((ACCOUNT, kind))
        content = {} if row is None else orjson.loads(row.content)
        return content if isinstance(content, dict) else {}

    def changed(self, after: int, upto: int) -> list[AccountDataRow]:
        """What changed at positions of (after, upto], the newest first."""
        found: list[AccountDataRow] = []
        for row in reversed(self.rows.values()):
            if row.position <= after:
                break
            # To somebody who begins, what was deleted is not there.
            if row.position <= upto and not (after <= 0 and row.is_deleted):
                found.append(row)
        return found


class AccountData:
    """Reads from memory, where a user's data is loaded at first sight; writes wake the user's requests."""

    def __init__(
        self,
        db: Database,
        notifier: Notifier,
        *,
        legacy_mentions: bool = False,
        thread_subscriptions: bool = False,
        notices_user: str | None = None,
        size: int = 20_000,
    ) -> None:
        self._db = db
        self._notices_user = notices_user
        self.legacy_mentions = legacy_mentions  # which predefined push rules there are
        self.thread_subscriptions = thread_subscriptions
        self._users: BoundedCache[str, UserData] = BoundedCache(size)
        self._locks: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()
        # By user: shared by the readings since the user's last change; what older ones have read is void.
        self._readings: dict[str, object] = {}
        notifier.listeners.append(self._on_hints)
        notifier.on_reset.append(self._on_reset)

    def cached(self, user_id: str) -> UserData | None:
        """The user's data if it is in memory."""
        return self._users.get(user_id)

    async def of_user(self, user_id: str) -> UserData:
        """Everything the user keeps."""
        while (data := self._users.get(user_id)) is None:
            await self._load(user_id)
        return data

    async def _load(self, user_id: str) -> None:
        """Read what the user keeps; it stays in memory unless there was a change meanwhile."""
        reading = self._readings.setdefault(user_id, object())
        try:
            async with self._db.read() as tx:
                rows = await storage.all_of(tx, user_id)
        finally:
            is_current = self._readings.get(user_id) is reading
            if is_current:
                del self._readings[user_id]
        if not is_current:
            return
        data = UserData(
            legacy_mentions=self.legacy_mentions,
            thread_subscriptions=self.thread_subscriptions,
            notices_user=self._notices_user,
        )
        for row in rows:
            data.set(row)
        self._users.put(user_id, data)

    async def get(self, user_id: str, room_id: str, data_type: str) -> dict[str, Any]:
        """One piece of account data; raises NotFound."""
        row = (await self.of_user(user_id)).rows.get((room_id, data_type))
        if row is None or row.is_deleted:
            raise NotFound("No such account data")
        content: dict[str, Any] = orjson.loads(row.content)
        return content

    async def put(self, user_id: str, room_id: str, data_type: str, content: Mapping[str, Any]) -> None:
        """Set a piece of account data that clients may set; raises BadJson for what only the server sets."""
        if data_type in _SERVER_MANAGED:
            raise BadJson(f"{data_type} is set with endpoints of its own")
        body = orjson.dumps(content)
        if len(body) > _MAX_BYTES:
            raise TooLarge("This account data is too large")
        await self.write(user_id, room_id, data_type, body)

    async def write(self, user_id: str, room_id: str, data_type: str, content: bytes) -> None:
        """Set a piece of account data, whatever its type."""

        async def operation(tx: Write) -> None:
            self.append(tx, user_id, room_id, data_type, content)

        await self._db.write(operation)

    def append(self, tx: Write, user_id: str, room_id: str, data_type: str, content: bytes) -> None:
        """Set a piece of account data as part of a write."""
        stream = Stream.PUSH_RULES if data_type in _FOR_PUSH else Stream.ACCOUNT_DATA
        row = AccountDataRow(room_id, data_type, content, 0)
        storage.put(tx, user_id, room_id, data_type, content, tx.position(stream, user_id, payload=row))

    def lock(self, user_id: str) -> asyncio.Lock:
        """Held while something of the user is read, changed and written back."""
        lock = self._locks.get(user_id)
        if lock is None:
            lock = self._locks[user_id] = asyncio.Lock()
        return lock

    # --- tags

    async def tags(self, user_id: str, room_id: str) -> dict[str, Any]:
        """The room's tags, by name."""
        row = (await self.of_user(user_id)).rows.get((room_id, TAGS))
        tags = {} if row is None else orjson.loads(row.content).get("tags")
        return dict(tags) if isinstance(tags, dict) else {}

    async def put_tag(self, user_id: str, room_id: str, tag: str, content: Mapping[str, Any]) -> None:
        """Tag the room, or change how; raises InvalidParam for a name that is too long."""
        if len(tag.encode()) > 255:
            raise InvalidParam("A tag's name has at most 255 bytes")
        async with self.lock(user_id):
            tags = await self.tags(user_id, room_id)
            tags[tag] = dict(content)
            await self.write(user_id, room_id, TAGS, orjson.dumps({"tags": tags}))

    async def delete_tag(self, user_id: str, room_id: str, tag: str) -> None:
        """Take a tag off the room; fine if it is not there."""
        async with self.lock(user_id):
            tags = await self.tags(user_id, room_id)
            if tags.pop(tag, None) is not None:
                await self.write(user_id, room_id, TAGS, orjson.dumps({"tags": tags}))

    # ---

    def _on_hints(self, hints: Sequence[Hint]) -> None:
        for hint in hints:
            if hint.stream not in (Stream.ACCOUNT_DATA, Stream.PUSH_RULES) or not hint.keys:
                continue
            user_id = hint.keys[0]
            self._readings.pop(user_id, None)
            data = self._users.get(user_id)
            if data is None:
                continue
            if isinstance(hint.payload, AccountDataRow):
                row = hint.payload
                data.set(AccountDataRow(row.room_id, row.type, row.content, hint.position))
            else:
                self._users.drop(user_id)

    def _on_reset(self) -> None:
        self._users.clear()
        self._readings.clear()


def ignored_users(content: bytes) -> frozenset[str]:
    """Whom an m.ignored_user_list names."""
    parsed = orjson.loads(content)
    users = parsed.get("ignored_users") if isinstance(parsed, dict) else None
    return frozenset(users) if isinstance(users, dict) else frozenset()


class Filters:
    """Stored filters; the same definition gets the same id."""

    def __init__(self, db: Database, *, size: int = 2_000) -> None:
        self._db = db
        self._compiled: BoundedCache[tuple[str, str], Filter] = BoundedCache(size)
        self._inline: BoundedCache[str, Filter] = BoundedCache(size)

    async def create(self, user_id: str, definition: Mapping[str, Any]) -> str:
        """Keep a filter and return its id. Raises BadJson where it is no filter."""
        compiled = _parse(definition)
        async with self._db.read() as tx:
            existing = await storage.filter_id_of(tx, user_id, compiled.source)
            count = await storage.count_filters(tx, user_id)
        if existing is not None:
            return existing
        if count >= _MAX_FILTERS:
            raise InvalidParam(f"A user has at most {_MAX_FILTERS} filters")

        async def operation(tx: Write) -> str:
            filter_id = str(self._db.new_id("filter"))
            storage.put_filter(tx, user_id, filter_id, compiled.source)
            return filter_id

        filter_id = await self._db.write(operation)
        self._compiled.put((user_id, filter_id), compiled)
        return filter_id

    async def definition(self, user_id: str, filter_id: str) -> bytes:
        """A stored filter as JSON text; raises NotFound."""
        async with self._db.read() as tx:
            source = await storage.filter_of(tx, user_id, filter_id)
        if source is None:
            raise NotFound("No such filter")
        return source

    async def of_request(self, user_id: str, parameter: str | None) -> Filter:
        """The filter that a `filter` parameter means: JSON where it begins with a brace, else an id."""
        if parameter is None or parameter == "":
            return Filter.ALL
        if parameter.startswith("{"):
            found = self._inline.get(parameter)
            if found is None:
                found = _parse(_json_object(parameter))
                self._inline.put(parameter, found)
            return found
        found = self._compiled.get((user_id, parameter))
        if found is None:
            try:
                found = _parse(orjson.loads(await self.definition(user_id, parameter)))
            except NotFound:
                raise InvalidParam("No such filter") from None
            self._compiled.put((user_id, parameter), found)
        return found


def _json_object(text: str) -> Mapping[str, Any]:
    try:
        value = orjson.loads(text)
    except orjson.JSONDecodeError:
        raise BadJson("The filter is not JSON") from None
    if not isinstance(value, dict):
        raise BadJson("The filter is not an object")
    return value


def _parse(definition: Mapping[str, Any]) -> Filter:
    try:
        return Filter.parse(definition)
    except InvalidFilter as error:
        raise BadJson(f"Not a filter: {error}") from None
