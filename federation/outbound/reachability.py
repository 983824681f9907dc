"""Which servers cannot be reached at present, and when each may be tried again."""

from collections.abc import Callable
from dataclasses import dataclass

from homeserver.runtime.clock import Clock
from homeserver.runtime.random import Randomness


@dataclass(frozen=True, slots=True)
class Failing:
    """A server that fails: since when and until when it is left alone (ms since the epoch), and the last pause (ms)."""

    since: int
    retry_at: int
    interval: int


Listener = Callable[[str, Failing | None], None]


class Reachability:
    """Exponential back-off by server, shared by everything that sends requests.

    Only memory; the sender stores what changes, and puts it back at the start.
    """

    def __init__(self, clock: Clock, randomness: Randomness, *, retry_min_s: float, retry_max_s: float) -> None:
        self._clock = clock
        self._randomness = randomness
        self._min_ms = int(retry_min_s * 1000)
        self._max_ms = int(retry_max_s * 1000)
        self._failing: dict[str, Failing] = {}
        self.listeners: list[Listener] = []
        """Called with a server and what is now known of it (None: it can be reached), after every change."""

    def may_try(self, server_name: str) -> bool:
        """Whether no pause is running for the server."""
        failing = self._failing.get(server_name)
        return failing is None or failing.retry_at <= self._clock.now_ms()

    def failing(self, server_name: str) -> Failing | None:
        """What is known of a server that fails, None where it does not."""
        return self._failing.get(server_name)

    def restore(self, server_name: str, failing: Failing) -> None:
        """Puts back what was stored before the start."""
        self._failing[server_name] = failing

    def succeeded(self, server_name: str) -> None:
        """The server answered, or sent a request itself: it may be tried again at once."""
        if self._failing.pop(server_name, None) is not None:
            self._tell(server_name, None)

    def failed(self, server_name: str) -> None:
        """The server did not answer. Requests that ended during the same pause lengthen it once only."""
        now = self._clock.now_ms()
        before = self._failing.get(server_name)
        if before is not None and before.retry_at > now:
            return
        interval = self._min_ms if before is None else min(before.interval * 2, self._max_ms)
        pause = int(self._randomness.jitter(interval))
        failing = Failing(now if before is None else before.since, now + pause, interval)
        self._failing[server_name] = failing
        self._tell(server_name, failing)

    def _tell(self, server_name: str, failing: Failing | None) -> None:
        for listener in tuple(self.listeners):
            listener(server_name, failing)
