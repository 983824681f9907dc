"""Lazily loaded members: which member events a device needs, and which it has already.

https://spec.matrix.org/v1.19/client-server-api/#lazy-loading-room-members
"""

from collections.abc import Iterable

from homeserver.services.bounded_cache import BoundedCache

_MAX_MEMBERS = 500


class LazyMembers:
    """What was sent to each device, and with which answer: only answers that the device has acknowledged count."""

    def __init__(self, *, size: int = 20_000) -> None:
        self._sent: BoundedCache[tuple[str, str | None, str], dict[str, tuple[str, int]]] = BoundedCache(size)

    def is_known(
        self, user_id: str, device_id: str | None, room_id: str, member: str, event_id: str, since: int
    ) -> bool:
        """Whether the device has that member event since an answer not later than `since`."""
        sent = self._sent.get((user_id, device_id, room_id))
        if sent is None or (known := sent.get(member)) is None:
            return False
        return known[0] == event_id and known[1] <= since

    def note(
        self, user_id: str, device_id: str | None, room_id: str, members: Iterable[tuple[str, str]], upto: int
    ) -> None:
        """These members' events (member, event id) go out with the answer that ends at `upto`."""
        key = (user_id, device_id, room_id)
        sent = self._sent.get(key)
        if sent is None or len(sent) > _MAX_MEMBERS:
            sent = {}
            self._sent.put(key, sent)
        for member, event_id in members:
            known = sent.get(member)
            if known is None or known[0] != event_id:
                sent[member] = (event_id, upto)
