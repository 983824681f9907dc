"""What other servers are to be sent, and how far each has been.

A row of `destinations` says that a server is behind. Servers without a row have been sent everything up to the
checkpoint, the row with the empty name; so the many that are up to date cost no writes.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, fields
from typing import Any

from sqlalchemy import ColumnElement, and_, delete, exists, func, or_, select

from storage.database import AnyRow, Read, Write
from storage.receipts import Receipt
from storage.tables import (
    destination_events,
    destinations,
    event_bodies,
    events,
    memberships,
    outbound_edus,
    receipts,
    room_hosts,
    rooms,
)

CHECKPOINT = ""


@dataclass(frozen=True, slots=True)
class Destination:
    """A server that is behind or fails. Times are ms since the epoch, the interval ms; `sent_position` is a place in
    the log up to which the server has been sent what concerns it."""

    server_name: str
    sent_position: int
    retry_at: int | None = None
    retry_interval: int = 0
    failing_since: int | None = None


@dataclass(frozen=True, slots=True)
class OutboundEvent:
    """An event that this server is to send out; `body` is its PDU as canonical JSON."""

    position: int
    nid: int
    event_id: str
    room_nid: int
    type: str
    state_key: str | None
    sender: str
    body: bytes


@dataclass(frozen=True, slots=True)
class OutboundEdu:
    """An EDU that must arrive; `content` is JSON."""

    position: int
    edu_type: str
    content: bytes


async def load_all(tx: Read) -> list[Destination]:
    """Every row, the checkpoint's too."""
    table = destinations
    statement = select(
        table.c.server_name, table.c.sent_position, table.c.retry_at, table.c.retry_interval, table.c.failing_since
    )
    return [Destination(*row) for row in await tx.fetch_all(statement)]


def store(tx: Write, destination: Destination) -> None:
    """Put off: how far a server is."""
    tx.upsert(
        destinations,
        server_name=destination.server_name,
        sent_position=destination.sent_position,
        retry_at=destination.retry_at,
        retry_interval=destination.retry_interval,
        failing_since=destination.failing_since,
    )


def remove(tx: Write, server_name: str) -> None:
    """Put off: the server is up to date and answers."""
    tx.delete(destinations, server_name=server_name)


def store_checkpoint(tx: Write, position: int) -> None:
    """Put off: servers without a row have been sent everything up to here."""
    store(tx, Destination(CHECKPOINT, position))


_EVENTS = select(
    events.c.position,
    events.c.event_nid,
    events.c.event_id,
    events.c.room_nid,
    events.c.type,
    events.c.state_key,
    events.c.sender,
    event_bodies.c.body,
).join(event_bodies, event_bodies.c.event_nid == events.c.event_nid)
_TO_SEND = and_(events.c.is_local.is_(True), events.c.rejected.is_(None))


def _event(row: AnyRow) -> OutboundEvent:
    return OutboundEvent(
        row.position, row.event_nid, row.event_id, row.room_nid, row.type, row.state_key, row.sender, row.body
    )


async def events_after(tx: Read, position: int, upto: int, limit: int) -> list[OutboundEvent]:
    """Events of this server at positions of (position, upto], in order, at most `limit`."""
    statement = _EVENTS.where(_TO_SEND, events.c.position > position, events.c.position <= upto)
    return [_event(row) for row in await tx.fetch_all(statement.order_by(events.c.position).limit(limit))]


async def events_for(tx: Read, server_name: str, position: int, limit: int) -> list[OutboundEvent]:
    """As `events_after`, those that concern a server: of rooms that it is in, since it is, and what was
    noted for it."""
    to_send = or_(and_(_TO_SEND, _is_in_room(server_name)), and_(events.c.rejected.is_(None), _is_noted(server_name)))
    statement = _EVENTS.where(events.c.position > position, to_send)
    return [_event(row) for row in await tx.fetch_all(statement.order_by(events.c.position).limit(limit))]


async def latest_events_for(tx: Read, server_name: str, position: int, limit: int) -> list[OutboundEvent]:
    """As `events_for`, of each room only the last event: with it the server learns that it missed others, and asks."""
    last_of_rooms = (
        select(func.max(events.c.position))
        .where(_TO_SEND, events.c.position > position, _is_in_room(server_name))
        .group_by(events.c.room_nid)
    )
    noted = and_(events.c.rejected.is_(None), _is_noted(server_name))
    statement = _EVENTS.where(events.c.position > position, or_(events.c.position.in_(last_of_rooms), noted))
    return [_event(row) for row in await tx.fetch_all(statement.order_by(events.c.position).limit(limit))]


