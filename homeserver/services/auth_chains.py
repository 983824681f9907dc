"""Auth chains by the index: what authorises a set of events, and where the auth chains of several states differ.

Every stored state event has a place in the index (see `storage.event_graph`). It prolongs the chain of an event that it
cites where that chain ends there, else begins a chain; what else it cites become links.
"""

from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import dataclass, field

from homeserver.core.events import StateMap
from homeserver.services.bounded_cache import BoundedCache
from homeserver.services.events import Events
from storage import event_graph
from storage.database import Database, Read, Write
from storage.event_graph import Place

_BATCH_KEY = "auth_chains"


@dataclass(slots=True)
class _Added:
    """What the batch has added to the index: its rows are not in the database yet."""

    places: dict[int, Place] = field(default_factory=dict)
    ids: dict[Place, str] = field(default_factory=dict)
    ends: dict[int, int] = field(default_factory=dict)
    links: dict[int, list[tuple[int, Place]]] = field(default_factory=dict)
    edges: dict[int, list[int]] = field(default_factory=dict)

    @classmethod
    def by(cls, tx: Read) -> "_Added":
        return tx.batch.setdefault(_BATCH_KEY, cls()) if isinstance(tx, Write) else cls()

    def ids_in(self, ranges: Mapping[int, tuple[int, int]]) -> set[str]:
        nowhere = (0, 0)
        return {
            event_id
            for (chain, sequence), event_id in self.ids.items()
            if (bounds := ranges.get(chain, nowhere))[0] < sequence <= bounds[1]
        }


