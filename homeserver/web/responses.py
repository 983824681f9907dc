"""What a handler may return beside a dict (JSON) and bytes (JSON that is ready): the few other kinds of answers."""

from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from homeserver.web.sockets import Socket


@dataclass(frozen=True, slots=True)
class Raw:
    """A body that is not JSON.

    A Path is sent from the disk; an iterator chunk by chunk, with its length where `headers` has a Content-Length.
    `status_name` is one of `homeserver.web.statuses.NAMES`: "ok", "partial_content", "not_modified",
    "range_not_satisfiable"…
    """

    body: bytes | AsyncIterator[bytes] | Path = b""
    content_type: str = "application/octet-stream"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    status_name: str = "ok"
    offset: int = 0  # for a Path: where to begin…
    length: int | None = None  # …and how many bytes to send (None: to the end)


@dataclass(frozen=True, slots=True)
class Redirect:
    """Look there instead (302, or 307 where `temporary`)."""

    url: str
    temporary: bool = False
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Json:
    """JSON with a status other than 200, or with further headers."""

    body: dict[str, Any] | list[Any] | bytes
    status_name: str = "ok"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])


@dataclass(frozen=True, slots=True)
class Conversation:
    """The connection becomes a WebSocket, and `hold` speaks over it; when it returns, the WebSocket is closed.

    What it raises is told to the client, as any error. `goodbye` is the reason given where the server stops.
    """

    hold: "Callable[[Socket], Awaitable[None]]"
    goodbye: str = ""
