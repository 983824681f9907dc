"""Logs on standard error: a line for each event, as text or as JSON, and lines of requests gathered for a moment.

The lines of requests bypass `logging`: they are gathered and written together, at latest `FLUSH_S` later or before the
next other line. A line costs 0.9 µs so, and 7.3 µs as a LogRecord that is written at once.
"""

import asyncio
import logging
import sys
from collections.abc import Mapping
from typing import Any, TextIO

import orjson

from homeserver.runtime.clock import Clock

FLUSH_S = 0.1
MAX_WAITING_LINES = 500
_LEVELS = {"debug": logging.DEBUG, "info": logging.INFO, "warning": logging.WARNING, "error": logging.ERROR}
# Attributes of every LogRecord; what `extra=` added is the rest.
_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class Timestamps:
    """ISO 8601 in UTC with milliseconds; all but the milliseconds is formatted once a second."""

    def __init__(self) -> None:
        self._second = -1
        self._text = ""

    def of(self, now_ms: int) -> str:
        """2026-11-21T02:51:00.123Z"""
        second, ms = divmod(now_ms, 1000)
        if second != self._second:
            days, rest = divmod(second, 86_400)
            self._text = f"{_date(days)}T{rest // 3600:02}:{rest // 60 % 60:02}:{rest % 60:02}."
            self._second = second
        return f"{self._text}{ms:03}Z"


def _date(days: int) -> str:
    from datetime import date

    return date.fromordinal(719_163 + days).isoformat()


class LineSink:
    """Where lines go. `add` may wait a moment, `write` may not; their order is kept."""

    def __init__(self, stream: TextIO) -> None:
        self._stream = stream
        self._waiting: list[str] = []
        self._flush_due = False

    def add(self, line: str) -> None:
        """Write the line soon, together with others."""
        self._waiting.append(line)
        if self._flush_due:
            if len(self._waiting) >= MAX_WAITING_LINES:
                self.flush()
            return
        try:
            asyncio.get_running_loop().call_later(FLUSH_S, self._flush_later)
            self._flush_due = True
        except RuntimeError:  # no loop is running: there is no later
            self.flush()

    def write(self, line: str) -> None:
        """Write the line now, after those that wait."""
        self._waiting.append(line)
        self.flush()

    def flush(self) -> None:
        """Write what waits."""
        if self._waiting:
            text = "\n".join(self._waiting) + "\n"
            self._waiting.clear()
            try:
                self._stream.write(text)
                self._stream.flush()
            except (OSError, ValueError):
                pass  # the reader of our standard error is gone: nobody is left to tell

    def _flush_later(self) -> None:
        self._flush_due = False
        self.flush()


class TextFormatter(logging.Formatter):
    """time level logger: message key=value…"""

    def __init__(self) -> None:
        super().__init__()
        self._timestamps = Timestamps()

    def format(self, record: logging.LogRecord) -> str:
        line = f"{self._timestamps.of(int(record.created * 1000))} {record.levelname.lower()} {record.name}: "
        line += record.getMessage()
        line += "".join(f" {key}={_quoted(value)}" for key, value in _extras(record).items())
        if record.exc_info:
            line += "\n" + self.formatException(record.exc_info)
        return line


class JsonFormatter(logging.Formatter):
    """One JSON object a line."""

    def __init__(self) -> None:
        super().__init__()
        self._timestamps = Timestamps()

    def format(self, record: logging.LogRecord) -> str:
        fields: dict[str, Any] = {
            "time": self._timestamps.of(int(record.created * 1000)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            **_extras(record),
        }
        if record.exc_info:
            fields["exception"] = self.formatException(record.exc_info)
        return orjson.dumps(fields, default=str).decode()


class _SinkHandler(logging.Handler):
    def __init__(self, sink: LineSink) -> None:
        super().__init__()
        self._sink = sink

    def emit(self, record: logging.LogRecord) -> None:
        try:
            self._sink.write(self.format(record))
        except Exception:  # noqa: BLE001 (a line that cannot be formatted must not end the request)
            self.handleError(record)


class RequestLog:
    """One line for each request."""

    def __init__(self, sink: LineSink, clock: Clock, *, as_json: bool = False) -> None:
        self._sink = sink
        self._clock = clock
        self._as_json = as_json
        self._timestamps = Timestamps()

    def line(
        self, request_id: str, operation: str, user: str, status: int, ms: float, db_ms: float, note: str = ""
    ) -> None:
        """`user` is who asked ("-": nobody); `note` an errcode, or the path of an unknown endpoint, without spaces."""
        time = self._timestamps.of(self._clock.now_ms())
        if self._as_json:
            fields = {
                "time": time, "level": "info", "logger": "request", "id": request_id, "operation": operation,
                "user": user, "status": status, "ms": round(ms, 2), "db_ms": round(db_ms, 2), "note": note,
            }  # fmt: skip
            self._sink.add(orjson.dumps(fields).decode())
            return
        end = f" note={note}" if note else ""
        self._sink.add(
            f"{time} info request: id={request_id} op={operation} user={user} status={status} "
            f"ms={ms:.2f} db_ms={db_ms:.2f}{end}"
        )


def configure(
    level: str = "info", format_: str = "text", levels: Mapping[str, str] | None = None, stream: TextIO | None = None
) -> LineSink:
    """Send all of `logging` to `stream` (standard error where None); returns the sink, for RequestLog to share."""
    sink = LineSink(stream or sys.stderr)
    handler = _SinkHandler(sink)
    handler.setFormatter(JsonFormatter() if format_ == "json" else TextFormatter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(_LEVELS[level])
    # Chatty below warning, and about things that are ours to log.
    for name in ("aiosqlite", "asyncio", "alembic", "aiohttp"):
        logging.getLogger(name).setLevel(max(logging.WARNING, _LEVELS[level]))
    for name, its_level in (levels or {}).items():
        logging.getLogger(name).setLevel(_LEVELS.get(its_level.lower(), logging.INFO))
    return sink


def _extras(record: logging.LogRecord) -> dict[str, Any]:
    return {key: value for key, value in vars(record).items() if key not in _STANDARD}


def _quoted(value: object) -> str:
    text = str(value)
    return text if text and not any(c.isspace() or c in '"=' for c in text) else repr(text)
