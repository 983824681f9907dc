"""Tokens survive the wire, and compare as what they stand for."""

from hypothesis import given
from hypothesis import strategies as st

from homeserver.core.tokens import MAX_NUMBER, InvalidToken, PaginationToken, SyncToken, parse_token

numbers = st.integers(0, MAX_NUMBER)
small = st.integers(0, 50)


@given(numbers, numbers)
def test_tokens_round_trip(first: int, second: int) -> None:
    for token in (SyncToken(first, second), PaginationToken(first, second)):
        assert parse_token(str(token)) == token


@given(st.text())
def test_a_text_is_either_refused_or_the_token_written_that_way(text: str) -> None:
    try:
        token = parse_token(text)
    except InvalidToken:
        return
    assert str(token) == text


@given(small, small, small, small)
def test_sync_tokens_are_ordered_by_position_first(p: int, e: int, q: int, f: int) -> None:
    assert (SyncToken(p, e) < SyncToken(q, f)) == ((p, e) < (q, f))


@given(st.sets(st.tuples(small, small), min_size=1), st.data())
def test_a_token_splits_a_timeline_in_two(events: set[tuple[int, int]], data: st.DataObject) -> None:
    depth, position = data.draw(st.sampled_from(sorted(events)))
    before, after = PaginationToken.before(depth, position), PaginationToken.after(depth, position)
    ahead_of_both = {event for event in events if after.is_before(*event)}
    assert {event for event in events if before.is_before(*event)} - ahead_of_both == {(depth, position)}
    assert all(event > (depth, position) for event in ahead_of_both)
