"""Reports of rooms, events and users."""

from collections.abc import Sequence
from dataclasses import dataclass

from sqlalchemy import select

from storage.database import Read, Write
from storage.tables import reports


@dataclass(frozen=True, slots=True)
class Report:
    """What is reported is not None. `received_at` in ms since the epoch."""

    report_id: int
    reporter: str
    room_id: str | None
    event_id: str | None
    user_id: str | None
    reason: str
    score: int | None
    received_at: int


def add(tx: Write, report: Report) -> None:
    """Put off: keep a report."""
    tx.insert(reports, **{name: getattr(report, name) for name in Report.__slots__})


async def newest(tx: Read, limit: int, before: int | None = None) -> Sequence[Report]:
    """The newest reports, before one of that id."""
    statement = select(*(reports.c[name] for name in Report.__slots__)).order_by(reports.c.report_id.desc())
    if before is not None:
        statement = statement.where(reports.c.report_id < before)
    return [Report(*row) for row in await tx.fetch_all(statement.limit(limit))]
