"""What the server tells about itself: metrics, the line of each request, and how long the database took for it."""

from contextvars import ContextVar

from homeserver.runtime.clock import Clock
from homeserver.runtime.logs import LineSink, RequestLog
from homeserver.runtime.metrics import Registry

# Milliseconds that the present request spent on the database: a list of one number, which every task that works for
# the request shares, or None outside of requests.
_db_ms: ContextVar[list[float] | None] = ContextVar("db_ms", default=None)


def begin_db_ms() -> list[float]:
    """Begin to count the database's time for the present task and those it starts; `[0]` of the result is the sum."""
    total = [0.0]
    _db_ms.set(total)
    return total


def add_db_ms(ms: float) -> None:
    """Count time that the database took (the storage layer calls this); nothing happens outside of requests."""
    total = _db_ms.get()
    if total is not None:
        total[0] += ms


class Telemetry:
    """Metrics and the log of requests of one process; the composition root makes one and hands it on."""

    def __init__(self, clock: Clock | None = None, *, worker: int | None = None) -> None:
        self.clock = clock or Clock()
        self.metrics = Registry({} if worker is None else {"worker": str(worker)})
        self.request_log: RequestLog | None = None
        self._started = self.clock.monotonic()
        self.metrics.on_collect(self._collect_process)

    def log_requests_to(self, sink: LineSink, *, as_json: bool = False) -> None:
        """Write a line for each request to `sink` (what `logs.configure` returned)."""
        self.request_log = RequestLog(sink, self.clock, as_json=as_json)

    def _collect_process(self) -> None:
        import resource

        usage = resource.getrusage(resource.RUSAGE_SELF)
        cpu = self.metrics.counter("process_cpu_seconds_total", "CPU time of this process, user and system.")
        cpu.set(usage.ru_utime + usage.ru_stime)
        self.metrics.gauge("process_resident_memory_bytes", "Memory of this process.").set(_resident_bytes())
        uptime = self.metrics.gauge("hearth_uptime_seconds", "How long this process has been running.")
        uptime.set(round(self.clock.monotonic() - self._started, 3))


def _resident_bytes() -> int:
    import resource

    try:
        with open("/proc/self/statm", encoding="ascii") as statm:
            return int(statm.read().split()[1]) * resource.getpagesize()
    except OSError:  # not Linux: the peak is the best there is
        return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024
