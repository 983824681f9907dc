"""The rows of one event, put off in a write."""

from typing import Any, TypeGuard

from homeserver.core.events import Event
from homeserver.services.events import StoredEvent
from storage import event_graph
from storage.database import Position, Write
from storage.tables import event_bodies, event_relations, events, redactions

THREAD = "m.thread"
# Prefix of the key that says, in a hint of `Stream.CACHES`, which event's children have to be read anew.
CHILDREN = "children:"
_MAX_LENGTH = 255


def relation_of(event: Event) -> tuple[str | None, str | None]:
    """(related event id, relation type) of an event's `m.relates_to`, None each where there is none."""
    relates_to = event.content.get("m.relates_to")
    if not isinstance(relates_to, dict):
        return None, None
    target, kind = relates_to.get("event_id"), relates_to.get("rel_type")
    if not is_storable(target) or not is_storable(kind):
        return None, None
    return target, kind


def is_storable(value: object) -> TypeGuard[str]:
    """Whether it may be what an event relates to, or how: ids have at most 255 bytes, and no U+0000."""
    return isinstance(value, str) and len(value) <= _MAX_LENGTH and "\0" not in value


def write_new(tx: Write, stored: StoredEvent, position: Position | None, replaces_nid: int | None) -> None:
    """Put off: everything there is to know of an event that was not stored before, except its place in auth chains."""
    event = stored.event
    tx.insert(
        events,
        event_nid=stored.nid,
        event_id=event.event_id,
        room_nid=stored.room_nid,
        type=event.type,
        state_key=event.state_key,
        sender=event.sender,
        depth=event.depth,
        origin_server_ts=event.origin_server_ts,
        is_local=stored.is_local,
        device_id=stored.device_id,
        transaction_id=stored.transaction_id,
        redacted_by=None,
        **_place(stored, position, replaces_nid),
    )
    write_relation(tx, stored, position)
    tx.insert(event_bodies, event_nid=stored.nid, body=event.encoded())
    if event.redacts is not None and "\0" not in event.redacts:
        tx.insert(redactions, redacts=event.redacts, event_nid=stored.nid)
    if not stored.outlier:
        event_graph.add_edges(tx, stored.nid, event.prev_events)


def write_place(
    tx: Write, stored: StoredEvent, position: Position | None, replaces_nid: int | None, *, has_edges: bool
) -> None:
    """Put off: an outlier takes its place in the timeline, or an event with edges in the graph takes another one."""
    tx.update(events, {"event_nid": stored.nid}, **_place(stored, position, replaces_nid))
    if has_edges:
        tx.delete(event_relations, event_nid=stored.nid)
    else:
        event_graph.add_edges(tx, stored.nid, stored.event.prev_events)
    write_relation(tx, stored, position)


def _place(stored: StoredEvent, position: Position | None, replaces_nid: int | None) -> dict[str, Any]:
    return {
        "position": position,
        "outlier": stored.outlier,
        "rejected": stored.rejected,
        "soft_failed": stored.soft_failed,
        "follows_gap": stored.follows_gap,
        "snapshot_id": stored.snapshot_id,
        "notify_seq": stored.notify_seq,
        "thread_notify_seq": stored.thread_notify_seq,
        "thread_root": stored.thread_root,
        "replaces_nid": replaces_nid,
    }


def write_relation(tx: Write, stored: StoredEvent, position: Position | int | None) -> None:
    """Put off: what an accepted event of the timeline relates to, if anything."""
    event = stored.event
    if position is None or not stored.is_accepted or "m.relates_to" not in event.content:
        return
    target, kind = relation_of(event)
    if target is None or kind is None:
        return
    key = event.content["m.relates_to"].get("key")
    tx.insert(
        event_relations,
        event_nid=stored.nid,
        event_id=event.event_id,
        room_nid=stored.room_nid,
        relates_to=target,
        rel_type=kind,
        annotation_key=key if is_storable(key) else None,
        type=event.type,
        sender=event.sender,
        origin_server_ts=event.origin_server_ts,
        depth=event.depth,
        position=position,
    )
