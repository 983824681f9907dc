"""Which events relate to which: threads, edits, references, annotations. Only accepted events that are not redacted."""

from collections.abc import Collection, Iterable
from dataclasses import dataclass

from sqlalchemy import Select, and_, exists, func, literal, or_, select, tuple_

from homeserver.core.tokens import PaginationToken
from storage.database import Read
from storage.events import AGGREGATED, chunks
from storage.tables import event_relations, events

THREAD = "m.thread"
_NARROW = tuple(kind for kind in AGGREGATED if kind != THREAD)


@dataclass(frozen=True, slots=True)
class Child:
    """An event that relates to another."""

    event_id: str
    room_nid: int
    relates_to: str
    rel_type: str
    type: str
    sender: str
    origin_server_ts: int
    depth: int
    position: int


@dataclass(frozen=True, slots=True)
class Replies:
    """What one user said in a thread: how many events, and the last of them."""

    room_nid: int
    root: str
    sender: str
    count: int
    event_id: str
    depth: int
    position: int


_CHILD = (
    event_relations.c.event_id,
    event_relations.c.room_nid,
    event_relations.c.relates_to,
    event_relations.c.rel_type,
    event_relations.c.type,
    event_relations.c.sender,
    event_relations.c.origin_server_ts,
    event_relations.c.depth,
    event_relations.c.position,
)


async def parents_among(tx: Read, event_ids: Iterable[str]) -> set[str]:
    """Those of the events that others relate to in a way that is aggregated."""
    table = event_relations.c
    found: set[str] = set()
    for ids in chunks(event_ids):
        statement = select(table.relates_to).where(table.relates_to.in_(ids), table.rel_type.in_(AGGREGATED)).distinct()
        found.update(row.relates_to for row in await tx.fetch_all(statement))
    return found


async def related_by(
    tx: Read, event_ids: Iterable[str], rel_types: Collection[str] | None, senders: Collection[str] | None
) -> set[str]:
    """Those of the events to which an event of one of these types, of one of these senders, relates; None: of any."""
    table = event_relations.c
    found: set[str] = set()
    for ids in chunks(event_ids):
        statement = select(table.relates_to).where(table.relates_to.in_(ids)).distinct()
        if rel_types is not None:
            statement = statement.where(table.rel_type.in_(rel_types))
        if senders is not None:
            statement = statement.where(table.sender.in_(senders))
        found.update(row.relates_to for row in await tx.fetch_all(statement))
    return found


async def edits_and_references(tx: Read, parents: Iterable[str], *, upto: int | None = None) -> list[Child]:
    """The replacements and references of these events, in the order of the timeline; up to a position of the log."""
    table = event_relations.c
    found: list[Child] = []
    for ids in chunks(parents):
        statement = (
            select(*_CHILD)
            .where(table.relates_to.in_(ids), table.rel_type.in_(_NARROW))
            .order_by(table.depth, table.position)
        )
        if upto is not None:
            statement = statement.where(table.position <= upto)
        found += [Child(*row) for row in await tx.fetch_all(statement)]
    return found


async def replies(tx: Read, roots: Iterable[str], *, upto: int | None = None) -> list[Replies]:
    """The threads of these roots, summed up by sender; up to a position of the log."""
    table = event_relations.c
    by_sender = (table.room_nid, table.relates_to, table.sender)
    found: list[Replies] = []
    for ids in chunks(roots):
        inner = select(
            *by_sender,
            func.count().over(partition_by=by_sender).label("number"),
            table.event_id,
            table.depth,
            table.position,
            func.row_number()
            .over(partition_by=by_sender, order_by=(table.depth.desc(), table.position.desc()))
            .label("place"),
        ).where(table.relates_to.in_(ids), table.rel_type == THREAD)
        if upto is not None:
            inner = inner.where(table.position <= upto)
        ranked = inner.subquery().c
        statement = select(
            ranked.room_nid,
            ranked.relates_to,
            ranked.sender,
            ranked.number,
            ranked.event_id,
            ranked.depth,
            ranked.position,
        ).where(ranked.place == 1)
        found += [Replies(*row) for row in await tx.fetch_all(statement)]
    return found


