"""Sync and pagination tokens: the opaque strings that clients hold between requests.

`s{position}_{ephemeral}` is a sync token, `t{depth}_{position}` a pagination token. Both are plain text, so an operator
can read them in a log. Numbers are decimal, without leading zeros, and fit a signed 64-bit column; only the position of
a pagination token may be negative: history that arrives late counts downwards below zero.

Source: https://spec.matrix.org/v1.19/client-server-api/#syncing and #pagination.
"""

import re
from dataclasses import dataclass
from typing import Final

MAX_NUMBER: Final = 2**63 - 1

_TOKEN = re.compile(r"(?:(s)|t)(0|[1-9][0-9]{0,18})_(0|(?(1)|-?)[1-9][0-9]{0,18})")

# What stands before the sync token in a `pos`: a connection and a state of it.
_CONNECTION = re.compile(r"\A[0-9]{1,19}\.[0-9]{1,19}/(?=s)")


class InvalidToken(ValueError):
    """The text is not a token that this server gives out."""


@dataclass(frozen=True, slots=True, order=True)
class SyncToken:
    """A point in everything that a user can be told about; whoever holds it has seen all up to and including it.

    `position` is the commit-ordered position that all durable streams share; `ephemeral` is the local arrival stamp,
    in microseconds, of what is never stored (typing, presence).
    """

    position: int
    ephemeral: int = 0

    def __str__(self) -> str:
        return f"s{self.position}_{self.ephemeral}"


@dataclass(frozen=True, slots=True, order=True)
class PaginationToken:
    """A gap between two events of a room's timeline, which is ordered by (depth, position).

    The token (d, p) stands directly before an event at (d, p). So `dir=b` returns the events whose (depth, position) is
    less than the token, newest first; `dir=f` returns those that are equal or greater, oldest first.
    """

    depth: int
    position: int

    @classmethod
    def before(cls, depth: int, position: int) -> "PaginationToken":
        """The gap directly before the event at (depth, position): `prev_batch` of a timeline that starts with it."""
        return cls(depth, position)

    @classmethod
    def after(cls, depth: int, position: int) -> "PaginationToken":
        """The gap directly after the event at (depth, position). Positions are whole numbers, so nothing is skipped."""
        return cls(depth, position + 1)

    def is_before(self, depth: int, position: int) -> bool:
        """Whether the event at (depth, position) lies on the `dir=f` side of this token."""
        return (self.depth, self.position) <= (depth, position)

    def __str__(self) -> str:
        return f"t{self.depth}_{self.position}"


def parse_token(text: str) -> SyncToken | PaginationToken:
    """Read a token that a client sent back; the `pos` of a sliding sync connection counts as the sync token that it
    ends with. Raises InvalidToken."""
    match = _TOKEN.fullmatch(_CONNECTION.sub("", text))
    if match is None:
        raise InvalidToken("not a token of this server")
    kind, first, second = match.groups()
    left, right = int(first), int(second)
    if left > MAX_NUMBER or abs(right) > MAX_NUMBER:
        raise InvalidToken("token out of range")
    return SyncToken(left, right) if kind is not None else PaginationToken(left, right)


def parse_sync_token(text: str) -> SyncToken:
    """Read a token where only a sync token makes sense (`since`). Raises InvalidToken."""
    token = parse_token(text)
    if not isinstance(token, SyncToken) or _CONNECTION.match(text):
        raise InvalidToken("not a sync token")
    return token
