"""What waits to be sent to one push gateway for one pusher."""

import asyncio
from collections import OrderedDict
from dataclasses import dataclass, field
from typing import Final

from homeserver.core.push_rules import Verdict
from storage.pushers import PusherRow

# Who could not be told for long wants to know the newest, not all of it.
MAX_WAITING: Final = 100
RETRY_MIN_S: Final = 2.0
RETRY_MAX_S: Final = 3600.0
GIVE_UP_MS: Final = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class WaitingPush:
    """An event that the user is to be told of."""

    position: int
    event_id: str
    verdict: Verdict


@dataclass(slots=True, eq=False)
class PushQueue:
    """The queue of a pusher. `after`: the position up to which its user was told before it was loaded.

    `retry_at` and `failing_since` in ms since the epoch. `tells_badge`: the user has read something.
    """

    pusher: PusherRow
    after: int
    waiting: OrderedDict[int, WaitingPush] = field(default_factory=OrderedDict)
    tells_badge: bool = False
    is_gone: bool = False
    pause_s: float = 0.0
    retry_at: int = 0
    failing_since: int | None = None
    task: asyncio.Task[None] | None = None

    @property
    def has_work(self) -> bool:
        """Whether something waits."""
        return not self.is_gone and (bool(self.waiting) or self.tells_badge)

    def add(self, push: WaitingPush) -> None:
        """Have an event told of, once. What is too much is left out, the oldest first."""
        if push.position <= self.after or push.position in self.waiting:
            return
        self.waiting[push.position] = push
        if len(self.waiting) > MAX_WAITING:
            self.waiting.popitem(last=False)

    def sent(self, push: WaitingPush) -> None:
        """The user has been told."""
        self.waiting.pop(push.position, None)

    def failed(self, now_ms: int, pause_s: float) -> None:
        """Try again after a pause. After a day of that, forget what waits."""
        if self.failing_since is None:
            self.failing_since = now_ms
        self.pause_s, self.retry_at = pause_s, now_ms + round(pause_s * 1000)
        if now_ms - self.failing_since >= GIVE_UP_MS:
            self.waiting.clear()
            self.tells_badge = False

    def next_pause(self) -> float:
        """How long to wait after another failure, in seconds."""
        return min(max(self.pause_s * 2, RETRY_MIN_S), RETRY_MAX_S)

    def succeeded(self) -> None:
        """The gateway works."""
        self.failing_since, self.pause_s, self.retry_at = None, 0.0, 0

    def progress(self) -> tuple[int | None, int | None]:
        """What is durable of it: (sent_position, failing_since)."""
        first = next(iter(self.waiting), None)
        return (None if first is None else first - 1), self.failing_since
