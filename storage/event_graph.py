"""The two graphs that events form: by prev_events (edges) and by auth_events (edges, and the index of auth chains).

The index covers the auth graph by chains: an event of a chain reaches all events of that chain with a smaller sequence
number, and by the links of those and its own, parts of other chains. So an auth chain is a few ranges.
"""

from collections.abc import Iterable, Mapping, Sequence

from sqlalchemy import select

from storage.database import Read, Write
from storage.events import chunks
from storage.tables import auth_chain_links, auth_chains, event_auth, event_edges, events

Place = tuple[int, int]
"""(chain, sequence)"""


async def places(tx: Read, event_nids: Iterable[int]) -> dict[int, Place]:
    """Where events are in the index of auth chains; those that are not in it are absent."""
    found: dict[int, Place] = {}
    for nids in chunks(event_nids):
        for row in await tx.fetch_all(select(auth_chains).where(auth_chains.c.event_nid.in_(nids))):
            found[row.event_nid] = (row.chain_id, row.sequence)
    return found


async def places_by_id(tx: Read, event_ids: Iterable[str]) -> dict[str, Place]:
    """As `places`, by event id."""
    found: dict[str, Place] = {}
    statement = select(events.c.event_id, auth_chains.c.chain_id, auth_chains.c.sequence).join(
        auth_chains, auth_chains.c.event_nid == events.c.event_nid
    )
    for ids in chunks(event_ids):
        for row in await tx.fetch_all(statement.where(events.c.event_id.in_(ids))):
            found[row.event_id] = (row.chain_id, row.sequence)
    return found


async def last_sequences(tx: Read, chain_ids: Iterable[int]) -> dict[int, int]:
    """The largest sequence number of each chain."""
    found: dict[int, int] = {}
    for ids in chunks(chain_ids):
        statement = select(auth_chains.c.chain_id, auth_chains.c.sequence).where(auth_chains.c.chain_id.in_(ids))
        for row in await tx.fetch_all(statement):
            found[row.chain_id] = max(row.sequence, found.get(row.chain_id, 0))
    return found


def add_place(tx: Write, room_nid: int, event_nid: int, place: Place, links: Iterable[Place]) -> None:
    """Put off: an event's place in the index, and the places in other chains that it reaches from there."""
    chain, sequence = place
    tx.insert(auth_chains, event_nid=event_nid, room_nid=room_nid, chain_id=chain, sequence=sequence)
    for target_chain, target_sequence in links:
        tx.insert(
            auth_chain_links,
            origin_chain=chain,
            origin_sequence=sequence,
            target_chain=target_chain,
            target_sequence=target_sequence,
        )


Links = Mapping[int, Sequence[tuple[int, Place]]]
"""chain → (the sequence number that a link goes out from, what it reaches)"""


async def reach(tx: Read, starts: Iterable[Place], unwritten: Links) -> dict[int, int]:
    """What these places reach, themselves included: chain → the largest sequence number reached in it.

    `unwritten` are links that the batch has put off.
    """
    reached: dict[int, int] = {}
    for chain, sequence in starts:
        reached[chain] = max(sequence, reached.get(chain, 0))
    links: dict[int, list[tuple[int, Place]]] = {}
    frontier = list(reached)
    while frontier:
        await _load_links(tx, [chain for chain in frontier if chain not in links], links)
        grown: set[int] = set()
        for chain in frontier:
            for origin_sequence, (target, sequence) in (*links.get(chain, ()), *unwritten.get(chain, ())):
                if origin_sequence <= reached[chain] and sequence > reached.get(target, 0):
                    reached[target] = sequence
                    grown.add(target)
        frontier = list(grown)
    return reached


async def _load_links(tx: Read, chain_ids: Sequence[int], links: dict[int, list[tuple[int, Place]]]) -> None:
    for ids in chunks(chain_ids):
        for chain in ids:
            links[chain] = []
        for row in await tx.fetch_all(select(auth_chain_links).where(auth_chain_links.c.origin_chain.in_(ids))):
            links[row.origin_chain].append((row.origin_sequence, (row.target_chain, row.target_sequence)))


async def ids_in_ranges(tx: Read, ranges: Mapping[int, tuple[int, int]]) -> set[str]:
    """The events of parts of chains: chain → (sequence numbers above this, and up to this)."""
    found: set[str] = set()
    statement = select(events.c.event_id, auth_chains.c.chain_id, auth_chains.c.sequence).join(
        auth_chains, auth_chains.c.event_nid == events.c.event_nid
    )
    # Similar parts together: most chains are short, and little is read of the long ones that is of no interest.
    for some in chunks(sorted(ranges.items(), key=lambda part: part[1])):
        parts = dict(some)
        rows = await tx.fetch_all(
            statement.where(
                auth_chains.c.chain_id.in_(parts),
                auth_chains.c.sequence > min(after for after, _ in parts.values()),
                auth_chains.c.sequence <= max(upto for _, upto in parts.values()),
            )
        )
        found.update(row.event_id for row in rows if parts[row.chain_id][0] < row.sequence <= parts[row.chain_id][1])
    return found


def add_auth_edges(tx: Write, event_nid: int, auth_event_nids: Iterable[int]) -> None:
    """Put off: which events a state event cites in auth_events (the create event always among them)."""
    for auth_event_nid in auth_event_nids:
        tx.insert(event_auth, event_nid=event_nid, auth_event_nid=auth_event_nid)


async def auth_edges(tx: Read, event_nids: Iterable[int]) -> dict[int, list[int]]:
    """What stored state events cite in auth_events, by integer ids."""
    found: dict[int, list[int]] = {}
    for nids in chunks(event_nids):
        for row in await tx.fetch_all(select(event_auth).where(event_auth.c.event_nid.in_(nids))):
            found.setdefault(row.event_nid, []).append(row.auth_event_nid)
    return found


def add_edges(tx: Write, event_nid: int, prev_event_ids: Iterable[str]) -> None:
    """Put off: which events an event cites in prev_events."""
    for prev_event_id in prev_event_ids:
        tx.insert(event_edges, event_nid=event_nid, prev_event_id=prev_event_id)


async def following(tx: Read, event_id: str) -> list[str]:
    """The stored events that cite an event in prev_events."""
    statement = (
        select(events.c.event_id)
        .join(event_edges, event_edges.c.event_nid == events.c.event_nid)
        .where(event_edges.c.prev_event_id == event_id)
    )
    return [row.event_id for row in await tx.fetch_all(statement)]


async def prev_events(tx: Read, event_nids: Iterable[int]) -> dict[int, list[str]]:
    """What events cite in prev_events."""
    found: dict[int, list[str]] = {}
    for nids in chunks(event_nids):
        for row in await tx.fetch_all(select(event_edges).where(event_edges.c.event_nid.in_(nids))):
            found.setdefault(row.event_nid, []).append(row.prev_event_id)
    return found
