"""Receipts that come while those of a room are read, or while an answer is made of them, are told."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from storage import receipts as storage
from storage.database import Read
from storage.receipts import Receipt
from tests.services.linked import LinkedBus
from tests.services.sync_world import World, joined, user
from tests.services.test_notifier_processes import Pair, level, pair

__all__ = ["pair"]

ALICE, BOB, CAROL = user("alice"), user("bob"), user("carol")
During = Callable[[Callable[[], Awaitable[Any]]], None]


@pytest.fixture
def during_the_next_read(monkeypatch: pytest.MonkeyPatch) -> During:
    """Something happens after the receipts of rooms were read, and before that is known."""
    original = storage.of_rooms

    def arrange(happening: Callable[[], Awaitable[Any]]) -> None:
        pending = [happening]

        async def of_rooms(tx: Read, nids: Any) -> dict[int, list[Receipt]]:
            found = await original(tx, nids)
            if pending:
                await pending.pop()()
            return found

        monkeypatch.setattr(storage, "of_rooms", of_rooms)

    return arrange


async def a_room(pair: Pair) -> tuple[str, str, str]:
    """A room where Alice said and read something, the id of that, and Bob's token from before."""
    here, there = pair
    room_id = await here.create_room(ALICE)
    for person in (BOB, CAROL):
        await here.join(person, room_id)
    await level(pair)
    token = (await there.sync(BOB))["next_batch"]
    sent = await here.send(ALICE, room_id)
    await here.receipts.send(ALICE, room_id, "m.read", sent)
    await level(pair)
    return room_id, sent, token


async def readers(world: World, room_id: str, token: str) -> list[str]:
    """Whose receipts Bob is told of by two syncs."""
    found: list[str] = []
    for _ in range(2):
        answer = await world.sync(BOB, token)
        token = answer["next_batch"]
        for event in joined(answer, room_id).get("ephemeral", {}).get("events", []):
            found += [reader for by_type in event["content"].values() for reader in by_type["m.read"]]
    return found


async def test_a_receipt_of_another_process_that_comes_while_the_room_is_read_is_told(
    pair: Pair, during_the_next_read: During
) -> None:
    here, there = pair
    room_id, sent, token = await a_room(pair)

    async def read_too() -> None:
        await here.receipts.send(CAROL, room_id, "m.read", sent)
        await level(pair)

    during_the_next_read(read_too)
    assert await readers(there, room_id, token) == [ALICE, CAROL]


async def test_a_receipt_that_is_not_heard_of_while_the_room_is_read_is_told(
    pair: Pair, during_the_next_read: During
) -> None:
    here, there = pair
    room_id, sent, token = await a_room(pair)

    async def read_unheard() -> None:
        assert isinstance(here.db.bus, LinkedBus)
        here.db.bus.is_cut = True
        await here.receipts.send(CAROL, room_id, "m.read", sent)
        there.notifier.reset(here.notifier.position)

    during_the_next_read(read_unheard)
    assert await readers(there, room_id, token) == [ALICE, CAROL]


async def test_what_was_read_is_told_though_another_process_writes_before_the_answer_is_made(
    pair: Pair, monkeypatch: pytest.MonkeyPatch
) -> None:
    here, there = pair
    room_id, sent, token = await a_room(pair)
    count, pending = there.unread.counts, [CAROL]

    async def count_slowly(*args: Any) -> Any:
        counts = await count(*args)
        if pending:
            await here.receipts.send(pending.pop(), room_id, "m.read", sent)
            await level(pair)
        return counts

    monkeypatch.setattr(there.unread, "counts", count_slowly)
    assert await readers(there, room_id, token) == [ALICE, CAROL]


async def test_a_receipt_does_not_go_back_behind_what_another_process_wrote(pair: Pair) -> None:
    here, there = pair
    room_id, first, _ = await a_room(pair)
    between, last = [await here.send(ALICE, room_id) for _ in range(2)]
    await level(pair)
    for world, event_id in ((there, first), (here, last), (there, between)):
        await world.receipts.send(BOB, room_id, "m.read", event_id)
        await level(pair)
    (event,) = joined(await there.sync(BOB), room_id)["ephemeral"]["events"]
    assert [event_id for event_id, by_type in event["content"].items() if BOB in by_type["m.read"]] == [last]


async def test_a_room_that_was_prepared_is_in_memory_though_many_are_not(pair: Pair) -> None:
    world, _ = pair
    nids: dict[str, int] = {}
    for _ in range(3):
        room_id = await world.create_room(ALICE)
        nids[room_id] = (await world.send_event.require_head(room_id)).room_nid
    old, other, new = nids
    for room_id in (old, other):
        await world.receipts.send(ALICE, room_id, "m.read", await world.send(ALICE, room_id))
    world.receipts._size = 2
    await world.receipts.prepare({old: nids[old], new: nids[new]}, 0)
    assert world.receipts.event(old, ALICE, 0, world.notifier.position)
