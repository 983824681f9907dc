"""What an event means for the notification counts of the room's local members, worked out as it is written.

The predefined rules are evaluated once. Rows are only written for users for whom something else comes out: who is
mentioned, who has rules of their own, who ignores the sender.
"""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

import orjson

from homeserver.core.events import MEMBER, Event
from homeserver.core.power_levels import PowerLevels
from homeserver.core.push_conditions import Subject
from homeserver.core.push_rules import CompiledRules, DefaultRules, RoomContext, SharedVerdict, Verdict
from homeserver.runtime.bus import Hint
from homeserver.runtime.tasks import Tasks
from homeserver.services.account_data import ACCOUNT, IGNORED_USERS, PUSH_RULES, ignored_users
from homeserver.services.bounded_cache import BoundedCache
from homeserver.services.event_rows import is_storable
from homeserver.services.events import Events, StoredEvent
from homeserver.services.member_names import MemberNames
from homeserver.services.notifier import Notifier
from homeserver.services.push_rules import parse_ruleset
from homeserver.services.room_heads import HeadDraft, RoomHead
from homeserver.services.unread_counts import UnreadCounts
from storage import account_data, thread_subscriptions
from storage import read_marks as storage
from storage.account_data import AccountDataRow
from storage.database import Database, Position, Read, Write
from storage.read_marks import MAIN, PushException
from storage.streams import Stream

_MAX_HOPS = 3
_TYPES = (PUSH_RULES, IGNORED_USERS)
_EVERYBODY = ""


