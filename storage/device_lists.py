"""Whose devices or keys changed, when; and what is known of the devices of users elsewhere."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import delete, func, select, update

from storage.database import Position, Read, Write
from storage.destinations import add_edu
from storage.streams import Stream
from storage.tables import (
    device_list_changes,
    memberships,
    remote_device_list_state,
    remote_device_lists,
    room_hosts,
    state_changes,
)


def note_change(tx: Write, user_id: str) -> Position:
    """Put off: the user's devices or keys are not what they were. Whoever shares a room with them is told."""
    position = tx.position(Stream.DEVICE_LISTS, user_id)
    tx.insert(device_list_changes, position=position, user_id=user_id)
    return position


async def changes_between(tx: Read, after: int, upto: int) -> list[tuple[int, str]]:
    """(position, user id) of each change at a position of (after, upto], oldest first."""
    table = device_list_changes.c
    statement = select(table.position, table.user_id).where(table.position > after, table.position <= upto)
    return [(row.position, row.user_id) for row in await tx.fetch_all(statement.order_by(table.position))]


async def servers_of_rooms_with(tx: Read, user_id: str, *, but: int | None = None) -> list[str]:
    """Every server that has somebody in a room which the user is joined to, this one included; one room is left out."""
    statement = (
        select(room_hosts.c.server_name)
        .join(memberships, memberships.c.room_nid == room_hosts.c.room_nid)
        .where(memberships.c.user_id == user_id, memberships.c.membership == "join")
        .distinct()
    )
    if but is not None:
        statement = statement.where(memberships.c.room_nid != but)
    return [row.server_name for row in await tx.fetch_all(statement)]


async def sharing_rooms_with(tx: Read, user_id: str, others: Iterable[str]) -> set[str]:
    """Those of the other users who are joined to a room that the user is joined to."""
    mine, theirs = memberships.alias("mine"), memberships.alias("theirs")
    listed, found = list(others), set[str]()
    for start in range(0, len(listed), 500):
        statement = (
            select(theirs.c.user_id)
            .join(mine, mine.c.room_nid == theirs.c.room_nid)
            .where(mine.c.user_id == user_id, mine.c.membership == "join", theirs.c.membership == "join")
            .where(theirs.c.user_id.in_(listed[start : start + 500]))
            .distinct()
        )
        found |= {row.user_id for row in await tx.fetch_all(statement)}
    return found


async def servers_of_room_alone(tx: Read, user_id: str, room_nid: int) -> list[str]:
    """Servers in a room that are in no other room which the user is joined to."""
    known = (
        select(room_hosts.c.server_name)
        .join(memberships, memberships.c.room_nid == room_hosts.c.room_nid)
        .where(memberships.c.user_id == user_id, memberships.c.membership == "join")
        .where(memberships.c.room_nid != room_nid)
    )
    statement = select(room_hosts.c.server_name).where(room_hosts.c.room_nid == room_nid)
    # Most rooms have no other servers: then nothing is asked about the user.
    servers = [row.server_name for row in await tx.fetch_all(statement)]
    if len(servers) < 2:
        return servers
    rows = await tx.fetch_all(known.where(room_hosts.c.server_name.in_(servers)).distinct())
    others = {row.server_name for row in rows}
    return [name for name in servers if name not in others]


async def in_rooms_of_server(tx: Read, user_ids: Iterable[str], server_name: str) -> set[str]:
    """Those of the users who are joined to a room that the server has somebody in."""
    listed, found = list(user_ids), set[str]()
    for start in range(0, len(listed), 500):
        statement = (
            select(memberships.c.user_id)
            .join(room_hosts, room_hosts.c.room_nid == memberships.c.room_nid)
            .where(memberships.c.user_id.in_(listed[start : start + 500]), memberships.c.membership == "join")
            .where(room_hosts.c.server_name == server_name)
            .distinct()
        )
        found |= {row.user_id for row in await tx.fetch_all(statement)}
    return found


def put_edu(tx: Write, destinations: Sequence[str], edu_type: str, content: bytes) -> None:
    """Put off: an EDU that has to arrive at these servers. `content` is canonical JSON."""
    add_edu(tx, tx.position(Stream.FEDERATION_EDUS, *destinations), destinations, edu_type, content)


# --- the lists themselves: of local users only how far they have got, of others what they hold


@dataclass(frozen=True, slots=True)
class ListState:
    """Of a local user, the id of the newest update sent to others; of another, that of the newest one received.

    `position`: where the log stood when another's whole list was asked for.
    """

    stream_id: int | None
    stale: bool
    position: int | None = None


async def states_of(tx: Read, user_ids: Iterable[str]) -> dict[str, ListState]:
    """user id → how far their list has got; users whose list is not kept are absent."""
    table, listed = remote_device_list_state.c, list(user_ids)
    found: dict[str, ListState] = {}
    for start in range(0, len(listed), 500):
        statement = select(table.user_id, table.stream_id, table.stale, table.position)
        rows = await tx.fetch_all(statement.where(table.user_id.in_(listed[start : start + 500])))
        found.update({row.user_id: ListState(row.stream_id, row.stale, row.position) for row in rows})
    return found


