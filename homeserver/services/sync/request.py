"""What a client asks of /sync."""

from dataclasses import dataclass

from homeserver.core.filters import Filter
from homeserver.core.tokens import SyncToken


@dataclass(frozen=True, slots=True)
class SyncRequest:
    """The parameters of /sync, read. `device_id` is None for requests that belong to no device."""

    user_id: str
    device_id: str | None
    since: SyncToken | None = None
    filter: Filter = Filter.ALL
    full_state: bool = False
    timeout_ms: int = 0
    set_presence: str = "online"
    use_state_after: bool = False

    @property
    def after(self) -> int:
        """The position that the client knows everything up to; 0 for nothing."""
        return 0 if self.since is None else self.since.position
