"""The head of a room is as new as what this process has heard of, though that comes while it is being read."""

from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from storage import rooms
from storage.database import Read
from tests.services.linked import LinkedBus
from tests.services.spine import ALICE, Spine
from tests.services.test_send_event_processes import Processes, processes

__all__ = ["processes"]

During = Callable[[Callable[[], Awaitable[Any]]], None]


@pytest.fixture
def during_the_next_load(monkeypatch: pytest.MonkeyPatch) -> During:
    """Something happens when a head is being read, and the moment that the reading shows has passed."""
    original = rooms.hosts

    def arrange(happening: Callable[[], Awaitable[Any]]) -> None:
        pending = [happening]

        async def hosts(tx: Read, room_nid: int) -> dict[str, int]:
            if pending:
                await pending.pop()()
            return await original(tx, room_nid)

        monkeypatch.setattr(rooms, "hosts", hosts)

    return arrange


async def name_event(spine: Spine, room_id: str) -> str | None:
    head = await spine.heads.get(room_id)
    assert head is not None
    return head.state.get(("m.room.name", ""))


async def set_name(spine: Spine, room_id: str, name: str) -> str:
    return await spine.put(ALICE, room_id, "m.room.name", {"name": name}, state_key="")


@pytest.mark.parametrize("is_known", [False, True])
async def test_what_another_process_writes_while_the_head_is_read_counts_afterwards(
    processes: Processes, during_the_next_load: During, is_known: bool
) -> None:
    first, second = processes
    room_id = await first.new_room()
    if is_known:
        await second.heads.get(room_id)
        await set_name(first, room_id, "one")
    written: list[str] = []

    async def write() -> None:
        written.append(await set_name(first, room_id, "two"))

    during_the_next_load(write)
    assert await name_event(second, room_id) not in written
    assert await name_event(second, room_id) == written[0]
    assert second.heads.cached(room_id) is not None


async def test_a_gap_in_the_news_while_the_head_is_read_outdates_it(
    processes: Processes, during_the_next_load: During
) -> None:
    first, second = processes
    room_id = await first.new_room()
    written: list[str] = []

    async def write_unheard() -> None:
        link = first.database.bus
        assert isinstance(link, LinkedBus)
        link.is_cut = True
        written.append(await set_name(first, room_id, "two"))
        link.other.gap()

    during_the_next_load(write_unheard)
    await name_event(second, room_id)
    assert await name_event(second, room_id) == written[0]
