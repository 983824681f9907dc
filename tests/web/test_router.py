"""Claims about finding the endpoint of a path."""

import pytest

from homeserver.errors import InvalidParam, MethodNotAllowed, Unrecognized
from homeserver.web.router import Router


@pytest.fixture
def router() -> Router[str]:
    router: Router[str] = Router()
    router.add("GET", "/sync", "sync")
    router.add("PUT", "/rooms/{roomId}/send/{type}/{txn}", "send")
    router.add("PUT", "/rooms/{roomId}/state/{type}/{key}", "state")
    router.add("GET", "/rooms/{room}/state/{type}/{key}", "get_state")
    router.add("GET", "/pushrules/", "rules")
    router.add("GET", "/keys/changes", "changes")
    router.add("GET", "/keys/{id}", "key")
    router.add("POST", "/keys/changes/{id}", "odd")
    return router


def test_path_without_parameters_is_found(router: Router[str]) -> None:
    assert router.find("GET", "/sync") == ("sync", {})


def test_parameters_are_named_as_their_own_row_names_them(router: Router[str]) -> None:
    assert router.find("PUT", "/rooms/!a/state/t/k") == ("state", {"roomId": "!a", "type": "t", "key": "k"})
    assert router.find("GET", "/rooms/!a/state/t/k") == ("get_state", {"room": "!a", "type": "t", "key": "k"})


def test_parameters_are_percent_decoded_and_may_hold_slashes(router: Router[str]) -> None:
    _, path = router.find("PUT", "/rooms/%21a%3Ab/send/m.room%2Fmessage/%E2%82%AC")
    assert path == {"roomId": "!a:b", "type": "m.room/message", "txn": "€"}


def test_plus_in_a_path_stays_a_plus(router: Router[str]) -> None:
    assert router.find("PUT", "/rooms/a+b/send/t/x")[1]["roomId"] == "a+b"


def test_empty_last_parameter_is_the_empty_state_key(router: Router[str]) -> None:
    assert router.find("PUT", "/rooms/!a/state/m.room.name/")[1]["key"] == ""


def test_fixed_segments_come_before_parameters_and_are_backed_out_of(router: Router[str]) -> None:
    assert router.find("GET", "/keys/changes")[0] == "changes"
    assert router.find("GET", "/keys/other")[0] == "key"


def test_trailing_slash_that_no_row_has_is_forgiven(router: Router[str]) -> None:
    assert router.find("GET", "/sync/") == ("sync", {})


def test_head_is_answered_by_gets_row(router: Router[str]) -> None:
    assert router.find("HEAD", "/sync")[0] == "sync"
    assert router.find("HEAD", "/keys/x")[0] == "key"


@pytest.mark.parametrize("path", ["/", "", "/nothing", "/rooms", "/rooms/!a", "/rooms/!a/send/t/x/y", "/sync/x"])
def test_unknown_path_is_unrecognized(router: Router[str], path: str) -> None:
    with pytest.raises(Unrecognized):
        router.find("GET", path)


def test_known_path_with_another_method_is_not_allowed(router: Router[str]) -> None:
    with pytest.raises(MethodNotAllowed):
        router.find("DELETE", "/sync")
    with pytest.raises(MethodNotAllowed):
        router.find("POST", "/rooms/!a/send/t/x")


@pytest.mark.parametrize("segment", ["%ff", "%00", "a%C3"])
def test_parameter_that_is_not_utf8_or_holds_nul_is_invalid(router: Router[str], segment: str) -> None:
    with pytest.raises(InvalidParam):
        router.find("GET", f"/keys/{segment}")


def test_two_rows_at_the_same_place_are_refused(router: Router[str]) -> None:
    with pytest.raises(ValueError, match="two endpoints"):
        router.add("GET", "/keys/{other}", "again")
