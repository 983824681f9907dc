"""Rooms as readers go through them: newest events, pages of history, what changed since, who is in which room."""

from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from sqlalchemy import and_, func, or_, select, tuple_

from homeserver.core.tokens import PaginationToken
from storage.database import Read
from storage.tables import (
    current_state,
    events,
    invited_rooms_state,
    memberships,
    receipts,
    rooms,
    state_changes,
)

# What clients are shown: events that are part of the room's history here.
_SHOWN = and_(events.c.rejected.is_(None), events.c.soft_failed.is_(False), events.c.outlier.is_(False))


@dataclass(frozen=True, slots=True)
class Place:
    """Where an event stands in its room."""

    event_id: str
    depth: int
    position: int


@dataclass(frozen=True, slots=True)
class StateChange:
    """The current state of a room changed at `position`: event ids, None where there is (was) no event."""

    position: int
    type: str
    state_key: str
    event_id: str | None
    previous_id: str | None


@dataclass(frozen=True, slots=True)
class UserRoom:
    """A user's membership in one room, and where in the log it came to be what it is."""

    room_id: str
    room_nid: int
    membership: str
    position: int
    sender: str
    forgotten: bool


@dataclass(frozen=True, slots=True)
class MemberEvent:
    """The current member event of a user in a room changed at `position`."""

    room_nid: int
    position: int
    event_id: str | None
    previous_id: str | None


async def newest_events(
    tx: Read, room_nids: Iterable[int], limit: int, upto: int, end: int | None = None
) -> dict[int, list[Place]]:
    """The newest `limit` events of each room up to `upto`, and all that follow up to `end`, the oldest first: one
    statement for 500 rooms."""
    nids = list(room_nids)
    found: dict[int, list[Place]] = {nid: [] for nid in nids}
    older = events.alias()
    cutoff = (
        select(older.c.position)
        .where(
            older.c.room_nid == rooms.c.room_nid,
            older.c.position > 0,
            older.c.position <= upto,
            older.c.rejected.is_(None),
            older.c.soft_failed.is_(False),
            older.c.outlier.is_(False),
        )
        .order_by(older.c.position.desc())
        .limit(1)
        .offset(limit)
        .scalar_subquery()
    )
    for part in _parts(nids):
        statement = (
            select(events.c.room_nid, events.c.event_id, events.c.depth, events.c.position)
            .select_from(rooms.join(events, events.c.room_nid == rooms.c.room_nid))
            .where(
                rooms.c.room_nid.in_(part),
                events.c.position > func.coalesce(cutoff, 0),
                events.c.position <= (upto if end is None else end),
                _SHOWN,
            )
            .order_by(events.c.room_nid, events.c.position)
        )
        for nid, *place in await tx.fetch_all(statement):
            found[nid].append(Place(*place))
    return found


async def changes_of_state(tx: Read, after: dict[int, int], upto: int) -> dict[int, list[StateChange]]:
    """How the state of rooms changed: `after` says for each room_nid after which position. The oldest change first."""
    found: dict[int, list[StateChange]] = {nid: [] for nid in after}
    now, before = events.alias(), events.alias()
    source = state_changes.outerjoin(now, now.c.event_nid == state_changes.c.event_nid).outerjoin(
        before, before.c.event_nid == state_changes.c.previous_event_nid
    )
    change = state_changes.c
    for part in _parts(list(after), 100):
        statement = (
            select(
                change.room_nid,
                change.position,
                change.type,
                change.state_key,
                now.c.event_id,
                before.c.event_id.label("previous_id"),
            )
            .select_from(source)
            .where(
                or_(*(and_(change.room_nid == nid, change.position > after[nid]) for nid in part)),
                change.position <= upto,
            )
            .order_by(change.position)
        )
        for nid, *columns in await tx.fetch_all(statement):
            found[nid].append(StateChange(*columns))
    return found


async def page(
    tx: Read,
    room_nid: int,
    start: PaginationToken,
    *,
    backwards: bool,
    limit: int,
    stop: PaginationToken | None = None,
    upto: int | None = None,
    types: Collection[str] | None = None,
    senders: Collection[str] | None = None,
) -> list[Place]:
    """Up to `limit` events on one side of a gap in the timeline, the nearest first; `stop` is the gap not to cross,
    and `upto` the last position of what may be shown.

    `types` and `senders` narrow it down where the filter names them exactly.
    """
    table = events.c
    place = tuple_(table.depth, table.position)
    conditions = [table.room_nid == room_nid, table.position.is_not(None), _SHOWN]
    here, there = tuple_(start.depth, start.position), None if stop is None else tuple_(stop.depth, stop.position)
    if backwards:
        conditions.append(place < here)
        if there is not None:
            conditions.append(place >= there)
    else:
        conditions.append(place >= here)
        if there is not None:
            conditions.append(place < there)
    if upto is not None:
        conditions.append(table.position <= upto)
    if types is not None:
        conditions.append(table.type.in_(list(types)))
    if senders is not None:
        conditions.append(table.sender.in_(list(senders)))
    statement = select(table.event_id, table.depth, table.position).where(*conditions)
    order = (table.depth.desc(), table.position.desc()) if backwards else (table.depth, table.position)
    return [Place(*row) for row in await tx.fetch_all(statement.order_by(*order).limit(limit))]


async def place_at(tx: Read, room_nid: int, position: int) -> Place | None:
    """The room's newest event that is not after a place in the log."""
    table = events.c
    statement = (
        select(table.event_id, table.depth, table.position)
        .where(table.room_nid == room_nid, table.position <= position, _SHOWN)
        .order_by(table.position.desc())
        .limit(1)
    )
    row = await tx.fetch_one(statement)
    return None if row is None else Place(*row)


