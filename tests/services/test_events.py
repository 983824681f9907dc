"""What is kept of events in memory: as new as the newest that happened to them, though that comes while they are read."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest

from storage import events as storage_events
from storage.database import Database, Read
from tests.services.spine import ALICE, Spine
from tests.services.test_send_event_processes import Processes, processes

__all__ = ["processes"]

During = Callable[[Callable[[], Awaitable[Any]]], None]


@pytest.fixture
async def spine(database_url: str) -> AsyncIterator[Spine]:
    database = await Database.open(database_url, readers=2)
    yield Spine(database)
    await database.close()


@pytest.fixture
def after_the_next_read(monkeypatch: pytest.MonkeyPatch) -> During:
    """Something happens when events have been read, and whoever asked for them does not have them yet."""
    original = storage_events.load

    def arrange(happening: Callable[[], Awaitable[Any]]) -> None:
        pending = [happening]

        async def load(tx: Read, event_ids: Sequence[str]) -> Any:
            rows = await original(tx, event_ids)
            if pending:
                await pending.pop()()
            return rows

        monkeypatch.setattr(storage_events, "load", load)

    return arrange


async def body(spine: Spine, event_id: str) -> str | None:
    stored = await spine.events.get(event_id)
    assert stored is not None
    return stored.shown.content.get("body")


async def test_a_redaction_while_an_event_is_read_is_not_undone(spine: Spine, after_the_next_read: During) -> None:
    room_id = await spine.new_room()
    said = await spine.say(ALICE, room_id, "regretted")
    spine.database.bus._gap()  # nothing is in memory
    after_the_next_read(lambda: spine.send.redact(ALICE, room_id, said, {}, None))
    assert await body(spine, said) is None
    assert await body(spine, said) is None


async def test_a_redaction_by_another_process_while_an_event_is_read_is_not_undone(
    processes: Processes, after_the_next_read: During
) -> None:
    first, second = processes
    room_id = await first.new_room()
    said = await first.say(ALICE, room_id, "regretted")
    after_the_next_read(lambda: first.send.redact(ALICE, room_id, said, {}, None))
    await body(second, said)
    assert await body(second, said) is None