async def noted_earlier(tx: Read, server_name: str, position: int, limit: int) -> list[OutboundEvent]:
    """What was noted for a server only after it had been sent everything up to there: it goes with what came then."""
    statement = _EVENTS.join(destination_events, destination_events.c.event_nid == events.c.event_nid).where(
        destination_events.c.destination == server_name, events.c.rejected.is_(None), events.c.position <= position
    )
    return [_event(row) for row in await tx.fetch_all(statement.order_by(events.c.position).limit(limit))]


async def is_far_behind(tx: Read, server_name: str, position: int, more_than: int) -> bool:
    """Whether so many events wait for a server."""
    statement = select(events.c.event_nid).where(_TO_SEND, events.c.position > position, _is_in_room(server_name))
    waiting = statement.limit(more_than + 1).subquery()
    return (await tx.fetch_value(select(func.count()).select_from(waiting)) or 0) > more_than


def _is_in_room(server_name: str) -> ColumnElement[bool]:
    """The server is in the room, and was when the event was added to it."""
    return exists().where(
        room_hosts.c.room_nid == events.c.room_nid,
        room_hosts.c.server_name == server_name,
        or_(room_hosts.c.since.is_(None), room_hosts.c.since < events.c.position),
    )


def _is_noted(server_name: str) -> ColumnElement[bool]:
    return exists().where(
        destination_events.c.event_nid == events.c.event_nid, destination_events.c.destination == server_name
    )


async def servers_noted(tx: Read, position: int, upto: int) -> list[tuple[str, int]]:
    """(server, position) of what was noted for servers at positions of (position, upto], though it may be of others."""
    statement = (
        select(destination_events.c.destination, events.c.position)
        .join(events, events.c.event_nid == destination_events.c.event_nid)
        .where(events.c.position > position, events.c.position <= upto)
    )
    return [(row.destination, row.position) for row in await tx.fetch_all(statement)]


def forget_event(tx: Write, server_name: str, event_nid: int) -> None:
    """Put off: it was sent."""
    tx.delete(destination_events, destination=server_name, event_nid=event_nid)


async def room_nid_of(tx: Read, room_id: str) -> int | None:
    """The integer id of a room."""
    return await tx.fetch_value(select(rooms.c.room_nid).where(rooms.c.room_id == room_id))


async def hosts_of_room(tx: Read, room_nid: int) -> dict[str, int]:
    """Servers with users in the room, and after which place in the log what is sent there concerns them."""
    table = room_hosts
    rows = await tx.fetch_all(select(table.c.server_name, table.c.since).where(table.c.room_nid == room_nid))
    return {row.server_name: row.since or 0 for row in rows}


async def servers_of_user(tx: Read, user_id: str) -> list[str]:
    """Servers with users in any room that the user is joined to, the user's own too."""
    statement = (
        select(room_hosts.c.server_name)
        .join(memberships, memberships.c.room_nid == room_hosts.c.room_nid)
        .where(memberships.c.user_id == user_id, memberships.c.membership == "join")
        .distinct()
    )
    return [row.server_name for row in await tx.fetch_all(statement)]


async def receipt_at(tx: Read, room_nid: int, position: int) -> Receipt | None:
    """The receipt of a room that was written at a place in the log, unless a later one replaced it."""
    columns = [receipts.c[field.name] for field in fields(Receipt)]
    statement = select(*columns).where(receipts.c.room_nid == room_nid, receipts.c.position == position)
    row = await tx.fetch_one(statement)
    return None if row is None else Receipt(*row)


async def servers_with_edus(tx: Read) -> list[str]:
    """Servers for which EDUs wait."""
    return [row.destination for row in await tx.fetch_all(select(outbound_edus.c.destination).distinct())]


async def edus_for(tx: Read, server_name: str, limit: int) -> list[OutboundEdu]:
    """The oldest EDUs that wait for a server."""
    table = outbound_edus
    statement = select(table.c.position, table.c.edu_type, table.c.content).where(table.c.destination == server_name)
    return [OutboundEdu(*row) for row in await tx.fetch_all(statement.order_by(table.c.position).limit(limit))]


async def forget_edus(tx: Write, server_name: str, positions: Sequence[int]) -> None:
    """They were sent."""
    table = outbound_edus
    await tx.execute(delete(table).where(table.c.destination == server_name, table.c.position.in_(positions)))


def add_edu(tx: Write, position: Any, server_names: Iterable[str], edu_type: str, content: bytes) -> None:
    """Put off: an EDU for servers. `position` is of `Stream.FEDERATION_EDUS`, with the servers as its keys."""
    for server_name in server_names:
        tx.insert(outbound_edus, position=position, destination=server_name, edu_type=edu_type, content=content)
