"""What /sync reads from other parts of the server, as it needs it. They are passed in by the composition root."""

from collections.abc import Collection, Mapping, Sequence
from typing import Any, Protocol


class ToDeviceReader(Protocol):
    """Messages to devices that wait for their device."""

    async def pending(
        self, user_id: str, device_id: str, since: int, upto: int, limit: int
    ) -> tuple[Sequence[bytes], int | None]:
        """The messages at positions of (since, upto], oldest first, as JSON text, and the position of the last of them
        where `limit` cut off more."""
        ...

    async def postpone(self, user_id: str, device_id: str, after: int, upto: int) -> None:
        """Give the messages at positions of (after, upto] new ones at the end of the log, in order."""
        ...

    async def delete_up_to(self, user_id: str, device_id: str, position: int) -> None:
        """Forget what the device has received: all messages up to the position."""
        ...


class KeyCounts(Protocol):
    """The one-time keys that a device has left on the server. Answered from memory: every /sync asks."""

    async def counts(self, user_id: str, device_id: str) -> Mapping[str, int]:
        """Unclaimed one-time keys by algorithm; `signed_curve25519` is always there."""
        ...

    async def unused_fallback(self, user_id: str, device_id: str) -> Sequence[str]:
        """Algorithms of fallback keys that nobody has used yet."""
        ...


class DeviceListChanges(Protocol):
    """The log of users whose devices or keys changed."""

    async def between(self, after: int, upto: int) -> Sequence[str]:
        """The users with a change at a position of (after, upto]."""
        ...

    async def sharing_rooms(self, user_id: str, others: Collection[str]) -> set[str]:
        """Those of the others who are in a room that the user is in."""
        ...


class NoToDevice:
    """Where no messages are sent to devices."""

    async def pending(
        self, user_id: str, device_id: str, since: int, upto: int, limit: int
    ) -> tuple[Sequence[bytes], int | None]:
        return (), None

    async def postpone(self, user_id: str, device_id: str, after: int, upto: int) -> None:
        return None

    async def delete_up_to(self, user_id: str, device_id: str, position: int) -> None:
        return None


class NoKeys:
    """Where devices have no keys."""

    async def counts(self, user_id: str, device_id: str) -> Mapping[str, int]:
        return {"signed_curve25519": 0}

    async def unused_fallback(self, user_id: str, device_id: str) -> Sequence[str]:
        return ()


class NoDeviceLists:
    """Where nobody's devices change."""

    async def between(self, after: int, upto: int) -> Sequence[str]:
        return ()

    async def sharing_rooms(self, user_id: str, others: Collection[str]) -> set[str]:
        return set()


JSON = dict[str, Any]
