"""What a mail about unread messages says: as plain text, and as HTML in which nothing that people wrote is markup."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from html import escape
from typing import Final
from urllib.parse import quote

_MAX_TEXT: Final = 500
_CELL: Final = "padding:4px 0;vertical-align:top"


@dataclass(frozen=True, slots=True)
class DigestMessage:
    """`sent_at` in ms since the epoch."""

    sender: str
    sent_at: int
    text: str


@dataclass(frozen=True, slots=True)
class DigestRoom:
    """`messages`, the oldest first, are some of the `count` that are unread; none where they are encrypted."""

    room_id: str
    name: str
    count: int
    messages: Sequence[DigestMessage]

    @property
    def url(self) -> str:
        """Where any client opens the room."""
        return f"https://matrix.to/#/{quote(self.room_id, safe='!:')}"

    @property
    def more(self) -> str:
        """What there is beside the messages that are shown; empty where that is nothing."""
        left = self.count - len(self.messages)
        if left <= 0:
            return ""
        word = "message" if left == 1 else "messages"
        return f"{left} more {word}" if self.messages else f"{left} {word}"


@dataclass(frozen=True, slots=True)
class Digest:
    """All that one mail tells."""

    server_name: str
    user_id: str
    rooms: Sequence[DigestRoom]
    unsubscribe_url: str

    def subject(self) -> str:
        """One line."""
        count = sum(room.count for room in self.rooms)
        what = "1 unread message" if count == 1 else f"{count} unread messages"
        where = f"in {_line(self.rooms[0].name)}" if len(self.rooms) == 1 else f"in {len(self.rooms)} rooms"
        return f"[{self.server_name}] {what} {where}"

    def text(self) -> str:
        """The plain text."""
        lines = [f"What you have not read yet, {self.user_id}:", ""]
        for room in self.rooms:
            lines += [f"== {_line(room.name)}", room.url]
            for message in room.messages:
                first, *rest = message.text.splitlines() or [""]
                lines.append(f"{_time(message.sent_at)} {_line(message.sender)}: {first}")
                lines += [f"    {line}" for line in rest]
            lines += [*([room.more] if room.more else []), ""]
        return "\n".join([*lines, "No more of these mails:", self.unsubscribe_url, ""])

    def html(self) -> str:
        """The same for programs that show HTML."""
        rooms = "".join(self._room(room) for room in self.rooms)
        return (
            '<!doctype html><html><meta charset="utf-8"><body style="font:15px/1.4 sans-serif;color:#222">'
            f"<p>What you have not read yet, {escape(self.user_id)}:</p>{rooms}"
            f'<p style="font-size:12px"><a href="{escape(self.unsubscribe_url)}">No more of these mails</a></p>'
            "</body></html>"
        )

    def _room(self, room: DigestRoom) -> str:
        rows = "".join(
            f'<tr><td style="{_CELL};color:#666;white-space:nowrap;padding-right:8px">{_time(message.sent_at)}</td>'
            f'<td style="{_CELL}"><b>{escape(_line(message.sender))}</b><br>'
            f"{'<br>'.join(escape(line) for line in message.text.splitlines())}</td></tr>"
            for message in room.messages
        )
        more = f"<p>{escape(room.more)}</p>" if room.more else ""
        return (
            f'<h3><a href="{escape(room.url)}">{escape(_line(room.name))}</a></h3>'
            f"{f'<table>{rows}</table>' if rows else ''}{more}"
        )


def shortened(text: str) -> str:
    """As much of what somebody wrote as a mail shows."""
    clean = "".join(c for c in text if c == "\n" or c.isprintable())
    return clean if len(clean) <= _MAX_TEXT else clean[: _MAX_TEXT - 1] + "…"


def _line(text: str) -> str:
    return " ".join("".join(c if c.isprintable() else " " for c in text).split())[:200]


def _time(ms: int) -> str:
    try:
        return datetime.fromtimestamp(ms / 1000, UTC).strftime("%d %b %H:%M UTC")
    except (OverflowError, OSError, ValueError):
        return ""
