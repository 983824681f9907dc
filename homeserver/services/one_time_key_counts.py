"""How many one-time keys devices have left, from memory: every /sync asks. Implements sync's `KeyCounts`."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from homeserver.runtime.bus import Hint
from homeserver.services.bounded_cache import BoundedCache
from storage import e2ee_keys
from storage.database import Database, Write
from storage.streams import Stream

_PREFIX: Final = "one_time_keys:"
ALWAYS_COUNTED: Final = "signed_curve25519"
"""Clients take a count that is missing for "unchanged", so that it says 0 too."""


def one_time_keys_changed(tx: Write, user_id: str, device_id: str) -> None:
    """Have every process count a device's keys anew once this write is committed."""
    tx.position(Stream.CACHES, f"{_PREFIX}{user_id} {device_id}")


def device_of_hint(hint: Hint) -> tuple[str, str] | None:
    """(user id, device id) of the device whose keys are to be counted anew; None where the hint says nothing of it."""
    if hint.stream == Stream.CACHES and hint.keys[0].startswith(_PREFIX):
        user_id, _, device_id = hint.keys[0].removeprefix(_PREFIX).partition(" ")
        return user_id, device_id
    return None


@dataclass(frozen=True, slots=True)
class _Counted:
    counts: Mapping[str, int]
    unused_fallback: Sequence[str]


class OneTimeKeyCounts:
    """Counts of the devices that were asked for lately."""

    def __init__(self, database: Database, *, size: int = 20_000) -> None:
        self._database = database
        self._devices: BoundedCache[str, _Counted] = BoundedCache(size)
        self._changes = 0
        database.bus.subscribe(self._on_hints, self._forget_all)

    async def counts(self, user_id: str, device_id: str) -> Mapping[str, int]:
        """Unclaimed one-time keys by algorithm; `signed_curve25519` is always there."""
        return (await self._of(user_id, device_id)).counts

    async def unused_fallback(self, user_id: str, device_id: str) -> Sequence[str]:
        """Algorithms of fallback keys that nobody has used yet."""
        return (await self._of(user_id, device_id)).unused_fallback

    async def _of(self, user_id: str, device_id: str) -> _Counted:
        key = f"{user_id} {device_id}"
        counted = self._devices.get(key)
        if counted is not None:
            return counted
        changes = self._changes
        async with self._database.read() as tx:
            counts = await e2ee_keys.one_time_key_counts(tx, user_id, device_id)
            fallback = await e2ee_keys.fallback_keys_of(tx, user_id, device_id)
        unused = sorted(algorithm for algorithm, (_, _, used) in fallback.items() if not used)
        counted = _Counted({ALWAYS_COUNTED: 0} | counts, unused)
        if changes == self._changes:  # otherwise what was read may be of before the change
            self._devices.put(key, counted)
        return counted

    def _on_hints(self, hints: Sequence[Hint]) -> None:
        for hint in hints:
            if hint.stream == Stream.CACHES:
                for key in hint.keys:
                    if key.startswith(_PREFIX):
                        self._changes += 1
                        self._devices.drop(key.removeprefix(_PREFIX))

    def _forget_all(self) -> None:
        self._changes += 1
        self._devices.clear()
