"""What to send of a room: decided from memory, as event ids; no I/O and no bytes."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from homeserver.core.events import MEMBER, StateKey
from homeserver.core.filters import EventFilter
from homeserver.services.sliding_sync.connections import SentRoom
from homeserver.services.sliding_sync.required_state import StateIndex, is_lazy, select, wants
from homeserver.services.sliding_sync.room_facts import BUMP_TYPES, RoomFactsOfAll
from homeserver.services.sliding_sync.room_task import RoomTask
from homeserver.services.sync.room_log import RoomLog
from homeserver.services.sync.room_view import RoomNow, Span, StateView, TimelineView, view_timeline
from homeserver.services.sync.summary import heroes_of
from storage.timeline import StateChange

NAME: StateKey = ("m.room.name", "")
AVATAR: StateKey = ("m.room.avatar", "")
# The whole of a room's timeline was sent.
WHOLE = 1_000_000
_MOST_MEMBERS = 500


@dataclass(slots=True)
class Draft:
    """`state`: what to send, None for what is gone. `shown`: events whose content the answer tells in other words
    (name, avatar, heroes), by what they are; `told` says which of those go out. `after`: what the client has of the
    room with this answer."""

    task: RoomTask
    after: SentRoom
    timeline: TimelineView
    memberships: Mapping[str, str]
    state: dict[StateKey, str | None]
    shown: dict[str, str | None] = field(default_factory=dict)
    told: set[str] = field(default_factory=set)
    heroes: Sequence[tuple[str, str]] | None = None
    counts: tuple[int, int] | None = None
    bump_stamp: int | None = None
    # What relates to events of the timeline, as `Aggregations` tells it.
    relations: Mapping[str, bytes] = field(default_factory=dict)

    def event_ids(self) -> Iterable[str]:
        """The events that have to be gathered to write it."""
        yield from (event_id for event_id in self.state.values() if event_id is not None)
        yield from (event_id for event_id in self.shown.values() if event_id is not None)
        yield from (event_id for _, event_id in self.heroes or ())


class Drafting:
    """Drafts rooms that the user is or was in."""

    def __init__(self, facts: RoomFactsOfAll) -> None:
        self._facts = facts

    def draft(
        self,
        user_id: str,
        task: RoomTask,
        log: RoomLog,
        now: RoomNow,
        memberships: Mapping[str, str],
        hidden: frozenset[str],
        ignored: frozenset[str],
    ) -> Draft:
        """`hidden` are events that the user may not see, `ignored` users whose events they do not want to."""
        is_new = task.sent is None
        span = Span(task.since, task.upto, is_full=is_new, is_new=is_new or task.is_expanded)
        timeline = view_timeline(log, span, EventFilter(limit=task.config.timeline_limit), hidden, ignored)
        changes = () if is_new else log.changes_between(task.since, task.upto)
        index = self._index(task, log, now)
        draft = Draft(task, _after(task, timeline), timeline, memberships, _state(task, index, changes))
        _add_members(draft, index, changes)
        _add_details(draft, user_id, index, now, changes)
        draft.bump_stamp = self._bump_stamp(task, log)
        return draft

    def _index(self, task: RoomTask, log: RoomLog, now: RoomNow) -> StateIndex:
        later = [change for change in log.changes if change.position > task.upto]
        if later:
            return StateIndex(StateView(now.state, later).whole())
        return self._facts.index(task.room_id, now.state)

    def _bump_stamp(self, task: RoomTask, log: RoomLog) -> int | None:
        if not task.is_joined:
            return task.upto
        if task.sent is not None:
            events = log.between(task.since, task.upto)
            return next((e.position for e in reversed(events) if e.event.type in BUMP_TYPES), None)
        facts = self._facts.get(task.room_id)
        # Of a room that was joined over federation the server may have nothing but the join.
        return log.last_position(task.upto) if facts is None else facts.bump or facts.last


def _after(task: RoomTask, timeline: TimelineView) -> SentRoom:
    limit = task.config.timeline_limit
    if task.sent is None or task.is_expanded:
        limit = limit if timeline.limited else WHOLE
    elif not timeline.limited:
        limit = max(limit, task.sent.timeline_limit)
    members = frozenset[str]() if task.sent is None else task.sent.members
    return SentRoom(task.membership, limit, task.config.required, task.is_dm, 0, members)


def _state(task: RoomTask, index: StateIndex, changes: Sequence[StateChange]) -> dict[StateKey, str | None]:
    required = task.config.required
    if task.sent is None:
        return dict(select(required, index))
    found: dict[StateKey, str | None] = {}
    if task.sent.required != required:
        known = task.sent.required
        found.update((key, now) for key, now in select(required, index).items() if not wants(known, key))
    if task.became_whole:
        found.update((key, now) for key, now in select(required, index).items() if key[0] == MEMBER)
    for change in changes:
        key = (change.type, change.state_key)
        if wants(required, key):
            found[key] = change.event_id
    return found


def _add_members(draft: Draft, index: StateIndex, changes: Sequence[StateChange]) -> None:
    """Lazily loaded members: those of the timeline that the client lacks, and every change where there is no gap."""
    task = draft.task
    if not is_lazy(task.config.required):
        draft.after = _with_members(draft.after, frozenset())
        return
    gap = draft.timeline.limited and not task.is_expanded
    needed: set[str] = set()
    for stored in draft.timeline.events:
        needed.add(stored.event.sender)
        if stored.event.type == MEMBER and stored.event.state_key is not None:
            needed.add(stored.event.state_key)
    known = frozenset[str]() if gap else draft.after.members
    changed: set[str] = set()
    for change in changes if not gap else ():
        if change.type == MEMBER:
            changed.add(change.state_key)
            draft.state[MEMBER, change.state_key] = change.event_id
    for member in needed - known - changed:
        event_id = index.state.get((MEMBER, member))
        if event_id is not None:
            draft.state[MEMBER, member] = event_id
    has = known | needed | changed
    draft.after = _with_members(draft.after, frozenset(needed) if len(has) > _MOST_MEMBERS else has)


def _with_members(sent: SentRoom, members: frozenset[str]) -> SentRoom:
    if sent.members == members:
        return sent
    return SentRoom(sent.membership, sent.timeline_limit, sent.required, sent.is_dm, sent.upto, members)


def _add_details(draft: Draft, user_id: str, index: StateIndex, now: RoomNow, changes: Sequence[StateChange]) -> None:
    changed = {(change.type, change.state_key) for change in changes}
    is_new = draft.task.sent is None
    for what, key in (("name", NAME), ("avatar", AVATAR)):
        if is_new or key in changed:
            draft.shown[what] = index.state.get(key)
            draft.told.add(what)
    if not draft.task.is_joined:
        return
    members_changed = is_new or draft.task.became_whole or any(kind == MEMBER for kind, _ in changed)
    if members_changed:
        draft.counts = (len(now.joined), len(now.invited))
    if members_changed or NAME in changed:
        # Whether the room has a name is only seen when its event is at hand.
        draft.shown["name"] = index.state.get(NAME)
        heroes = ((hero, index.state.get((MEMBER, hero))) for hero in heroes_of(now, user_id))
        draft.heroes = [(hero, event_id) for hero, event_id in heroes if event_id is not None]
