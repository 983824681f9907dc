"""The query string: what standard parsers make of it."""

from urllib.parse import parse_qsl

import pytest
from hypothesis import given
from hypothesis import strategies as st

from homeserver.errors import InvalidParam
from homeserver.web.request import Query

PIECES = st.sampled_from(["a", "since", "=", "&", "+", "%", "%20", "%C3%A9", "%C3", "%zz", ";", "é", "{", "%22", "1"])


@given(st.lists(PIECES).map("".join))
def test_a_query_is_parsed_as_the_standard_library_does(raw: str) -> None:
    for _ in range(2):  # what is remembered is the same
        assert Query(raw).pairs() == parse_qsl(raw, keep_blank_values=True)


@pytest.mark.parametrize("raw", ["&".join(["a=1"] * 1001), "a=%00", "a=\0"])
def test_too_many_parameters_and_nul_are_refused(raw: str) -> None:
    with pytest.raises(InvalidParam):
        Query(raw).pairs()


def test_values_that_are_too_long_to_be_remembered_are_decoded_too() -> None:
    assert Query("a=" + "%20" * 5000).str_("a") == " " * 5000
