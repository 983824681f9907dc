"""Rooms and their heads: versions, extremities, servers, threads."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import ColumnElement, and_, func, or_, select

from storage.database import AnyRow, Position, Read, Write
from storage.tables import (
    backward_extremities,
    current_state,
    event_bodies,
    events,
    forward_extremities,
    network_rooms,
    room_hosts,
    room_threads,
    rooms,
    stream_position,
)


async def by_id(tx: Read, room_id: str) -> AnyRow | None:
    """The row of a room: all columns of `rooms`."""
    return await tx.fetch_one(select(rooms).where(rooms.c.room_id == room_id))


async def room_ids(tx: Read, room_nids: Sequence[int]) -> dict[int, str]:
    """Room ids by integer id."""
    rows = await tx.fetch_all(select(rooms.c.room_nid, rooms.c.room_id).where(rooms.c.room_nid.in_(room_nids)))
    return {row.room_nid: row.room_id for row in rows}


def set_taken_over(tx: Write, room_nid: int, position: Position) -> None:
    """Put off: what the room is was told by other servers, at this place in the log."""
    tx.update(rooms, {"room_nid": room_nid}, taken_over_at=position)


async def taken_over_at(tx: Read, room_nid: int) -> int | None:
    """Where this server's stay in the room began; None where the room began here."""
    return await tx.fetch_value(select(rooms.c.taken_over_at).where(rooms.c.room_nid == room_nid))


async def extremities(tx: Read, room_nid: int) -> dict[str, int]:
    """Forward extremities: event id → depth."""
    rows = await tx.fetch_all(select(forward_extremities).where(forward_extremities.c.room_nid == room_nid))
    return {row.event_id: row.depth for row in rows}


async def missing_events(tx: Read, room_nid: int) -> dict[str, int]:
    """Backward extremities: event id → depth of what cites it."""
    rows = await tx.fetch_all(select(backward_extremities).where(backward_extremities.c.room_nid == room_nid))
    return {row.event_id: row.depth for row in rows}


async def hosts(tx: Read, room_nid: int) -> dict[str, int]:
    """Servers in the room: name → how many of their users are joined."""
    rows = await tx.fetch_all(select(room_hosts).where(room_hosts.c.room_nid == room_nid))
    return {row.server_name: row.joined_count for row in rows}


async def threads(tx: Read, room_nid: int) -> dict[str, int]:
    """Threads: root → how many of their events notified."""
    rows = await tx.fetch_all(select(room_threads).where(room_threads.c.room_nid == room_nid))
    return {row.thread_root: row.notify_seq for row in rows}


async def log_position(tx: Read) -> int:
    """The newest position that this transaction sees."""
    return int(await tx.fetch_value(select(stream_position.c.value).where(stream_position.c.id == 1)))


def add(tx: Write, room_nid: int, room_id: str, room_version: str, creator: str | None) -> None:
    """Put off: a new room."""
    tx.insert(rooms, room_nid=room_nid, room_id=room_id, room_version=room_version, creator=creator, snapshot_id=None)


async def set_public(tx: Write, room_id: str, is_public: bool) -> None:
    """Show the room in the directory, or do not."""
    await tx.execute(rooms.update().where(rooms.c.room_id == room_id).values(is_public=is_public))


@dataclass(frozen=True, slots=True)
class Network:
    """A network that an application service bridges to, and lists rooms for."""

    appservice_id: str
    network_id: str


EVERY_NETWORK = Network("", "")
"""All there are, this server itself included."""


def set_listed(tx: Write, network: Network, room_nid: int, is_listed: bool) -> None:
    """Put off: show the room in the directory of a network, or do not."""
    key = {"appservice_id": network.appservice_id, "network_id": network.network_id, "room_nid": room_nid}
    tx.delete(network_rooms, **key)
    if is_listed:
        tx.insert(network_rooms, **key)


def _published(network: Network | None) -> ColumnElement[bool]:
    listed = select(network_rooms.c.room_nid).where(network_rooms.c.room_nid == rooms.c.room_nid)
    if network is None:
        published: ColumnElement[bool] = rooms.c.is_public.is_(True)
    elif network == EVERY_NETWORK:
        published = or_(rooms.c.is_public.is_(True), listed.exists())
    else:
        of_network = and_(
            network_rooms.c.appservice_id == network.appservice_id, network_rooms.c.network_id == network.network_id
        )
        published = listed.where(of_network).exists()
    return and_(published, rooms.c.joined_count > 0)


async def public_rooms(
    tx: Read, *, after: tuple[int, int] | None, forwards: bool, limit: int, network: Network | None = None
) -> Sequence[AnyRow]:
    """Published rooms that somebody is in, the largest first: at most `limit` beyond `after` (joined_count, room_nid).

    Backwards, the rooms before it, the nearest first. Rows are those of `rooms`. `network`: whose directory it is;
    None for this server's own.
    """
    statement = select(rooms).where(_published(network))
    count, nid = rooms.c.joined_count, rooms.c.room_nid
    if forwards:
        statement = statement.order_by(count.desc(), nid)
        if after is not None:
            statement = statement.where(or_(count < after[0], and_(count == after[0], nid > after[1])))
    else:
        statement = statement.order_by(count, nid.desc())
        if after is not None:
            statement = statement.where(or_(count > after[0], and_(count == after[0], nid < after[1])))
    return await tx.fetch_all(statement.limit(limit))


async def count_public_rooms(tx: Read, network: Network | None = None) -> int:
    """How many rooms `public_rooms` has in all."""
    statement = select(func.count()).select_from(rooms).where(_published(network))
    return int(await tx.fetch_value(statement))


async def state_bodies(tx: Read, room_nids: Sequence[int], keys: Sequence[str]) -> Sequence[AnyRow]:
    """(room_nid, type, body) of the current state events of these types with the empty state key; not redacted ones."""
    statement = (
        select(current_state.c.room_nid, current_state.c.type, event_bodies.c.body)
        .join(event_bodies, event_bodies.c.event_nid == current_state.c.event_nid)
        .join(events, events.c.event_nid == current_state.c.event_nid)
        .where(events.c.redacted_by.is_(None))
        .where(current_state.c.room_nid.in_(room_nids), current_state.c.state_key == "", current_state.c.type.in_(keys))
    )
    return await tx.fetch_all(statement)


async def last_event_before(
    tx: Read, room_nid: int, *, position: int | None = None, place: tuple[int, int] | None = None
) -> str | None:
    """The id of the room's newest accepted event: up to `position` in the log, or of the timeline before `place`
    (depth, position)."""
    statement = select(events.c.event_id).where(
        events.c.room_nid == room_nid,
        events.c.outlier.is_(False),
        events.c.rejected.is_(None),
        events.c.soft_failed.is_(False),
    )
    if position is not None:
        statement = statement.where(events.c.position <= position).order_by(events.c.position.desc())
    if place is not None:
        depth, number = place
        before = or_(events.c.depth < depth, and_(events.c.depth == depth, events.c.position < number))
        statement = statement.where(before).order_by(events.c.depth.desc(), events.c.position.desc())
    found: str | None = await tx.fetch_value(statement.limit(1))
    return found