class PushActions:
    """Called by whoever writes events, once for each event that becomes part of a timeline."""

    def __init__(
        self,
        db: Database,
        notifier: Notifier,
        events: Events,
        unread: UnreadCounts,
        tasks: Tasks,
        *,
        server_name: str,
        legacy_mentions: bool = False,
        thread_subscriptions: bool = False,
    ) -> None:
        self._db = db
        self._events = events
        self._unread = unread
        self._tasks = tasks
        self._suffix = ":" + server_name
        self._default = DefaultRules(legacy_mentions=legacy_mentions, thread_subscriptions=thread_subscriptions)
        self._legacy_mentions = legacy_mentions
        self._thread_subscriptions = thread_subscriptions
        self._names = MemberNames(db, notifier, events, server_name=server_name)
        self._own_rules: dict[str, CompiledRules] = {}
        self._ignored_by: dict[str, set[str]] = {}
        self._ignores: dict[str, frozenset[str]] = {}
        self._with_own_rules: BoundedCache[str, frozenset[str]] = BoundedCache(2_000)
        self._reading: asyncio.Task[None] | None = None
        self._to_read: set[str] = set()
        # What this process was told of since the reading began, as (type, user): newer than what is read.
        self._told: set[tuple[str, str]] = set()
        notifier.listeners.append(self._on_hints)
        notifier.on_reset.append(self._on_reset)

    async def load(self) -> None:
        """Read the users with push rules of their own and the lists of ignored users. Once, before serving."""
        await self._read_soon(_EVERYBODY)

    def _read_soon(self, user_id: str) -> asyncio.Task[None]:
        self._to_read.add(user_id)
        if self._reading is None or self._reading.done():
            self._reading = self._tasks.start("push rules are read anew", self._read())
        return self._reading

    async def _read(self) -> None:
        """Read until nothing is left to read: one reading at a time, so that none sets back what a later one found."""
        while self._to_read:
            wanted, self._to_read = self._to_read, set()
            self._told.clear()
            users = None if _EVERYBODY in wanted else wanted
            try:
                async with self._db.read() as tx:
                    found = {kind: await account_data.contents_of_type(tx, kind, users) for kind in _TYPES}
            except Exception:
                self._to_read |= wanted
                raise
            for kind, contents in found.items():
                for user_id, content in contents.items():
                    if (kind, user_id) not in self._told:
                        self._set(kind, user_id, content)

    def _on_reset(self) -> None:
        self._with_own_rules.clear()
        self._read_soon(_EVERYBODY)

    async def on_event(self, tx: Write, draft: HeadDraft, event: Event, position: Position) -> tuple[int, int]:
        """The room's count of notifying events, this one included, and the count of its thread.

        The second number is 0 where the event itself does not notify by default: that is how readers tell. `draft`
        is the head right after the event. Exceptions of single users and the sender's read mark become rows.
        """
        subject = Subject(event, self._context(tx, draft, event))
        thread = self.thread_of(tx, event)
        followed = None
        if thread is not None and self._thread_subscriptions:
            followed = await self._followed(tx, subject, thread)
        shared = self._default.shared_subject(subject)
        notify_seq, thread_seq = draft.notify_seq, 0
        if shared.base.notify:
            notify_seq += 1
            thread_seq = notify_seq if thread is None else draft.thread_seq(thread) + 1
        if event.sender.endswith(self._suffix):
            self._unread.mark_own(tx, event.sender, draft.room_nid, position, thread, notify_seq)
        named = self._named(event)
        if self._names_in_body(event) and subject.body is not None:
            named |= await self._names.named_in(tx, draft, subject.body)
        if shared.base.highlight:
            # That everybody is called (@room, the room's end) is rare enough for a row for each.
            members = {*draft.head.joined, *draft.members_delta}
            named = {user_id: None for user_id in members if user_id.endswith(self._suffix)} | named
        named.pop(event.sender, None)
        for user_id, verdict in self._exceptions(draft, event, subject, shared, named, followed):
            self._except(tx, draft, user_id, verdict, shared.base, thread or MAIN, position)
        return notify_seq, thread_seq

    async def verdicts(self, event: Event, head: RoomHead, user_ids: Iterable[str]) -> dict[str, Verdict]:
        """What an event of the room, as that is now, means for each of these local users."""
        subject = Subject(event, await self._context_now(event, head))
        followed = None
        if self._thread_subscriptions and (thread := self.thread_of(None, event)) is not None:
            async with self._db.read() as tx:
                followed = await self._followed(tx, subject, thread)
        shared = self._default.shared_subject(subject)
        ignoring = self._ignored_by.get(event.sender, _NOBODY)
        found: dict[str, Verdict] = {}
        names: dict[str, str | None] = {}
        if self._names_in_body(event):
            names = (await self._names.of_room(head.room_id, head.room_nid)).display_names
        for user_id in user_ids:
            if user_id in ignoring:
                found[user_id] = _SILENT
            else:
                found[user_id] = self._verdict(user_id, names.get(user_id), subject, shared, followed)
        return found

    def _verdict(
        self, user_id: str, name: str | None, subject: Subject, shared: SharedVerdict, followed: "_Followed | None"
    ) -> Verdict:
        if followed is not None and user_id in followed.users:
            subject, shared = followed.subject, followed.shared
        own = self._own_rules.get(user_id)
        return shared.for_user(user_id, name) if own is None else own.evaluate_subject(subject, name)

    async def _followed(self, tx: Read, subject: Subject, thread: str) -> "_Followed":
        """Who follows the thread, and the event as it is for them; to others it is one of a thread that they do not."""
        users = await thread_subscriptions.subscribers(tx, subject.event.room_id, thread)
        subject.follows = False
        to_followers = Subject(subject.event, subject.context)
        to_followers.follows = True
        return _Followed(
            frozenset(users - {subject.event.sender}), to_followers, self._default.shared_subject(to_followers)
        )

    def has_own_rules(self, user_id: str) -> bool:
        """Whether the user changed anything about the predefined rules."""
        return user_id in self._own_rules

    def thread_of(self, tx: Write | None, event: Event) -> str | None:
        """The root of the thread that the event is in, by its own relation or by what it relates to."""
        relation = event.content.get("m.relates_to")
        for _ in range(_MAX_HOPS):
            if not isinstance(relation, dict):
                return None
            target = relation.get("event_id")
            if not isinstance(target, str) or not is_storable(target):
                return None
            if relation.get("rel_type") == "m.thread":
                return target
            stored = self._events.cached(target, tx)
            if stored is None or stored.event.room_id != event.room_id:
                return None
            if stored.thread_root is not None:
                return stored.thread_root
            relation = stored.event.content.get("m.relates_to")
        return None

    def _context(self, tx: Write, draft: HeadDraft, event: Event) -> RoomContext:
        levels = None
        if self._mentions_room(event):
            power = self._events.cached(draft.state.get(("m.room.power_levels", ""), ""), tx)
            create = self._events.cached(draft.state.get(("m.room.create", ""), ""), tx)
            if create is not None:
                levels = PowerLevels.of(None if power is None else power.event.content, create.event)
        return RoomContext(draft.joined_count, levels, draft.room_version)

    async def _context_now(self, event: Event, head: RoomHead) -> RoomContext:
        levels = None
        if self._mentions_room(event):
            keys = (("m.room.power_levels", ""), ("m.room.create", ""))
            ids = [head.state.get(key, "") for key in keys]
            found = await self._events.get_many(filter(None, ids))
            power, create = (found.get(event_id) for event_id in ids)
            if create is not None:
                levels = PowerLevels.of(None if power is None else power.event.content, create.event)
        return RoomContext(head.joined_count, levels, head.room_version)

    def _exceptions(
        self,
        draft: HeadDraft,
        event: Event,
        subject: Subject,
        shared: SharedVerdict,
        named: Mapping[str, str | None],
        followed: "_Followed | None",
    ) -> Iterable[tuple[str, Verdict]]:
        """The local members for whom something else may come out than the base verdict, with what does."""
        own = self._members_with_own_rules(draft, event)
        ignoring = self._ignored_by.get(event.sender, _NOBODY)
        others = named.keys() if followed is None else named.keys() | followed.users
        for user_id in others - own - ignoring:
            if draft.is_joined(user_id) or draft.is_invited(user_id):
                yield user_id, self._verdict(user_id, named.get(user_id), subject, shared, followed)
        for user_id in own - ignoring:
            if draft.is_joined(user_id):
                yield user_id, self._verdict(user_id, named.get(user_id), subject, shared, followed)
        for user_id in ignoring:
            if draft.is_joined(user_id):
                yield user_id, _SILENT

    def _names_in_body(self, event: Event) -> bool:
        """Whether those are mentioned whose names are in the body."""
        return self._legacy_mentions and "m.mentions" not in event.content and "body" in event.content

    def _mentions_room(self, event: Event) -> bool:
        """Whether it matters if the sender may notify everybody."""
        mentions = event.content.get("m.mentions")
        if isinstance(mentions, dict):
            return mentions.get("room") is True
        return self._names_in_body(event) and "@room" in str(event.content["body"]).lower()

    def _named(self, event: Event) -> dict[str, str | None]:
        """The local users, with their names, whom the predefined rules can treat differently from others."""
        named: set[str] = set()
        mentions = event.content.get("m.mentions")
        users = mentions.get("user_ids") if isinstance(mentions, dict) else None
        if isinstance(users, list):
            named.update(user for user in users if isinstance(user, str) and user.endswith(self._suffix))
        if event.type == MEMBER and event.state_key is not None and event.state_key.endswith(self._suffix):
            named.add(event.state_key)
        named.discard(event.sender)
        return dict.fromkeys(named)

    def _members_with_own_rules(self, draft: HeadDraft, event: Event) -> frozenset[str]:
        if not self._own_rules:
            return _NONE
        members = self._with_own_rules.get(draft.room_id)
        if members is None or event.type == MEMBER or draft.members_delta:
            joined = self._own_rules.keys() & draft.head.joined
            joined.update(user_id for user_id in draft.members_delta if user_id in self._own_rules)
            members = frozenset(joined)
            if event.type != MEMBER and not draft.members_delta:
                self._with_own_rules.put(draft.room_id, members)
            else:
                self._with_own_rules.drop(draft.room_id)
        return members - {event.sender}

    def _except(
        self,
        tx: Write,
        draft: HeadDraft,
        user_id: str,
        verdict: Verdict,
        base: Verdict,
        thread: str,
        position: Position,
    ) -> None:
        delta = verdict.notify - base.notify
        if not delta and not verdict.highlight:
            return
        storage.put_exception(
            tx,
            user_id,
            draft.room_nid,
            position,
            thread_id=thread,
            notify_delta=delta,
            highlight=verdict.highlight,
            actions=orjson.dumps(verdict.actions),
        )
        room_nid = draft.room_nid
        tx.after_commit(
            lambda: self._unread.add_exception(
                user_id, PushException(room_nid, int(position), thread, delta, verdict.highlight)
            )
        )
        if self._db.is_shared:
            tx.position(Stream.CACHES, f"unread:{user_id}")

    def _set(self, kind: str, user_id: str, content: bytes) -> None:
        if kind == PUSH_RULES:
            self._set_rules(user_id, content)
        else:
            self._set_ignored(user_id, content)

    def _set_rules(self, user_id: str, content: bytes) -> None:
        self._own_rules[user_id] = CompiledRules.compile(
            parse_ruleset(
                content,
                user_id,
                legacy_mentions=self._legacy_mentions,
                thread_subscriptions=self._thread_subscriptions,
            ),
            user_id,
        )
        self._with_own_rules.clear()

    def _set_ignored(self, user_id: str, content: bytes) -> None:
        for sender in self._ignores.get(user_id, ()):
            self._ignored_by[sender].discard(user_id)
        self._ignores[user_id] = ignored = ignored_users(content)
        for sender in ignored:
            self._ignored_by.setdefault(sender, set()).add(user_id)

    def _on_hints(self, hints: Sequence[Hint]) -> None:
        for hint in hints:
            if hint.stream == Stream.PUSH_RULES:
                self._on_change(hint.keys[0], hint.payload)
            elif hint.stream == Stream.MEMBERSHIPS:
                # A room that came from another server, whole.
                for key in hint.keys:
                    self._with_own_rules.drop(key)
            elif hint.stream == Stream.EVENTS and _changes_members(hint.payload):
                self._with_own_rules.drop(hint.keys[0])

    def _on_change(self, user_id: str, row: object) -> None:
        if not isinstance(row, AccountDataRow):
            self._read_soon(user_id)
        elif row.room_id == ACCOUNT:
            self._told.add((row.type, user_id))
            self._set(row.type, user_id, row.content)


def _changes_members(stored: object) -> bool:
    return isinstance(stored, StoredEvent) and any(event_type == MEMBER for event_type, _ in stored.changed)


@dataclass(frozen=True, slots=True)
class _Followed:
    """An event of a thread, as it is for those who follow the thread."""

    users: frozenset[str]
    subject: Subject
    shared: SharedVerdict


_SILENT = Verdict(notify=False, highlight=False, sound=None, actions=[])
_NOBODY: set[str] = set()
_NONE: frozenset[str] = frozenset()