class AuthChains:
    """The index of auth chains."""

    def __init__(self, database: Database, events: Events, *, cache_size: int = 50_000) -> None:
        self._database = database
        self._events = events
        self._places: BoundedCache[int, Place] = BoundedCache(cache_size)
        self._ends: BoundedCache[int, int] = BoundedCache(cache_size)

    async def add(self, tx: Write, room_nid: int, event_id: str, event_nid: int, cited: Sequence[int]) -> None:
        """Give a new state event its place; `cited` are the integer ids of what authorises it, all of them added
        before.

        Those that prolong a chain best come first: an earlier event of the same type and state key.
        """
        event_graph.add_auth_edges(tx, event_nid, dict.fromkeys(cited))
        added = _Added.by(tx)
        below = await self._places_of(tx, cited)
        ordered = [below[nid] for nid in cited if nid in below]
        place: Place | None = None
        for chain, sequence in ordered:
            if await self._end_of(tx, chain, added.ends) == sequence:
                place = (chain, sequence + 1)
                break
        if place is None:
            place = (self._database.new_id("chain"), 1)
        targets: dict[int, int] = {}
        for chain, sequence in ordered:
            if chain != place[0]:
                targets[chain] = max(sequence, targets.get(chain, 0))
        event_graph.add_place(tx, room_nid, event_nid, place, targets.items())
        added.edges[event_nid] = list(cited)
        added.ids[place] = event_id
        added.links.setdefault(place[0], []).extend((place[1], target) for target in targets.items())
        self._keep(tx, event_nid, place, added)

    async def has(self, tx: Write, event_nid: int) -> bool:
        """Whether a stored event has its place in the index."""
        return bool(await self._places_of(tx, (event_nid,)))

    async def chain_of(self, event_ids: Iterable[str], tx: Read | None = None) -> set[str]:
        """The auth chain of stored state events, themselves included."""
        if tx is None:
            async with self._database.read(snapshot=True) as read:
                return await self._chain_of(read, event_ids)
        return await self._chain_of(tx, event_ids)

    async def auth_chain_of_event(self, auth_event_ids: Iterable[str], tx: Read | None = None) -> set[str]:
        """The auth chain of an event of any kind, given what it cites: that and everything below."""
        return await self.chain_of(auth_event_ids, tx)

    async def difference(self, tx: Read, state_sets: Sequence[StateMap]) -> set[str]:
        """The auth difference: what is in the auth chain of some, but not of every, state; the states' own events
        belong to their chains."""
        if len(state_sets) < 2:
            return set()
        shared = set(state_sets[0].values()).intersection(*(state.values() for state in state_sets[1:]))
        own = [set(state.values()) - shared for state in state_sets]
        places = await self._places_by_id(tx, shared.union(*own))
        links = _Added.by(tx).links
        reached = [await event_graph.reach(tx, _of(places, ids), links) for ids in own]
        common = await event_graph.reach(tx, _of(places, shared), links)
        return await _ids_in(tx, _ranges_that_differ(reached, common))

    async def conflicted_subgraph(self, tx: Read, conflicted: AbstractSet[str]) -> set[str]:
        """The events on any path along auth_events from one of `conflicted` to another, ends included."""
        chain = await self._chain_of(tx, conflicted)
        stored = await self._events.get_many(chain, tx)
        ids = {event.nid: event_id for event_id, event in stored.items()}
        cited_by: dict[int, list[int]] = {}
        edges = await event_graph.auth_edges(tx, ids)
        edges.update(_Added.by(tx).edges)
        for nid in ids:
            for other in edges.get(nid, ()):
                cited_by.setdefault(other, []).append(nid)
        pending = [stored[event_id].nid for event_id in conflicted if event_id in stored]
        above = set(pending)
        while pending:
            for nid in cited_by.get(pending.pop(), ()):
                if nid not in above:
                    above.add(nid)
                    pending.append(nid)
        return {ids[nid] for nid in above} | set(conflicted)

    async def _chain_of(self, tx: Read, event_ids: Iterable[str]) -> set[str]:
        wanted = set(event_ids)
        places = await self._places_by_id(tx, wanted)
        reached = await event_graph.reach(tx, places.values(), _Added.by(tx).links)
        return await _ids_in(tx, {chain: (0, upto) for chain, upto in reached.items()})

    async def _places_by_id(self, tx: Read, event_ids: Iterable[str]) -> dict[str, Place]:
        # Not by way of the events: a state may have thousands, and their bodies are of no interest here.
        wanted = set(event_ids)
        found = {event_id: place for place, event_id in _Added.by(tx).ids.items() if event_id in wanted}
        missing: list[str] = []
        for event_id in wanted - found.keys():
            stored = self._events.cached(event_id)
            place = None if stored is None else self._places.get(stored.nid)
            if place is None:
                missing.append(event_id)
            else:
                found[event_id] = place
        found.update(await event_graph.places_by_id(tx, missing))
        return found

    async def _places_of(self, tx: Read, nids: Iterable[int]) -> dict[int, Place]:
        new = _Added.by(tx).places
        found: dict[int, Place] = {}
        missing: list[int] = []
        for nid in nids:
            place = new.get(nid) or self._places.get(nid)
            if place is None:
                missing.append(nid)
            else:
                found[nid] = place
        if missing:
            loaded = await event_graph.places(tx, missing)
            for nid, place in loaded.items():
                self._places.put(nid, place)
            found.update(loaded)
        return found

    async def _end_of(self, tx: Write, chain: int, ends: Mapping[int, int]) -> int:
        """The last sequence number of a chain. What another process added to a chain is in the database only."""
        end = ends.get(chain) or (None if self._database.is_shared else self._ends.get(chain))
        if end is None:
            end = (await event_graph.last_sequences(tx, (chain,))).get(chain, 0)
            self._ends.put(chain, end)
        return end

    def _keep(self, tx: Write, event_nid: int, place: Place, added: _Added) -> None:
        added.places[event_nid] = place
        added.ends[place[0]] = place[1]

        def keep() -> None:
            self._places.put(event_nid, place)
            self._ends.put(place[0], max(place[1], self._ends.get(place[0]) or 0))

        # Should the operation be undone, its sequence number stays unused: gaps do no harm.
        tx.after_commit(keep)


async def _ids_in(tx: Read, ranges: Mapping[int, tuple[int, int]]) -> set[str]:
    return await event_graph.ids_in_ranges(tx, ranges) | _Added.by(tx).ids_in(ranges)


def _of(places: Mapping[str, Place], event_ids: Iterable[str]) -> list[Place]:
    return [places[event_id] for event_id in event_ids if event_id in places]


def _ranges_that_differ(reached: Sequence[Mapping[int, int]], common: Mapping[int, int]) -> dict[int, tuple[int, int]]:
    """Chain → (what every state reaches, what some state reaches), where that is not the same."""
    ranges: dict[int, tuple[int, int]] = {}
    for chain in set().union(*reached):
        everywhere = max(common.get(chain, 0), min(state.get(chain, 0) for state in reached))
        somewhere = max(state.get(chain, 0) for state in reached)
        if somewhere > everywhere:
            ranges[chain] = (everywhere, somewhere)
    return ranges