async def page(
    tx: Read,
    room_nid: int,
    parent: str,
    start: PaginationToken,
    *,
    backwards: bool,
    limit: int,
    stop: PaginationToken | None = None,
    rel_type: str | None = None,
    event_type: str | None = None,
    levels: int = 1,
) -> list[Child]:
    """Up to `limit` events that relate to `parent`, on one side of a gap in the timeline, the nearest first.

    `levels`: 2 to include what relates to those, and so on.
    """
    table = event_relations.c
    place = tuple_(table.depth, table.position)
    here = tuple_(start.depth, start.position)
    conditions = [table.room_nid == room_nid, place < here if backwards else place >= here]
    conditions.append(table.relates_to == parent if levels == 1 else table.relates_to.in_(_family(parent, levels)))
    if stop is not None:
        there = tuple_(stop.depth, stop.position)
        conditions.append(place >= there if backwards else place < there)
    if rel_type is not None:
        conditions.append(table.rel_type == rel_type)
    if event_type is not None:
        conditions.append(table.type == event_type)
    order = (table.depth.desc(), table.position.desc()) if backwards else (table.depth, table.position)
    statement = select(*_CHILD).where(*conditions).order_by(*order).limit(limit)
    return [Child(*row) for row in await tx.fetch_all(statement)]


def _family(parent: str, levels: int) -> Select[tuple[str]]:
    """The event itself and what relates to it, down to the level above the last."""
    family = select(literal(parent).label("event_id"), literal(1).label("level")).cte("family", recursive=True)
    child = event_relations.alias()
    grown = select(child.c.event_id, family.c.level + 1).where(
        child.c.relates_to == family.c.event_id, family.c.level < levels
    )
    return select(family.union_all(grown).c.event_id)


async def threads(
    tx: Read,
    room_nid: int,
    start: PaginationToken | None,
    *,
    limit: int,
    upto: int | None = None,
    ignored: Collection[str] = (),
    participant: str | None = None,
) -> list[Child]:
    """The last event of each thread, the newest thread first, `start` being the gap to begin before.

    Events of `ignored` users do not count, nor those after the position `upto`. `participant`: only threads that this
    user began or wrote in.
    """
    table, newer, own = event_relations.c, event_relations.alias().c, event_relations.alias().c
    later = and_(
        newer.relates_to == table.relates_to,
        newer.rel_type == THREAD,
        newer.room_nid == room_nid,
        tuple_(newer.depth, newer.position) > tuple_(table.depth, table.position),
    )
    conditions = [table.room_nid == room_nid, table.rel_type == THREAD]
    if ignored:
        conditions.append(table.sender.not_in(ignored))
        later = and_(later, newer.sender.not_in(ignored))
    if upto is not None:
        conditions.append(table.position <= upto)
        later = and_(later, newer.position <= upto)
    conditions.append(~exists().where(later))
    if start is not None:
        conditions.append(tuple_(table.depth, table.position) < tuple_(start.depth, start.position))
    if participant is not None:
        wrote = exists().where(own.relates_to == table.relates_to, own.rel_type == THREAD, own.sender == participant)
        began = exists().where(events.c.event_id == table.relates_to, events.c.sender == participant)
        conditions.append(or_(wrote, began))
    statement = select(*_CHILD).where(*conditions).order_by(table.depth.desc(), table.position.desc()).limit(limit)
    return [Child(*row) for row in await tx.fetch_all(statement)]


async def has_annotation(tx: Read, parent: str, event_type: str, sender: str, key: str) -> bool:
    """Whether the user has annotated the event like this already."""
    table = event_relations.c
    statement = select(table.event_nid).where(
        table.relates_to == parent,
        table.rel_type == "m.annotation",
        table.type == event_type,
        table.sender == sender,
        table.annotation_key == key,
    )
    return await tx.fetch_value(statement.limit(1)) is not None
