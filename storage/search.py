"""Full-text search: what is indexed, and what is found. `storage.dialect` knows how the engine does it."""

from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from sqlalchemy import ColumnElement, Row, Select, and_, exists, func, or_, select

from storage.database import Read, Write
from storage.dialect import Engine
from storage.events import chunks
from storage.tables import current_state, events, memberships, rooms, search_documents, stream_position

# Counts and ranked results stop here: nobody pages further.
MOST = 1_000


@dataclass(frozen=True, slots=True)
class SearchQuery:
    """What a user searches for. `terms`: all of them must be there; None stands for all keys, rooms or senders."""

    user_id: str
    terms: Sequence[tuple[str, ...]]
    keys: Collection[str] | None = None
    rooms: Collection[str] | None = None
    not_rooms: Collection[str] = ()
    senders: Collection[str] | None = None
    not_senders: Collection[str] = ()


@dataclass(frozen=True, slots=True)
class Match:
    """An event that was found; `rank` grows with how well it matches, `sent_at` in ms since the epoch."""

    event_nid: int
    rank: float
    sent_at: int


async def by_rank(tx: Read, engine: Engine, query: SearchQuery, offset: int, limit: int) -> list[Match]:
    """The best matches, beginning with the `offset`th."""
    statement, rank = _matches(engine, query)
    order = (rank.desc(), search_documents.c.event_nid.desc())
    statement = statement.order_by(*order).offset(offset).limit(min(limit, max(0, MOST - offset)))
    return [Match(*row) for row in await tx.fetch_all(statement)]


async def by_time(
    tx: Read, engine: Engine, query: SearchQuery, before: tuple[int, int] | None, limit: int
) -> list[Match]:
    """The newest matches, those before (sent_at, event_nid) where that is given."""
    statement, _ = _matches(engine, query)
    table = search_documents.c
    if before is not None:
        sent_at, nid = before
        statement = statement.where(or_(table.sent_at < sent_at, and_(table.sent_at == sent_at, table.event_nid < nid)))
    statement = statement.order_by(table.sent_at.desc(), table.event_nid.desc()).limit(limit)
    return [Match(*row) for row in await tx.fetch_all(statement)]


async def count(tx: Read, engine: Engine, query: SearchQuery) -> int:
    """How many matches there are, at most `MOST`."""
    statement, _ = _matches(engine, query)
    few = statement.with_only_columns(search_documents.c.event_nid).limit(MOST).subquery()
    return int(await tx.fetch_value(select(func.count()).select_from(few)))


def _matches(engine: Engine, query: SearchQuery) -> tuple[Select[*tuple[Any, ...]], ColumnElement[float]]:
    found = engine.full_text(search_documents, "event_nid", query.terms)
    table = search_documents.c
    statement = select(table.event_nid, found.rank, table.sent_at).select_from(found.source)
    statement = statement.where(found.where, table.room_nid.in_(_searched_rooms(query)))
    if query.keys is not None:
        statement = statement.where(table.key.in_(list(query.keys)))
    if query.senders is not None:
        statement = statement.where(table.sender.in_(list(query.senders)))
    if query.not_senders:
        statement = statement.where(table.sender.not_in(list(query.not_senders)))
    return statement, found.rank


def _searched_rooms(query: SearchQuery) -> Select[Any]:
    """The rooms that the user is or was in, those left out where messages are encrypted."""
    member = memberships.c
    is_encrypted = exists().where(
        current_state.c.room_nid == member.room_nid,
        current_state.c.type == "m.room.encryption",
        current_state.c.state_key == "",
    )
    statement = select(member.room_nid).where(
        member.user_id == query.user_id,
        member.membership.in_(("join", "leave", "ban")),
        member.forgotten.is_(False),
        ~is_encrypted,
    )
    if query.rooms is not None:
        named = select(rooms.c.room_nid).where(rooms.c.room_id.in_(list(query.rooms)))
        statement = statement.where(member.room_nid.in_(named))
    if query.not_rooms:
        named = select(rooms.c.room_nid).where(rooms.c.room_id.in_(list(query.not_rooms)))
        statement = statement.where(member.room_nid.not_in(named))
    return statement


# --- keeping the index


async def log_ends(tx: Read) -> tuple[int, int]:
    """The newest position, and the one furthest back before the log's beginning."""
    values = {row.id: row.value for row in await tx.fetch_all(select(stream_position))}
    return values[1], -values[2]


async def events_to_index(
    tx: Read, types: Collection[str], *, after: int | None = None, before: int | None = None, upto: int, limit: int
) -> Sequence[Row[Any]]:
    """(position, event_id, type) of events of these types: of (after, upto] going forwards, of [upto, before) back."""
    table = events.c
    statement = select(table.position, table.event_id, table.type).where(
        table.type.in_(list(types)),
        table.outlier.is_(False),
        table.rejected.is_(None),
        table.soft_failed.is_(False),
    )
    if after is not None:
        statement = statement.where(table.position > after, table.position <= upto).order_by(table.position)
    else:
        statement = statement.where(table.position < before, table.position >= upto).order_by(table.position.desc())
    return await tx.fetch_all(statement.limit(limit))


async def redacted_nids(tx: Read, event_ids: Iterable[str]) -> list[int]:
    """Those of the events that are redacted."""
    found: list[int] = []
    for ids in chunks(event_ids):
        statement = select(events.c.event_nid).where(events.c.event_id.in_(ids), events.c.redacted_by.is_not(None))
        found += [row.event_nid for row in await tx.fetch_all(statement)]
    return found


def put_document(
    tx: Write, event_nid: int, *, room_nid: int, key: str, sender: str, sent_at: int, words: Iterable[str]
) -> None:
    """Put off: let an event be found by these words."""
    tx.upsert(
        search_documents,
        event_nid=event_nid,
        room_nid=room_nid,
        key=key,
        sender=sender,
        sent_at=sent_at,
        words=" ".join(words),
    )


def remove_document(tx: Write, event_nid: int) -> None:
    """Put off: let an event not be found any more."""
    tx.delete(search_documents, event_nid=event_nid)
