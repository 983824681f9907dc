"""What a client asks of sliding sync, once it is read; the unstable and the stable form of it are the same here."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final

from homeserver.services.sliding_sync.required_state import RoomConfig

THREAD_SUBSCRIPTIONS: Final = "io.element.msc4308.thread_subscriptions"
"""The extension of proposal 4308, which has no other name yet."""


@dataclass(frozen=True)
class ListFilter:
    """Which rooms a list holds; None where something does not matter. Proposal 4186, "SlidingRoomFilter"."""

    is_dm: bool | None = None
    is_encrypted: bool | None = None
    is_invited: bool | None = None
    spaces: frozenset[str] | None = None
    room_types: frozenset[str | None] | None = None
    not_room_types: frozenset[str | None] = frozenset()
    name_like: str | None = None
    tags: frozenset[str] | None = None
    not_tags: frozenset[str] = frozenset()


@dataclass(frozen=True)
class ListRequest:
    """A list. `ranges` are inclusive; None for all of it."""

    config: RoomConfig
    filter: ListFilter = ListFilter()
    ranges: tuple[tuple[int, int], ...] | None = None

    def covers(self, rank: int) -> bool:
        """Whether the room at that place of the list is in a window."""
        if self.ranges is None:
            return True
        return any(first <= rank <= last for first, last in self.ranges)

    @property
    def begins_at_the_top(self) -> bool:
        """Whether a room that comes to the top pushes no other one into a window."""
        return self.ranges is None or all(first == 0 for first, _ in self.ranges)


@dataclass(frozen=True)
class RoomExtension:
    """An extension about rooms: which lists' and which subscribed rooms; None for all. `delivered`, of receipts: the
    client takes part in telling what has arrived where."""

    lists: frozenset[str] | None = None
    rooms: frozenset[str] | None = None
    delivered: bool = False

    def covers(self, lists: tuple[str, ...], room_id: str, is_subscribed: bool) -> bool:
        """Whether a room that matched these lists is wanted."""
        if is_subscribed and (self.rooms is None or room_id in self.rooms):
            return True
        return bool(lists) and (self.lists is None or not self.lists.isdisjoint(lists))


@dataclass(frozen=True)
class ToDeviceExtension:
    """Messages to the device after `since`."""

    limit: int = 100
    since: int | None = None


@dataclass(frozen=True)
class Extensions:
    """The extensions that are enabled; None for the others. `thread_subscriptions`: how many changes at most."""

    to_device: ToDeviceExtension | None = None
    e2ee: bool = False
    account_data: RoomExtension | None = None
    receipts: RoomExtension | None = None
    typing: RoomExtension | None = None
    thread_subscriptions: int | None = None


@dataclass(frozen=True)
class SlidingSyncRequest:
    """A request of a device. `is_stable`: in the words of the proposal, rather than in those of its experiment."""

    user_id: str
    device_id: str | None
    conn_id: str = ""
    pos: str | None = None
    timeout_ms: int = 0
    set_presence: str = "online"
    lists: Mapping[str, ListRequest] = field(default_factory=dict)
    subscriptions: Mapping[str, RoomConfig] = field(default_factory=dict)
    extensions: Extensions = Extensions()
    txn_id: str | None = None
    is_stable: bool = False

    @property
    def rules(self) -> tuple[object, ...]:
        """Two requests with equal ones want the same rooms in the same way."""
        return (self.lists, self.subscriptions)
