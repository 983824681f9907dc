"""State snapshots in memory: immutable nodes, each its parent with a delta, so that forks share what they have in
common.

A node's ordinal is its place in the chain of its ancestors. Where it ends in k zeros in base 16, the parent is the
node 16^k further back and the delta holds all that changed in between. So a state of n changes is at most 15 · log16(n)
nodes away, and a change is copied log16(n) times in its life.
"""

from collections.abc import Iterator, Mapping

from homeserver.core.events import StateKey

Entry = tuple[str, int]
"""(event id, event_nid)"""
Delta = Mapping[StateKey, Entry | None]
"""What became of the keys that changed; None: no longer in the state."""

EMPTY_SNAPSHOT_ID = 0


class Snapshot:
    """The state of a room at one point, as far as it differs from that of `parent`."""

    __slots__ = ("delta", "ordinal", "parent", "snapshot_id")

    def __init__(self, snapshot_id: int, ordinal: int, parent: "Snapshot | None", delta: Delta) -> None:
        self.snapshot_id = snapshot_id
        self.ordinal = ordinal
        self.parent = parent
        self.delta = delta

    def child(self, snapshot_id: int, delta: Delta) -> "Snapshot":
        """The state after `delta`, under a new id."""
        ordinal = self.ordinal + 1
        if ordinal == 0:
            return Snapshot(snapshot_id, 0, None, delta)
        parent = self
        merged: dict[StateKey, Entry | None] = {}
        deltas: list[Delta] = []
        target = ordinal - span(ordinal)
        while parent.ordinal > target:
            deltas.append(parent.delta)
            assert parent.parent is not None
            parent = parent.parent
        for older in reversed(deltas):
            merged.update(older)
        merged.update(delta)
        return Snapshot(snapshot_id, ordinal, parent, merged)

    def get(self, key: StateKey) -> Entry | None:
        """One entry, without making the whole state."""
        for node in self.lineage():
            if key in node.delta:
                return node.delta[key]
        return None

    def lineage(self) -> Iterator["Snapshot"]:
        """This node, its parent, and so on."""
        node: Snapshot | None = self
        while node is not None:
            yield node
            node = node.parent

    def entries(self) -> dict[StateKey, Entry]:
        """The whole state."""
        whole: dict[StateKey, Entry | None] = {}
        for node in reversed(list(self.lineage())):
            whole.update(node.delta)
        return {key: entry for key, entry in whole.items() if entry is not None}

    def state(self) -> dict[StateKey, str]:
        """The whole state as event ids."""
        return {key: entry[0] for key, entry in self.entries().items()}


EMPTY = Snapshot(EMPTY_SNAPSHOT_ID, -1, None, {})
"""The state before a room's m.room.create."""


def span(ordinal: int) -> int:
    """How far back the parent of a node is: 16^k, k being the number of zeros that its ordinal ends in (base 16)."""
    distance = 1
    while ordinal % (distance * 16) == 0:
        distance *= 16
    return distance
