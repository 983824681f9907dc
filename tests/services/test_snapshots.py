"""State snapshots: chains of nodes with deltas that skip."""

import random

from hypothesis import given, settings
from hypothesis import strategies as st

from homeserver.services.snapshots import EMPTY, Entry, Snapshot, span

CHANGES = st.lists(st.tuples(st.integers(0, 12), st.one_of(st.none(), st.integers(1, 1000))), min_size=1, max_size=700)


def test_the_zeros_of_an_ordinal_say_how_far_back_its_parent_is() -> None:
    assert [span(ordinal) for ordinal in (1, 15, 16, 32, 255, 256, 4096, 4097)] == [1, 1, 16, 16, 1, 256, 4096, 1]


@given(CHANGES)
@settings(max_examples=40, deadline=None)
def test_a_snapshot_is_the_fold_of_all_changes_before_it(changes: list[tuple[int, int | None]]) -> None:
    node, expected = EMPTY, dict[tuple[str, str], Entry]()
    for number, (slot, value) in enumerate(changes):
        key = ("m.test", str(slot))
        entry = None if value is None else (f"${value}", value)
        node = node.child(number + 1, {key: entry})
        expected.pop(key, None)
        if entry is not None:
            expected[key] = entry
        assert node.get(key) == entry
    assert node.entries() == expected


def test_a_lineage_stays_short_however_long_the_room_lives() -> None:
    node: Snapshot = EMPTY
    longest = 0
    for number in range(1, 5000):
        node = node.child(number, {("m.room.member", f"@{random.Random(number).random()}"): (f"${number}", number)})
        longest = max(longest, len(list(node.lineage())))
    assert longest <= 15 * 4 + 2
    assert len(node.entries()) == 4999
