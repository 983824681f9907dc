"""What tokens look like, how they are ordered, and what is refused."""

import pytest

from homeserver.core.tokens import InvalidToken, PaginationToken, SyncToken, parse_sync_token, parse_token


def test_sync_token_is_its_two_numbers() -> None:
    assert str(SyncToken(17, 1_700_000_000_000_000)) == "s17_1700000000000000"
    assert parse_token("s17_1700000000000000") == SyncToken(17, 1_700_000_000_000_000)


def test_pagination_token_is_its_two_numbers() -> None:
    assert str(PaginationToken(4, 99)) == "t4_99"
    assert parse_token("t4_99") == PaginationToken(4, 99)


def test_depth_orders_pagination_tokens_before_position() -> None:
    assert PaginationToken(1, 500) < PaginationToken(2, 3) < PaginationToken(2, 4)


def test_token_before_an_event_has_the_event_ahead_of_it() -> None:
    assert PaginationToken.before(3, 7).is_before(3, 7)
    assert not PaginationToken.before(3, 7).is_before(3, 6)


def test_token_after_an_event_has_the_event_behind_it() -> None:
    assert not PaginationToken.after(3, 7).is_before(3, 7)
    assert PaginationToken.after(3, 7).is_before(3, 8)
    assert PaginationToken.after(3, 7).is_before(4, 1)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "s",
        "s1",
        "s1_",
        "s_1",
        "x1_2",
        "s-1_2",
        "s+1_2",
        "s01_2",
        "s1_2_3",
        " s1_2",
        "s1_2\n",
        "s١_2",
        "s1.0_2",
        "s9223372036854775808_0",
        "t0_9223372036854775808",
        "s" + "9" * 400 + "_0",
    ],
)
def test_what_the_server_never_gave_out_is_refused(text: str) -> None:
    with pytest.raises(InvalidToken):
        parse_token(text)


def test_pagination_tokens_may_lie_in_history_that_arrived_late() -> None:
    assert parse_token("t4_-7") == PaginationToken(4, -7)
    with pytest.raises(InvalidToken):
        parse_token("s4_-7")


def test_largest_column_value_is_accepted() -> None:
    assert parse_token("s9223372036854775807_0") == SyncToken(2**63 - 1)


def test_since_takes_no_pagination_token() -> None:
    with pytest.raises(InvalidToken):
        parse_sync_token("t1_2")
    assert parse_sync_token("s1_2") == SyncToken(1, 2)


def test_position_of_sliding_sync_is_a_sync_token_for_pages() -> None:
    assert parse_token("12.3/s4_5") == SyncToken(4, 5)
    for text in ("12.3/t4_5", "12/s4_5", "1.2/3.4/s4_5", "/s4_5"):
        with pytest.raises(InvalidToken):
            parse_token(text)
    with pytest.raises(InvalidToken):
        parse_sync_token("12.3/s4_5")
