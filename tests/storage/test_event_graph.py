"""The index of auth chains against auth chains that were walked, on random graphs."""

import random
from collections.abc import Mapping

import pytest

from homeserver.core.events import Event
from homeserver.core.room_versions import ROOM_VERSIONS
from homeserver.core.state_resolution import auth_chain_of, auth_difference_of, conflicted_subgraph_of
from homeserver.services.auth_chains import AuthChains
from homeserver.services.event_rows import write_new
from homeserver.services.events import Events, StoredEvent
from storage.database import Database, Write
from storage.tables import rooms

VERSION = ROOM_VERSIONS["11"]
ROOM = "!room:example.org"


def random_events(seed: int, count: int) -> list[Event]:
    """State events, each authorised by up to five that come before it, mostly late ones."""
    chance = random.Random(seed)
    made: list[Event] = []
    for number in range(count):
        near = made[-8:] if chance.random() < 0.7 else made
        cited = chance.sample(near, min(len(near), chance.randint(1, 5)))
        pdu = {
            "type": "m.room.create" if number == 0 else "m.test",
            "state_key": "" if number == 0 else str(chance.randint(0, 9)),
            "sender": "@a:example.org",
            "room_id": ROOM,
            "content": {},
            "depth": number,
            "origin_server_ts": number,
            "prev_events": [],
            "auth_events": [event.event_id for event in cited],
            "hashes": {},
        }
        made.append(Event.from_pdu(pdu, VERSION, f"${number}"))
    return made


class Index:
    """The index, filled in batches of random sizes."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.events = Events(database)
        self.chains = AuthChains(database, self.events)

    async def fill(self, made: list[Event], seed: int) -> None:
        chance = random.Random(seed)
        self.database_room = self.database.new_id("room")
        rest = list(made)
        first = True
        while rest:
            size = chance.randint(1, 20)
            await self._write(rest[:size], first)
            rest, first = rest[size:], False
            if chance.random() < 0.3:
                # Another process, which has nothing in memory.
                self.events, self.chains = Events(self.database), AuthChains(self.database, Events(self.database))

    async def _write(self, made: list[Event], first: bool) -> None:
        async def operation(tx: Write) -> None:
            if first:
                tx.insert(rooms, room_nid=self.database_room, room_id=ROOM, room_version="11", creator=None)
            for event in made:
                stored = StoredEvent(event, self.database.new_id("event"), self.database_room, None, outlier=True)
                write_new(tx, stored, None, None)
                self.events.appended(tx, stored)
                cited = await self.events.get_many(event.auth_events, tx)
                nids = [cited[event_id].nid for event_id in event.auth_events]
                await self.chains.add(tx, self.database_room, event.event_id, stored.nid, nids)

        await self.database.write(operation)


def states(made: list[Event], seed: int) -> list[Mapping[tuple[str, str], str]]:
    chance = random.Random(seed)
    picked = [event.event_id for event in chance.sample(made, 6)]
    shared = {("shared", str(n)): event_id for n, event_id in enumerate(picked[:2])}
    return [
        {**shared, **{("own", str(n)): chance.choice(made).event_id for n in range(chance.randint(1, 4))}}
        for _ in range(chance.randint(2, 4))
    ]


@pytest.mark.parametrize("seed", range(6))
async def test_the_index_knows_what_walking_would_find(database: Database, seed: int) -> None:
    made = random_events(seed, 90)
    by_id = {event.event_id: event for event in made}
    index = Index(database)
    await index.fill(made, seed)
    chance = random.Random(seed)
    async with database.read() as tx:
        for _ in range(8):
            wanted = {event.event_id for event in chance.sample(made, chance.randint(1, 4))}
            assert await index.chains.chain_of(wanted, tx) == auth_chain_of(wanted, by_id)
            sets = states(made, chance.randint(0, 1000))
            assert await index.chains.difference(tx, sets) == auth_difference_of(sets, by_id)
            assert await index.chains.conflicted_subgraph(tx, wanted) == conflicted_subgraph_of(wanted, by_id)


async def test_what_a_batch_has_added_is_found_before_it_is_written(database: Database) -> None:
    made = random_events(1, 40)
    by_id = {event.event_id: event for event in made}
    index = Index(database)
    await index.fill(made[:20], 1)

    async def operation(tx: Write) -> set[str]:
        for event in made[20:]:
            stored = StoredEvent(event, database.new_id("event"), index.database_room, None, outlier=True)
            write_new(tx, stored, None, None)
            index.events.appended(tx, stored)
            cited = await index.events.get_many(event.auth_events, tx)
            nids = [cited[event_id].nid for event_id in event.auth_events]
            await index.chains.add(tx, index.database_room, event.event_id, stored.nid, nids)
        return await index.chains.chain_of([made[-1].event_id, made[-2].event_id], tx)

    found = await database.write(operation)
    assert found == auth_chain_of([made[-1].event_id, made[-2].event_id], by_id)
