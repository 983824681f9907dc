import pytest

from homeserver.core.room_versions import ROOM_VERSIONS
from tests.federation.conftest import Until
from tests.federation.hearth import Hearth


@pytest.mark.parametrize("version", ROOM_VERSIONS)
async def test_messages_go_both_ways_in_every_room_version(
    hs1: Hearth, hs2: Hearth, until: Until, version: str
) -> None:
    room_id = await hs1.create_room("alice", room_version=version)
    await hs2.join("bob", room_id, hs1)
    assert await hs1.membership(room_id, "@bob:hs2") == "join"
    assert await hs2.state(room_id) == await hs1.state(room_id)
    first = await hs1.send("alice", room_id, "hello")
    await until(lambda: hs2.has(first))
    second = await hs2.send("bob", room_id, "hello yourself")
    await until(lambda: hs1.has(second))
    topic = await hs1.set_state("alice", room_id, "m.room.topic", {"topic": "both ways"})
    await until(lambda: hs2.has(topic))
    assert await hs2.state(room_id) == await hs1.state(room_id)
    assert await hs2.extremities(room_id) == await hs1.extremities(room_id) == {topic}
