"""The state of rooms: now, and at snapshots of earlier times."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from sqlalchemy import literal_column, select

from storage.database import Position, Read, Write
from storage.events import chunks
from storage.tables import current_state, events, state_changes, state_deltas, state_snapshots

StateKey = tuple[str, str]
Entry = tuple[str, int]

# state_deltas.event_nid of a key that is no longer in the state.
_REMOVED = 0


@dataclass(frozen=True, slots=True)
class SnapshotRow:
    """A stored snapshot: its parent (None for a whole state) with a delta (None: the key is gone)."""

    snapshot_id: int
    parent_id: int | None
    ordinal: int
    delta: Mapping[StateKey, Entry | None]


@dataclass(frozen=True, slots=True)
class StateChange:
    """The current state changed at a key; `entry` is None where there is nothing at it any more."""

    position: int
    key: StateKey
    entry: Entry | None


async def load_snapshots(tx: Read, snapshot_id: int) -> list[SnapshotRow]:
    """A snapshot and all that it builds on, the oldest first; empty where there is none of that id."""
    lineage = (
        select(state_snapshots.c.snapshot_id, state_snapshots.c.parent_id, state_snapshots.c.ordinal)
        .where(state_snapshots.c.snapshot_id == snapshot_id)
        .cte("lineage", recursive=True)
    )
    lineage = lineage.union_all(
        select(state_snapshots.c.snapshot_id, state_snapshots.c.parent_id, state_snapshots.c.ordinal).join(
            lineage, state_snapshots.c.snapshot_id == lineage.c.parent_id
        )
    )
    rows = await tx.fetch_all(select(lineage).order_by(literal_column("ordinal")))
    deltas: dict[int, dict[StateKey, Entry | None]] = {row.snapshot_id: {} for row in rows}
    source = state_deltas.outerjoin(events, events.c.event_nid == state_deltas.c.event_nid)
    statement = select(state_deltas, events.c.event_id).select_from(source)
    for ids in chunks(deltas):
        for row in await tx.fetch_all(statement.where(state_deltas.c.snapshot_id.in_(ids))):
            entry = None if row.event_nid == _REMOVED else (row.event_id, row.event_nid)
            deltas[row.snapshot_id][row.type, row.state_key] = entry
    return [SnapshotRow(row.snapshot_id, row.parent_id, row.ordinal, deltas[row.snapshot_id]) for row in rows]


def add_snapshot(
    tx: Write,
    room_nid: int,
    snapshot_id: int,
    parent_id: int | None,
    ordinal: int,
    delta: Mapping[StateKey, Entry | None],
) -> None:
    """Put off: a new snapshot."""
    tx.insert(state_snapshots, snapshot_id=snapshot_id, room_nid=room_nid, parent_id=parent_id, ordinal=ordinal)
    for (event_type, state_key), entry in delta.items():
        event_nid = _REMOVED if entry is None else entry[1]
        tx.insert(state_deltas, snapshot_id=snapshot_id, type=event_type, state_key=state_key, event_nid=event_nid)


async def load_current(tx: Read, room_nid: int) -> dict[StateKey, Entry]:
    """The current state of a room."""
    statement = (
        select(current_state, events.c.event_id)
        .join(events, events.c.event_nid == current_state.c.event_nid)
        .where(current_state.c.room_nid == room_nid)
    )
    return {(row.type, row.state_key): (row.event_id, row.event_nid) for row in await tx.fetch_all(statement)}


def set_current(tx: Write, room_nid: int, changed: Mapping[StateKey, int | None]) -> None:
    """Put off: what is now the state at these keys (event_nid), or nothing any more (None)."""
    for (event_type, state_key), event_nid in changed.items():
        if event_nid is None:
            tx.delete(current_state, room_nid=room_nid, type=event_type, state_key=state_key)
        else:
            tx.upsert(current_state, room_nid=room_nid, type=event_type, state_key=state_key, event_nid=event_nid)


def add_change(
    tx: Write, room_nid: int, position: Position, key: StateKey, event_nid: int | None, previous_event_nid: int | None
) -> None:
    """Put off: note that the current state changed at `key`."""
    tx.insert(
        state_changes,
        position=position,
        room_nid=room_nid,
        type=key[0],
        state_key=key[1],
        event_nid=event_nid,
        previous_event_nid=previous_event_nid,
    )


def put_change(
    tx: Write,
    room_nid: int,
    position: Position | int,
    key: StateKey,
    event_nid: int | None,
    previous_event_nid: int | None,
) -> None:
    """As `add_change`, also at an earlier position."""
    tx.upsert(
        state_changes,
        position=position,
        room_nid=room_nid,
        type=key[0],
        state_key=key[1],
        event_nid=event_nid,
        previous_event_nid=previous_event_nid,
    )


async def changes_since(tx: Read, room_nid: int, position: int) -> Sequence[StateChange]:
    """How the current state changed after `position`, oldest first."""
    statement = (
        select(state_changes, events.c.event_id)
        .select_from(state_changes.outerjoin(events, events.c.event_nid == state_changes.c.event_nid))
        .where(state_changes.c.room_nid == room_nid, state_changes.c.position > position)
        .order_by(state_changes.c.position)
    )
    return [
        StateChange(
            row.position, (row.type, row.state_key), None if row.event_nid is None else (row.event_id, row.event_nid)
        )
        for row in await tx.fetch_all(statement)
    ]


async def changes_of_members(tx: Read, room_nid: int, server_name: str) -> Sequence[tuple[int, int]]:
    """(position, event_nid of what was there before) of changes to memberships of a server's users."""
    table = state_changes
    statement = select(table.c.position, table.c.previous_event_nid).where(
        table.c.room_nid == room_nid,
        table.c.type == "m.room.member",
        table.c.previous_event_nid.is_not(None),
        table.c.state_key.endswith(":" + server_name, autoescape=True),
    )
    return [(row.position, row.previous_event_nid) for row in await tx.fetch_all(statement)]
