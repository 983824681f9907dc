"""The directory of people knows those of other servers by the rooms that they are in."""

from homeserver.app.media import build_media
from homeserver.services.long_texts import LongTextReader
from homeserver.services.search_index import SearchIndex
from homeserver.services.user_directory import UserDirectory
from tests.federation.hearth import Hearth


def directory(server: Hearth) -> UserDirectory:
    base = server.base
    texts = LongTextReader(build_media(base, server.outside).reader)
    index = SearchIndex(base.database, server.reading.events, texts, base.clock, base.tasks, server_name=server.name)
    return UserDirectory(base.database, index, server_name=server.name, search_all=False)


async def test_members_of_a_room_that_was_joined_elsewhere_are_found(hs1: Hearth, hs2: Hearth) -> None:
    room_id = await hs1.create_room("alice", preset="public_chat")
    name = {"membership": "join", "displayname": "Älice in this room"}
    await hs1.set_state("alice", room_id, "m.room.member", name, hs1.user("alice"))
    people = directory(hs2)
    assert (await people.search("@bob:hs2", "alice", 10))["results"] == []
    await hs2.join("bob", room_id, hs1)
    for term in ("ali", "in this room", "hs1"):
        found = (await people.search("@bob:hs2", term, 10))["results"]
        assert found == [{"user_id": "@alice:hs1", "display_name": "Älice in this room"}], term