async def last_place(tx: Read, room_nid: int, upto: int | None = None) -> Place | None:
    """The last event of the room's timeline, of those up to a place in the log."""
    table = events.c
    received = table.position.is_not(None) if upto is None else table.position <= upto
    statement = (
        select(table.event_id, table.depth, table.position)
        .where(table.room_nid == room_nid, received, _SHOWN)
        .order_by(table.depth.desc(), table.position.desc())
        .limit(1)
    )
    row = await tx.fetch_one(statement)
    return None if row is None else Place(*row)


async def events_between(tx: Read, after: int, upto: int) -> list[tuple[int, str, str]]:
    """(position, room id, event id) of every event of that part of the log."""
    statement = (
        select(events.c.position, rooms.c.room_id, events.c.event_id)
        .join(rooms, rooms.c.room_nid == events.c.room_nid)
        .where(events.c.position > after, events.c.position <= upto)
        .order_by(events.c.position)
    )
    return [(position, room_id, event_id) for position, room_id, event_id in await tx.fetch_all(statement)]


async def changes_between(tx: Read, after: int, upto: int) -> dict[int, list[StateChange]]:
    """The changes of all rooms' state in that part of the log, by position."""
    now, before = events.alias(), events.alias()
    change = state_changes.c
    statement = (
        select(change.position, change.type, change.state_key, now.c.event_id, before.c.event_id.label("previous_id"))
        .outerjoin(now, now.c.event_nid == change.event_nid)
        .outerjoin(before, before.c.event_nid == change.previous_event_nid)
        .where(change.position > after, change.position <= upto)
    )
    found: dict[int, list[StateChange]] = {}
    for row in await tx.fetch_all(statement):
        found.setdefault(row.position, []).append(StateChange(*row))
    return found


async def current_states(tx: Read, room_nids: Iterable[int]) -> dict[int, dict[tuple[str, str], str]]:
    """The current state of rooms: room_nid → (type, state key) → event id."""
    nids = list(room_nids)
    found: dict[int, dict[tuple[str, str], str]] = {nid: {} for nid in nids}
    state = current_state.c
    for part in _parts(nids):
        statement = (
            select(state.room_nid, state.type, state.state_key, events.c.event_id)
            .join(events, events.c.event_nid == state.event_nid)
            .where(state.room_nid.in_(part))
        )
        for nid, event_type, state_key, event_id in await tx.fetch_all(statement):
            found[nid][event_type, state_key] = event_id
    return found


async def members_of_rooms(tx: Read, room_nids: Iterable[int]) -> dict[int, tuple[set[str], set[str]]]:
    """Who is joined to rooms and who is invited: room_nid → (joined, invited)."""
    nids = list(room_nids)
    found: dict[int, tuple[set[str], set[str]]] = {nid: (set(), set()) for nid in nids}
    member = memberships.c
    for part in _parts(nids):
        statement = select(member.room_nid, member.user_id, member.membership).where(
            member.room_nid.in_(part), member.membership.in_(("join", "invite"))
        )
        for nid, user_id, membership in await tx.fetch_all(statement):
            found[nid][membership == "invite"].add(user_id)
    return found


async def rooms_of_user(tx: Read, user_id: str) -> list[UserRoom]:
    """Every room that the user is or was in, is invited to, or knocks at."""
    member = memberships.c
    statement = (
        select(
            rooms.c.room_id,
            member.room_nid,
            member.membership,
            member.position,
            member.sender,
            member.forgotten,
        )
        .join(rooms, rooms.c.room_nid == member.room_nid)
        .where(member.user_id == user_id)
        .order_by(member.position)
    )
    return [UserRoom(*row) for row in await tx.fetch_all(statement)]


async def member_events_of(tx: Read, user_id: str, room_nids: Iterable[int], after: int) -> list[MemberEvent]:
    """How the user's member event changed in these rooms after a position, the oldest first."""
    found: list[MemberEvent] = []
    now, before = events.alias(), events.alias()
    change = state_changes.c
    for part in _parts(list(room_nids)):
        statement = (
            select(change.room_nid, change.position, now.c.event_id, before.c.event_id.label("previous_id"))
            .outerjoin(now, now.c.event_nid == change.event_nid)
            .outerjoin(before, before.c.event_nid == change.previous_event_nid)
            .where(
                change.room_nid.in_(part),
                change.position > after,
                change.type == "m.room.member",
                change.state_key == user_id,
            )
            .order_by(change.position)
        )
        found.extend(MemberEvent(*row) for row in await tx.fetch_all(statement))
    return found


async def rooms_with_news(tx: Read, room_nids: Iterable[int], after: int) -> set[int]:
    """Those of the rooms that have an event or a receipt after the position."""
    found: set[int] = set()
    for part in _parts(list(room_nids)):
        for table in (events, receipts):
            statement = select(table.c.room_nid).where(table.c.room_nid.in_(part), table.c.position > after).distinct()
            found.update(nid for (nid,) in await tx.fetch_all(statement))
    return found


async def stripped_states(tx: Read, user_id: str) -> dict[str, bytes]:
    """The stripped state that came with invites and knocks of the user: room id → JSON list."""
    table = invited_rooms_state.c
    statement = select(table.room_id, table.stripped_state).where(table.user_id == user_id)
    return {room_id: state for room_id, state in await tx.fetch_all(statement)}


def _parts(nids: list[int], size: int = 500) -> Iterator[list[int]]:
    for start in range(0, len(nids), size):
        yield nids[start : start + size]
