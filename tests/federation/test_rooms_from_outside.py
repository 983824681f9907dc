"""Spaces, summaries and times across servers."""

from typing import Any

import pytest

from homeserver.errors import Forbidden, NotFound
from homeserver.services.event_by_time import EventByTime
from homeserver.services.remote_summaries import FederationSummaries
from homeserver.services.remote_times import FederationTimes
from homeserver.services.room_preview import RoomPreview
from homeserver.services.space_hierarchy import SpaceHierarchy
from tests.federation.hearth import Hearth

SPACE = {"creation_content": {"type": "m.space"}}


def remote(server: Hearth) -> FederationSummaries:
    return FederationSummaries(server.outside.client, server.base.clock, server_name=server.name)


async def rooms_of(server: Hearth, localpart: str, space: str) -> list[str]:
    hierarchy = SpaceHierarchy(server.base.database, server.summaries, remote(server))
    page = await hierarchy.page(server.user(localpart), space)
    return [room["room_id"] for room in page["rooms"]]


async def add_child(server: Hearth, localpart: str, space: str, child: str, via: Hearth) -> None:
    server.base.clock.advance(1)
    await server.set_state(localpart, space, "m.space.child", {"via": [via.name]}, child)


async def test_a_space_is_walked_across_servers(hs1: Hearth, hs2: Hearth) -> None:
    top = await hs1.create_room("alice", **SPACE)
    middle = await hs2.create_room("bob", **SPACE)
    leaf, hidden = await hs2.create_room("bob"), await hs2.create_room("bob", preset="private_chat")
    back = await hs1.create_room("alice")
    await add_child(hs1, "alice", top, middle, hs2)
    for child, via in ((leaf, hs2), (hidden, hs2), (back, hs1), (top, hs1)):
        await add_child(hs2, "bob", middle, child, via)
    assert await rooms_of(hs1, "alice", top) == [top, middle, leaf, back]
    # The rooms that are no spaces came with the space that they are in; nobody asks for one that is closed.
    assert len(hs1.network.requests("hierarchy")) == 1


async def test_a_restricted_room_is_shown_once_its_server_knows_who_may_join(hs1: Hearth, hs2: Hearth) -> None:
    space = await hs1.create_room("alice", **SPACE)
    allow = [{"type": "m.room_membership", "room_id": space}]
    rules = {"type": "m.room.join_rules", "content": {"join_rule": "restricted", "allow": allow}}
    room = await hs2.create_room("bob", room_version="11", initial_state=[rules])
    await add_child(hs1, "alice", space, room, hs2)
    assert await rooms_of(hs1, "alice", space) == [space]
    await hs2.join("bob", space, hs1)
    assert await rooms_of(hs1, "alice", space) == [space, room]
    assert await rooms_of(hs1, "mallory", space) == [space]


async def test_the_summary_of_a_room_elsewhere_is_asked_for(hs1: Hearth, hs2: Hearth) -> None:
    room, hidden = await hs1.create_room("alice", name="Lounge"), await hs1.create_room("alice", preset="private_chat")
    preview = RoomPreview(hs2.base.database, hs2.writing.directory, hs2.summaries, remote(hs2))
    summary: dict[str, Any] = await preview.of(hs2.user("bob"), room, ["hs1"])
    assert (summary["name"], summary["num_joined_members"], summary["membership"]) == ("Lounge", 1, "leave")
    assert "children_state" not in summary
    with pytest.raises(NotFound):
        await preview.of(hs2.user("bob"), hidden, ["hs1"])
    with pytest.raises(NotFound):
        await preview.of(hs2.user("bob"), "!" + "a" * 43, ["gone", "hs1"])


async def test_the_event_of_a_time_before_the_join_is_had_from_others(hs1: Hearth, hs2: Hearth) -> None:
    room = await hs1.create_room("alice")
    hs1.base.clock.advance(100)
    before = hs1.base.clock.now_ms()
    first = await hs1.send("alice", room, "first")
    hs1.base.clock.advance(100)
    second = await hs1.send("alice", room, "second")
    hs1.base.clock.advance(100)
    after = hs1.base.clock.now_ms()
    hs1.base.clock.advance(100)
    await hs2.join("bob", room, hs1)
    times = FederationTimes(hs2.outside.client, hs2.backfill())
    history = EventByTime(hs2.base.database, hs2.reading.events, hs2.reading.history, times)
    found = await history.find(hs2.user("bob"), room, before, backwards=False)
    assert found == {"event_id": first, "origin_server_ts": before}
    assert (await history.find(hs2.user("bob"), room, after, backwards=True))["event_id"] == second
    assert await hs2.has(second)
    with pytest.raises(NotFound):
        await history.find(hs2.user("bob"), room, hs1.base.clock.now_ms() + 10**9, backwards=False)
    with pytest.raises(Forbidden):
        await history.find(hs2.user("mallory"), room, before, backwards=False)
