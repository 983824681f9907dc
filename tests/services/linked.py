"""Two processes over one database, in one loop: what one publishes, the other hears, unless the link is cut."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from homeserver.runtime.bus import Bus, Hint
from homeserver.runtime.bus_redis import decode_hints, encode_hints
from storage.database import Database


class LinkedBus(Bus):
    """Delivers to the other process what would go over the wire, unless the link is cut."""

    other: "LinkedBus"
    is_cut = False

    def publish(self, hints: list[Hint]) -> None:
        super().publish(hints)
        if not self.is_cut and hints:
            self.other._deliver(decode_hints(encode_hints("1", hints))[1])


@asynccontextmanager
async def linked_databases(url: str) -> AsyncIterator[tuple[Database, Database]]:
    """The database as each of two processes has it; their buses are linked."""
    left, right = LinkedBus(), LinkedBus()
    left.other, right.other = right, left
    first = await Database.open(url, bus=left, is_shared=True)
    second = await Database.open(url, bus=right, is_shared=True)
    yield first, second
    await first.close()
    await second.close()
