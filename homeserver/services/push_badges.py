"""How much a user has not read in all: the number on the app's icon."""

from dataclasses import dataclass

from storage import memberships, read_marks
from storage.database import Database
from storage.read_marks import UNTHREADED


@dataclass(frozen=True, slots=True)
class Badge:
    """What is not read in all rooms that the user is joined to. `has_read`: up to which position a room is read."""

    unread: int
    missed_calls: int
    marks: dict[tuple[int, str], int]

    def has_read(self, room_nid: int, thread_id: str, position: int) -> bool:
        """Whether the user has read the event at this position of a room."""
        marks = self.marks
        return position <= max(marks.get((room_nid, UNTHREADED), 0), marks.get((room_nid, thread_id), 0))

    def counts(self) -> dict[str, int]:
        """As push gateways are told: without what is zero."""
        counts = {"unread": self.unread, "missed_calls": self.missed_calls}
        return {name: count for name, count in counts.items() if count}


async def badge_of(database: Database, user_id: str, upto: int) -> Badge:
    """The user's badge, counting events up to a position."""
    async with database.read(snapshot=True) as tx:
        nids = [row.room_nid for row in await memberships.of_user(tx, user_id, ("join",))]
        counts = await read_marks.unread_by_thread(tx, user_id, nids, upto)
        calls = await read_marks.unread_by_thread(tx, user_id, nids, upto, "m.call.invite") if counts else {}
        marks = {(mark.room_nid, mark.thread_id): mark.position for mark in await read_marks.marks_of(tx, user_id)}
        exceptions = await read_marks.exceptions_of(tx, user_id)
    badge = Badge(0, _total(calls), marks)
    joined = set(nids)
    for exception in exceptions:
        nid, thread = exception.room_nid, exception.thread_id
        if nid in joined and exception.position <= upto and not badge.has_read(nid, thread, exception.position):
            threads = counts.setdefault(nid, {})
            threads[thread] = threads.get(thread, 0) + exception.notify_delta
    return Badge(_total(counts), badge.missed_calls, marks)


def _total(counts: dict[int, dict[str, int]]) -> int:
    return sum(max(count, 0) for threads in counts.values() for count in threads.values())
