"""Claims about metrics and logs."""

import asyncio
import io
import json
import logging
import re
from collections.abc import Iterator

import pytest

from homeserver.runtime import logs
from homeserver.runtime.clock import FrozenClock
from homeserver.runtime.metrics import Registry
from homeserver.runtime.telemetry import Telemetry, add_db_ms, begin_db_ms


@pytest.fixture(autouse=True)
def restored_logging() -> Iterator[None]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    yield
    root.handlers[:] = handlers
    root.setLevel(level)


def test_exposition_is_prometheus_text() -> None:
    registry = Registry({"worker": "1"})
    registry.counter("hits_total", "Hits.", path='a"b').inc()
    registry.counter("hits_total", "Hits.", path='a"b').inc(2)
    registry.gauge("size", "Size.").set(1.5)
    histogram = registry.histogram("seconds", "Time.", (0.1, 1.0))
    for value in (0.1, 0.5, 7):
        histogram.observe(value)
    assert registry.exposition().decode() == (
        "# HELP hits_total Hits.\n# TYPE hits_total counter\n"
        'hits_total{worker="1",path="a\\"b"} 3\n'
        "# HELP size Size.\n# TYPE size gauge\n"
        'size{worker="1"} 1.5\n'
        "# HELP seconds Time.\n# TYPE seconds histogram\n"
        'seconds_bucket{worker="1",le="0.1"} 1\n'
        'seconds_bucket{worker="1",le="1.0"} 2\n'
        'seconds_bucket{worker="1",le="+Inf"} 3\n'
        'seconds_sum{worker="1"} 7.6\n'
        'seconds_count{worker="1"} 3\n'
    )


def test_metric_cannot_be_two_things() -> None:
    registry = Registry()
    registry.counter("x", "X.")
    with pytest.raises(ValueError, match="exists as a counter"):
        registry.gauge("x", "X.")


def test_process_metrics_are_set_when_asked_for() -> None:
    text = Telemetry().metrics.exposition().decode()
    assert re.search(r"^process_resident_memory_bytes \d{7,}$", text, re.MULTILINE)
    assert "process_cpu_seconds_total" in text


async def test_database_time_adds_up_over_the_tasks_of_a_request() -> None:
    async def request() -> float:
        total = begin_db_ms()
        await asyncio.gather(*(asyncio.create_task(query(ms)) for ms in (1.0, 2.0)))
        return total[0]

    async def query(ms: float) -> None:
        add_db_ms(ms)

    add_db_ms(100)
    assert await asyncio.gather(*(asyncio.create_task(request()) for _ in range(2))) == [3.0, 3.0]


def test_text_log_is_one_line_with_its_extras() -> None:
    stream = io.StringIO()
    logs.configure(stream=stream)
    logging.getLogger("homeserver.test").warning("room %s", "!a:b", extra={"count": 3, "why": "two words"})
    assert re.fullmatch(
        r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z warning homeserver\.test: room !a:b count=3 why='two words'\n",
        stream.getvalue(),
    )


def test_json_log_is_one_object_a_line_with_the_exception() -> None:
    stream = io.StringIO()
    logs.configure(format_="json", stream=stream)
    try:
        raise LookupError("boom")
    except LookupError:
        logging.getLogger("x").exception("failed", extra={"n": 1})
    (line,) = stream.getvalue().splitlines()
    fields = json.loads(line)
    assert (fields["level"], fields["logger"], fields["message"], fields["n"]) == ("error", "x", "failed", 1)
    assert "LookupError: boom" in fields["exception"]


def test_levels_of_single_loggers_can_be_set() -> None:
    stream = io.StringIO()
    logs.configure("warning", levels={"homeserver.loud": "debug"}, stream=stream)
    logging.getLogger("homeserver.loud").debug("heard")
    logging.getLogger("homeserver.quiet").info("unheard")
    assert "heard" in stream.getvalue()
    assert "unheard" not in stream.getvalue()
    logging.getLogger("homeserver.loud").setLevel(logging.NOTSET)


def test_time_stamps_are_right_to_the_millisecond() -> None:
    stamps = logs.Timestamps()
    assert stamps.of(1_700_000_000_007) == "2023-11-14T22:13:20.007Z"
    assert stamps.of(1_700_000_000_999) == "2023-11-14T22:13:20.999Z"
    assert stamps.of(1_709_251_199_000) == "2024-02-29T23:59:59.000Z"


async def test_lines_of_requests_are_gathered_and_stay_in_order() -> None:
    stream = io.StringIO()
    sink = logs.LineSink(stream)
    request_log = logs.RequestLog(sink, FrozenClock())
    request_log.line("1f", "sync", "@a:b", 200, 1.234, 0.5)
    assert stream.getvalue() == "", "it waits for others"
    sink.write("something else")
    first, second = stream.getvalue().splitlines()
    assert first.endswith("info request: id=1f op=sync user=@a:b status=200 ms=1.23 db_ms=0.50")
    assert second == "something else"


def test_line_of_a_request_as_json() -> None:
    stream = io.StringIO()
    logs.RequestLog(logs.LineSink(stream), FrozenClock(), as_json=True).line("1", "sync", "-", 401, 1, 0, "M_X")
    fields = json.loads(stream.getvalue())
    assert (fields["operation"], fields["status"], fields["note"]) == ("sync", 401, "M_X")


def test_log_whose_reader_is_gone_stops_nobody() -> None:
    stream = io.StringIO()
    sink = logs.LineSink(stream)
    stream.close()
    sink.write("into the void")
