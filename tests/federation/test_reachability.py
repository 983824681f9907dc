from federation.outbound.reachability import Failing, Reachability
from homeserver.runtime.clock import FrozenClock
from homeserver.runtime.random import SeededRandomness


def subject() -> tuple[Reachability, FrozenClock]:
    clock = FrozenClock()
    return Reachability(clock, SeededRandomness(), retry_min_s=2, retry_max_s=10), clock


def test_pauses_double_up_to_the_longest() -> None:
    reachability, clock = subject()
    intervals = []
    for _ in range(5):
        reachability.failed("a")
        failing = reachability.failing("a")
        assert failing is not None
        intervals.append(failing.interval)
        assert not reachability.may_try("a")
        clock.advance(15)
        assert reachability.may_try("a")
    assert intervals == [2000, 4000, 8000, 10000, 10000]


def test_requests_that_end_during_a_pause_do_not_lengthen_it() -> None:
    reachability, _ = subject()
    reachability.failed("a")
    before = reachability.failing("a")
    reachability.failed("a")
    assert reachability.failing("a") == before


def test_success_ends_the_pause_and_is_told() -> None:
    reachability, _ = subject()
    told: list[tuple[str, Failing | None]] = []
    reachability.failed("a")
    reachability.listeners.append(lambda server, failing: told.append((server, failing)))
    reachability.succeeded("a")
    reachability.succeeded("a")
    assert reachability.may_try("a")
    assert told == [("a", None)]
