"""Events and their bodies; which events redact which."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import and_, bindparam, exists, literal, select

from storage.database import AnyRow, Read
from storage.tables import event_bodies, event_relations, events, redactions, rooms

# Relations whose events clients are shown along with the event that they relate to.
AGGREGATED = ("m.replace", "m.thread", "m.reference")
# How many ids go into one statement: well below what either engine allows for parameters.
CHUNK = 500


def chunks(values: Iterable[Any], size: int = CHUNK) -> Iterable[list[Any]]:
    """The values in lists that fit into one statement."""
    whole = list(values)
    return (whole[start : start + size] for start in range(0, len(whole), size))


_replaced, _replaced_bodies = events.alias(), event_bodies.alias()
_redaction, _redaction_bodies = events.alias(), event_bodies.alias()
# Made once: putting a join of this size together takes longer than running it.
_LOAD = select(
    events,
    rooms.c.room_version,
    event_bodies.c.body,
    _replaced.c.event_id.label("replaced_id"),
    _replaced.c.redacted_by.label("replaced_redacted_by"),
    _replaced_bodies.c.body.label("replaced_body"),
    _redaction_bodies.c.body.label("redaction_body"),
    and_(
        events.c.state_key.is_(None),
        exists().where(event_relations.c.relates_to == events.c.event_id, event_relations.c.rel_type.in_(AGGREGATED)),
    ).label("has_children"),
).select_from(
    events.join(rooms, rooms.c.room_nid == events.c.room_nid)
    .join(event_bodies, event_bodies.c.event_nid == events.c.event_nid)
    .outerjoin(_replaced, _replaced.c.event_nid == events.c.replaces_nid)
    .outerjoin(_replaced_bodies, _replaced_bodies.c.event_nid == events.c.replaces_nid)
    .outerjoin(_redaction, _redaction.c.event_id == events.c.redacted_by)
    .outerjoin(_redaction_bodies, _redaction_bodies.c.event_nid == _redaction.c.event_nid)
)


async def load(tx: Read, event_ids: Iterable[str]) -> list[AnyRow]:
    """Rows of the events that exist: all columns of `events`, room_version, body, and the bodies of what the event
    replaced (replaced_id, replaced_body) and of what redacted it (redaction_body), and whether it has_children."""
    found: list[AnyRow] = []
    for ids in chunks(event_ids):
        found += await tx.fetch_all(_LOAD.where(events.c.event_id.in_(ids)))
    return found


async def event_ids_of(tx: Read, nids: Iterable[int]) -> dict[int, str]:
    """Event ids by integer id."""
    found: dict[int, str] = {}
    for some in chunks(nids):
        statement = select(events.c.event_nid, events.c.event_id).where(events.c.event_nid.in_(some))
        found.update((row.event_nid, row.event_id) for row in await tx.fetch_all(statement))
    return found


async def existing(tx: Read, event_ids: Iterable[str]) -> dict[str, tuple[int, bool]]:
    """Which of the events are stored: id → (integer id, whether it is an outlier)."""
    found: dict[str, tuple[int, bool]] = {}
    for ids in chunks(event_ids):
        statement = select(events.c.event_id, events.c.event_nid, events.c.outlier).where(events.c.event_id.in_(ids))
        found.update((row.event_id, (row.event_nid, row.outlier)) for row in await tx.fetch_all(statement))
    return found


# As `_LOAD`: each received event is looked for, and most are new.
_TRACES = (
    select(events.c.event_id, literal(False).label("redacts"), literal(0).label("depth"))
    .where(events.c.event_id == bindparam("event_id"))
    .union_all(
        select(events.c.event_id, literal(True), events.c.depth)
        .join(redactions, redactions.c.event_nid == events.c.event_nid)
        .where(
            redactions.c.redacts == bindparam("event_id"), events.c.rejected.is_(None), events.c.outlier.is_(False)
        )
    )
    .order_by("depth")
)


async def traces_of(tx: Read, event_id: str) -> tuple[bool, list[str]]:
    """Whether the event is stored, and the ids of the stored redactions that ask to redact it, oldest first."""
    rows = await tx.fetch_all(_TRACES.params(event_id=event_id))
    return any(not row.redacts for row in rows), [row.event_id for row in rows if row.redacts]


async def ids_of_type(tx: Read, room_nid: int, event_type: str) -> list[str]:
    """Every stored state event of a type in the room, rejected ones too."""
    statement = select(events.c.event_id).where(
        events.c.room_nid == room_nid, events.c.type == event_type, events.c.state_key.is_not(None)
    )
    return [row.event_id for row in await tx.fetch_all(statement)]
