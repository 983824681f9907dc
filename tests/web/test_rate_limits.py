"""Claims about token buckets."""

import pytest

from homeserver.config.account_sections import RateLimit, RateLimits
from homeserver.errors import LimitExceeded
from homeserver.runtime.clock import FrozenClock
from homeserver.web import rate_limits
from homeserver.web.rate_limits import RateLimiter


def limiter(clock: FrozenClock, per_second: float = 2, burst: int = 3, enabled: bool = True) -> RateLimiter:
    return RateLimiter(RateLimits(enabled=enabled, login=RateLimit(per_second, burst)), clock)


def test_burst_passes_and_the_next_one_waits_as_long_as_a_token_takes() -> None:
    clock = FrozenClock()
    limits = limiter(clock)
    for _ in range(3):
        limits.check("login", "alice")
    with pytest.raises(LimitExceeded) as refused:
        limits.check("login", "alice")
    assert 500 <= refused.value.extra["retry_after_ms"] <= 501
    clock.advance(0.501)
    limits.check("login", "alice")
    with pytest.raises(LimitExceeded):
        limits.check("login", "alice")


def test_refused_attempts_cost_nothing() -> None:
    clock = FrozenClock()
    limits = limiter(clock, burst=1)
    limits.check("login", "alice")
    for _ in range(10):
        with pytest.raises(LimitExceeded):
            limits.check("login", "alice")
    clock.advance(0.51)
    limits.check("login", "alice")


def test_each_key_and_each_bucket_has_tokens_of_its_own() -> None:
    limits = limiter(FrozenClock(), burst=1)
    limits.check("login", "alice")
    limits.check("login", "bob")
    limits.check("message", "alice")
    with pytest.raises(LimitExceeded):
        limits.check("login", "alice")


def test_asking_whether_it_would_pass_takes_nothing() -> None:
    limits = limiter(FrozenClock(), burst=1)
    assert limits.would_allow("login", "alice")
    assert limits.would_allow("login", "alice")
    limits.check("login", "alice")
    assert not limits.would_allow("login", "alice")


def test_disabled_limits_never_refuse() -> None:
    limits = limiter(FrozenClock(), burst=1, enabled=False)
    for _ in range(100):
        limits.check("login", "alice")


def test_flood_of_keys_does_not_grow_without_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rate_limits, "MAX_KEYS", 50)
    limits = limiter(FrozenClock(), burst=1)
    for number in range(500):
        limits.check("login", f"10.0.0.{number}")
    assert len(limits._buckets["login"]._full_at) <= 51
