"""Token buckets: each key (a user, an address…) may do `burst` things at once, and `per_second` in the long run."""

from homeserver.config.account_sections import RateLimit, RateLimits
from homeserver.errors import LimitExceeded
from homeserver.runtime.clock import Clock

MAX_KEYS = 20_000


class RateLimiter:
    """The buckets of this process. With limits off, `check` costs one comparison."""

    def __init__(self, config: RateLimits, clock: Clock) -> None:
        self.enabled = config.enabled
        self._clock = clock
        self._buckets = {name: _Bucket(getattr(config, name)) for name in config.bucket_names()}

    def __contains__(self, bucket: str) -> bool:
        return bucket in self._buckets

    def check(self, bucket: str, key: str, cost: float = 1.0) -> None:
        """Take `cost` tokens out of the key's bucket; raises LimitExceeded where there are not as many."""
        if self.enabled:
            wait_s = self._buckets[bucket].take(key, cost, self._clock.monotonic())
            if wait_s > 0:
                raise LimitExceeded(retry_after_ms=int(wait_s * 1000) + 1)

    def would_allow(self, bucket: str, key: str) -> bool:
        """Whether `check` would let this pass; takes nothing."""
        return not self.enabled or self._buckets[bucket].take(key, 0.0, self._clock.monotonic()) <= 0


class _Bucket:
    """Kept for each key is one number: the time at which its bucket will be full again."""

    def __init__(self, limit: RateLimit) -> None:
        self._interval = 1 / limit.per_second if limit.per_second > 0 else 86_400.0
        self._tolerance = self._interval * limit.burst
        self._full_at: dict[str, float] = {}

    def take(self, key: str, cost: float, now: float) -> float:
        """Takes the tokens and returns 0, or takes nothing and returns how many seconds to wait."""
        full_at = max(self._full_at.get(key, now), now) + cost * self._interval
        # A hair of tolerance, since the sum of many intervals is not exact.
        wait = full_at - now - self._tolerance
        if cost == 0:
            wait += self._interval
        if wait > 1e-9:
            return wait
        if cost:
            self._full_at[key] = full_at
            if len(self._full_at) > MAX_KEYS:
                self._forget_full(now)
        return 0.0

    def _forget_full(self, now: float) -> None:
        self._full_at = {key: full_at for key, full_at in self._full_at.items() if full_at > now}
        if len(self._full_at) > MAX_KEYS:  # a flood of keys: those with the most tokens left lose the least
            newest = sorted(self._full_at.items(), key=lambda item: item[1])[MAX_KEYS // 2 :]
            self._full_at = dict(newest)
