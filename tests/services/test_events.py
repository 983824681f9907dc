"""What memory has of events is as new as what happened to them last, though that comes while they are read."""

from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from typing import Any

import pytest

from storage import events as storage_events
from storage.database import Database, Read
from tests.services.foreign import ZOE, Foreign
from tests.services.spine import ALICE, Spine
from tests.services.test_persist_event import receive, with_zoe
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
    spine.database.bus.gap()  # nothing is in memory
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


async def test_other_processes_learn_that_an_event_without_a_place_has_one_now(processes: Processes) -> None:
    first, second = processes
    foreign = Foreign()
    room_id, join_id = await with_zoe(first, foreign)
    topic = await foreign.reply(first, room_id, ZOE, "m.room.topic", {"topic": "t"}, "", prev=[join_id])
    await receive(first, topic, outlier=True)
    known = await second.events.get(topic.event_id)
    assert known is not None
    assert known.outlier
    await receive(first, topic)
    known = await second.events.get(topic.event_id)
    assert known is not None
    assert not known.outlier


async def test_what_an_event_replaced_is_redacted_in_other_processes_too(processes: Processes) -> None:
    first, second = processes
    room_id = await first.new_room()
    secret, later, _ = [await first.put(ALICE, room_id, "m.room.name", {"name": name}, "") for name in "abc"]
    assert await second.events.get(later)
    await first.send.redact(ALICE, room_id, secret, {}, None)
    for spine in processes:
        stored = await spine.events.get(later)
        assert stored is not None
        assert stored.replaces is not None
        assert not stored.replaces.content
