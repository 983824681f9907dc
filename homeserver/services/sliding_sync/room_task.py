"""A room of an answer: what is wanted of it, and what the client has of it."""

from dataclasses import dataclass

from homeserver.services.sliding_sync.connections import SentRoom
from homeserver.services.sliding_sync.required_state import RoomConfig


@dataclass(frozen=True, slots=True)
class RoomTask:
    """`sent` None: the client gets the whole room. Else it has everything up to `since`. `upto` is where the room ends
    for this user: the answer's place in the log, or that of their leaving. `joined_at`: see `SyncUser.joined`;
    `was_joined`: whether a room that the user is not in is one that they were in. `became_whole`: members who were
    there all along are known only since the client was last told of the room."""

    room_id: str
    nid: int
    membership: str
    config: RoomConfig
    lists: tuple[str, ...]
    is_subscribed: bool
    sent: SentRoom | None
    since: int
    upto: int
    joined_at: int
    is_dm: bool
    was_joined: bool = True
    became_whole: bool = False

    @property
    def is_joined(self) -> bool:
        return self.membership == "join"

    @property
    def is_outside(self) -> bool:
        """Whether there is only stripped state to show."""
        return self.membership in ("invite", "knock")

    @property
    def is_expanded(self) -> bool:
        """Whether the client wants more of the timeline than it has."""
        return self.sent is not None and self.config.timeline_limit > self.sent.timeline_limit
