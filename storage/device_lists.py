"""Whose devices or keys changed, when; and what is known of the devices of users elsewhere."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import orjson
from sqlalchemy import delete, func, select

from storage.database import Position, Read, Write
from storage.streams import Stream
from storage.tables import (
    device_keys,
    device_list_changes,
    key_signatures,
    memberships,
    outbound_edus,
    remote_device_list_state,
    remote_device_lists,
    room_hosts,
)


def note_change(tx: Write, user_id: str) -> Position:
    """Put off: the user's devices or keys are not what they were. Whoever shares a room with them is told."""
    position = tx.position(Stream.DEVICE_LISTS, user_id)
    tx.insert(device_list_changes, position=position, user_id=user_id)
    return position


async def signed_device_keys_of(tx: Read, user_id: str, device_id: str) -> dict[str, Any] | None:
    """The keys of a local device, with the signatures that its user has put on them since."""
    table, signatures = device_keys.c, key_signatures.c
    found = await tx.fetch_value(select(table.keys).where(table.user_id == user_id, table.device_id == device_id))
    if found is None:
        return None
    keys: dict[str, Any] = orjson.loads(found)
    statement = select(signatures.signer_key_id, signatures.signature).where(
        signatures.user_id == user_id,
        signatures.signer_user_id == user_id,
        signatures.key_id.in_((device_id, f"ed25519:{device_id}")),
    )
    for row in await tx.fetch_all(statement):
        keys.setdefault("signatures", {}).setdefault(user_id, {})[row.signer_key_id] = row.signature
    return keys


async def changes_between(tx: Read, after: int, upto: int) -> list[tuple[int, str]]:
    """(position, user id) of each change at a position of (after, upto], oldest first."""
    table = device_list_changes.c
    statement = select(table.position, table.user_id).where(table.position > after, table.position <= upto)
    return [(row.position, row.user_id) for row in await tx.fetch_all(statement.order_by(table.position))]


async def servers_of_rooms_with(tx: Read, user_id: str) -> list[str]:
    """Every server that has somebody in a room which the user is joined to, this one included."""
    statement = (
        select(room_hosts.c.server_name)
        .join(memberships, memberships.c.room_nid == room_hosts.c.room_nid)
        .where(memberships.c.user_id == user_id, memberships.c.membership == "join")
        .distinct()
    )
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


async def is_in_a_room_with(tx: Read, user_id: str, server_name: str) -> bool:
    """Whether the user is joined to a room that this server has somebody in."""
    statement = (
        select(room_hosts.c.room_nid)
        .join(memberships, memberships.c.room_nid == room_hosts.c.room_nid)
        .where(
            memberships.c.user_id == user_id,
            memberships.c.membership == "join",
            room_hosts.c.server_name == server_name,
        )
        .limit(1)
    )
    return await tx.fetch_value(statement) is not None


def put_edu(tx: Write, destination: str, edu_type: str, content: bytes) -> None:
    """Put off: an EDU that has to arrive. `content` is canonical JSON."""
    position = tx.position(Stream.FEDERATION_EDUS, destination)
    tx.insert(outbound_edus, position=position, destination=destination, edu_type=edu_type, content=content)


# --- the lists themselves: of local users only how far they have got, of others what they hold


@dataclass(frozen=True, slots=True)
class ListState:
    """Of a local user, the id of the newest update sent to others; of another, that of the newest one received."""

    stream_id: int | None
    stale: bool


async def states_of(tx: Read, user_ids: Iterable[str]) -> dict[str, ListState]:
    """user id → how far their list has got; users whose list is not kept are absent."""
    table, listed = remote_device_list_state.c, list(user_ids)
    found: dict[str, ListState] = {}
    for start in range(0, len(listed), 500):
        statement = select(table.user_id, table.stream_id, table.stale)
        rows = await tx.fetch_all(statement.where(table.user_id.in_(listed[start : start + 500])))
        found.update({row.user_id: ListState(row.stream_id, row.stale) for row in rows})
    return found


def put_state(tx: Write, user_id: str, state: ListState) -> None:
    """Put off."""
    tx.upsert(remote_device_list_state, user_id=user_id, stream_id=state.stream_id, stale=state.stale)


async def remote_devices_of(tx: Read, user_ids: Iterable[str]) -> dict[str, dict[str, bytes]]:
    """user id → device id → keys, of users elsewhere."""
    table, listed = remote_device_lists.c, list(user_ids)
    found: dict[str, dict[str, bytes]] = {}
    for start in range(0, len(listed), 500):
        statement = select(table.user_id, table.device_id, table.keys)
        for row in await tx.fetch_all(statement.where(table.user_id.in_(listed[start : start + 500]))):
            found.setdefault(row.user_id, {})[row.device_id] = bytes(row.keys)
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


async def forget_changes_before(tx: Write, position: int) -> int:
    """Forget old changes, but the newest of each user; returns how many."""
    newest = select(func.max(device_list_changes.c.position)).group_by(device_list_changes.c.user_id)
    table = device_list_changes.c
    return await tx.execute(delete(device_list_changes).where(table.position < position, table.position.not_in(newest)))
