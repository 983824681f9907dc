"""Suspended users may read, leave rooms and redact what they said, and little else.

https://spec.matrix.org/v1.19/client-server-api/#account-suspension
"""

from typing import Protocol

from homeserver.errors import UserSuspended


class MayBeSuspended(Protocol):
    """A requester, as far as this is concerned."""

    @property
    def is_suspended(self) -> bool: ...


def refuse_suspended(requester: MayBeSuspended) -> None:
    """Raises `UserSuspended` where the requester is suspended."""
    if requester.is_suspended:
        raise UserSuspended
