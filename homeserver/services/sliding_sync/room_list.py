"""An ordered list of rooms: moving one costs the same whatever the number of the others."""

from bisect import bisect_left, insort
from collections.abc import Iterator


class RoomList:
    """Rooms by their last activity, the newest first. `changed_at`: when a room came or went for the last time, as a
    position in the log."""

    __slots__ = ("_order", "_places", "changed_at")

    def __init__(self, changed_at: int) -> None:
        self.changed_at = changed_at
        self._order: list[tuple[int, str]] = []  # the oldest activity first
        self._places: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._order)

    def __contains__(self, room_id: str) -> bool:
        return room_id in self._places

    def put(self, room_id: str, activity: int, now: int) -> None:
        """Add the room, or move it."""
        before = self._places.get(room_id)
        if before == activity:
            return
        if before is None:
            self.changed_at = now
        else:
            del self._order[bisect_left(self._order, (before, room_id))]
        self._places[room_id] = activity
        insort(self._order, (activity, room_id))

    def remove(self, room_id: str, now: int) -> None:
        """Take the room out, if it is there."""
        before = self._places.pop(room_id, None)
        if before is not None:
            del self._order[bisect_left(self._order, (before, room_id))]
            self.changed_at = now

    def rank(self, room_id: str) -> int | None:
        """The room's place, 0 for the newest; None where it is not in the list."""
        place = self._places.get(room_id)
        if place is None:
            return None
        return len(self._order) - 1 - bisect_left(self._order, (place, room_id))

    def between(self, first: int, last: int) -> Iterator[str]:
        """The rooms at these places, both included."""
        order = self._order
        for index in range(len(order) - 1 - first, max(len(order) - 2 - last, -1), -1):
            yield order[index][1]
