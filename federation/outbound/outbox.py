"""What waits for one server, and the transactions that are made of it (server-server-api §Transactions)."""

from collections import deque
from dataclasses import dataclass, field
from typing import Final

from homeserver.core.canonical_json import encode_text

MAX_PDUS: Final = 50
MAX_EDUS: Final = 100
MAX_WAITING: Final = 500
"""Events kept in memory for a server; of those beyond, only where they begin in the log."""
MAX_PASSING: Final = 1000
"""Typing, receipts and presence kept for a server; the oldest go first."""


@dataclass(frozen=True, slots=True)
class WaitingEvent:
    """An event on its way out. `body` is its PDU as canonical JSON, one object for all servers it goes to.

    `is_noted`: the server may not be in the room, so the database could not tell that the event is for it.
    """

    position: int
    nid: int
    event_id: str
    body: bytes
    is_noted: bool = False


@dataclass(slots=True)
class Outbox:
    """One server's. `sent_position`: everything up to there has arrived, as far as it concerns the server.

    `passing`: EDUs that are worth nothing later, by what replaces them. `has_edus`: there are durable ones in the
    database. `from_database`: events after `sent_position` are to be read from there, as memory does not hold all of
    them; `has_missed`: one more of those since that was last tried. `catches_up`: so many wait that of each room only
    the last is sent.
    """

    server_name: str
    sent_position: int
    events: deque[WaitingEvent] = field(default_factory=deque)
    passing: dict[tuple[str, ...], bytes] = field(default_factory=dict)
    has_edus: bool = False
    from_database: bool = False
    has_missed: bool = False
    catches_up: bool = False
    is_sending: bool = False

    @property
    def is_behind(self) -> bool:
        """Whether events wait."""
        return bool(self.events) or self.from_database

    @property
    def is_empty(self) -> bool:
        """Whether there is nothing to send."""
        return not (self.events or self.from_database or self.passing or self.has_edus)

    def add_event(self, event: WaitingEvent) -> None:
        """The event has to be sent, after all that wait."""
        if self.from_database:
            self.has_missed = True
            return
        if len(self.events) >= MAX_WAITING:
            self.give_up_memory()
            return
        self.events.append(event)

    def give_up_memory(self) -> None:
        """Read what waits from the database instead."""
        self.events.clear()
        self.from_database = True

    def add_passing(self, key: tuple[str, ...], edu: bytes) -> None:
        """An EDU in place of an earlier one with the same key."""
        self.passing.pop(key, None)
        self.passing[key] = edu
        if len(self.passing) > MAX_PASSING:
            del self.passing[next(iter(self.passing))]

    def take_passing(self, limit: int) -> list[bytes]:
        """Up to so many, the oldest first; they are gone even if they do not arrive."""
        keys = list(self.passing)[:limit]
        return [self.passing.pop(key) for key in keys]


def edu(edu_type: str, content: bytes) -> bytes:
    """An EDU as canonical JSON; `content` is canonical already."""
    return b'{"content":' + content + b',"edu_type":' + encode_text(edu_type) + b"}"


def transaction(origin: str, origin_server_ts: int, pdus: list[bytes], edus: list[bytes]) -> bytes:
    """The body of a transaction as canonical JSON, of parts that are canonical already."""
    return b'{"edus":[%b],"origin":%b,"origin_server_ts":%d,"pdus":[%b]}' % (
        b",".join(edus),
        encode_text(origin),
        origin_server_ts,
        b",".join(pdus),
    )