async def locked_stream_id(tx: Write, user_id: str) -> int | None:
    """The id of the newest update sent of a local user; other processes wait for this write before they read it."""
    table = remote_device_list_state.c
    return await tx.fetch_value(select(table.stream_id).where(table.user_id == user_id).with_for_update())


async def followed_since(tx: Read, states: Mapping[str, ListState]) -> set[str]:
    """Those of other servers' users whose list is kept and current: it is not stale, and they have been in a room of
    this server's ever since it was read, so that every update of it was sent here."""
    wanted = [user_id for user_id, state in states.items() if not state.stale and state.position is not None]
    found: set[str] = set()
    table, state = memberships.c, remote_device_list_state
    for start in range(0, len(wanted), 500):
        statement = (
            select(table.user_id)
            .join(state, state.c.user_id == table.user_id)
            .where(table.user_id.in_(wanted[start : start + 500]), table.membership == "join")
            .where(table.position <= state.c.position)
            .distinct()
        )
        found |= {row.user_id for row in await tx.fetch_all(statement)}
    return found


async def distrust_members(tx: Write, room_nid: int) -> None:
    """This server leaves a room: the lists of its members count as stale."""
    members = select(memberships.c.user_id).where(
        memberships.c.room_nid == room_nid, memberships.c.membership == "join"
    )
    state = remote_device_list_state
    await tx.execute(
        update(state).where(state.c.user_id.in_(members), state.c.position.is_not(None)).values(stale=True)
    )


async def has_changed_since(tx: Read, user_id: str, position: int) -> bool:
    """Whether a change of the user's devices was noted after a position."""
    table = device_list_changes.c
    statement = select(table.position).where(table.user_id == user_id, table.position > position).limit(1)
    return await tx.fetch_value(statement) is not None


def put_state(tx: Write, user_id: str, state: ListState) -> None:
    """Put off."""
    tx.upsert(
        remote_device_list_state,
        user_id=user_id,
        stream_id=state.stream_id,
        position=state.position,
        stale=state.stale,
    )


async def remote_devices_of(tx: Read, user_ids: Iterable[str]) -> dict[str, dict[str, bytes]]:
    """user id → device id → keys, of users elsewhere."""
    table, listed = remote_device_lists.c, list(user_ids)
    found: dict[str, dict[str, bytes]] = {}
    for start in range(0, len(listed), 500):
        statement = select(table.user_id, table.device_id, table["keys"].label("json"))
        for row in await tx.fetch_all(statement.where(table.user_id.in_(listed[start : start + 500]))):
            found.setdefault(row.user_id, {})[row.device_id] = bytes(row.json)
    return found


def put_remote_device(tx: Write, user_id: str, device_id: str, keys: bytes) -> None:
    """Put off."""
    tx.upsert(remote_device_lists, user_id=user_id, device_id=device_id, keys=keys)


def remove_remote_device(tx: Write, user_id: str, device_id: str) -> None:
    """Put off."""
    tx.delete(remote_device_lists, user_id=user_id, device_id=device_id)


def replace_remote_devices(tx: Write, user_id: str, devices: Sequence[tuple[str, bytes]]) -> None:
    """Put off: the user's list is exactly this: (device id, keys)."""
    tx.delete(remote_device_lists, user_id=user_id)
    for device_id, keys in devices:
        tx.insert(remote_device_lists, user_id=user_id, device_id=device_id, keys=keys)


def forget_list(tx: Write, user_id: str) -> None:
    """Put off: nothing is known of the user's devices any more."""
    tx.delete(remote_device_lists, user_id=user_id)
    tx.delete(remote_device_list_state, user_id=user_id)


async def forget_old_changes(tx: Write) -> int:
    """Forget all changes but the newest of each user, which tells what the others would; returns how many went."""
    newest = select(func.max(device_list_changes.c.position)).group_by(device_list_changes.c.user_id)
    return await tx.execute(delete(device_list_changes).where(device_list_changes.c.position.not_in(newest)))


async def members_changed_between(tx: Read, user_id: str, after: int, upto: int) -> set[str]:
    """Whoever may have come to share a room with the user, or ceased to, at positions of (after, upto]: whose
    membership changed in a room that the user is joined to now, and everybody of rooms where the user's own changed."""
    mine, theirs, changes = memberships.alias("mine"), memberships.alias("theirs"), state_changes.c
    in_range = (changes.type == "m.room.member", changes.position > after, changes.position <= upto)
    of_others = (
        select(changes.state_key)
        .join(mine, mine.c.room_nid == changes.room_nid)
        .where(mine.c.user_id == user_id, mine.c.membership == "join", *in_range)
        .distinct()
    )
    own_rooms = select(changes.room_nid).where(changes.state_key == user_id, *in_range)
    of_own_rooms = (
        select(theirs.c.user_id)
        .where(theirs.c.room_nid.in_(own_rooms.scalar_subquery()), theirs.c.membership == "join")
        .distinct()
    )
    rows = [*await tx.fetch_all(of_others), *await tx.fetch_all(of_own_rooms)]
    return {row[0] for row in rows} - {user_id}
