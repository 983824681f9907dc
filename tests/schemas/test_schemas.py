"""Which request bodies are accepted, and what a client is told of the others."""

import subprocess
import sys
from typing import Any

import pytest

from schemas import SchemaError, names, preload, validator


def refusal(name: str, body: object) -> SchemaError:
    with pytest.raises(SchemaError) as caught:
        validator(name).validate(body)
    return caught.value


@pytest.mark.parametrize("name", names())
def test_every_schema_wants_an_object_and_explains_it(name: str) -> None:
    for body in ([], "text", 5, True, None):
        error = refusal(name, body)
        assert (error.kind, error.path, error.message) == ("type", "", "The body must be an object")


@pytest.mark.parametrize("name", ["client.nothing", "createRoom", "client.", "client.../definitions", "server.x", ""])
def test_unknown_names_are_a_key_error(name: str) -> None:
    with pytest.raises(KeyError):
        validator(name)


def test_missing_property_of_the_body_is_named() -> None:
    error = refusal("client.login", {"user": 5})
    assert (error.missing, error.kind, error.path) == ("type", "missing", "")
    assert error.message == "'type' is missing"


def test_missing_property_further_inside_is_a_malformed_body() -> None:
    error = refusal("client.uploadKeys", {"device_keys": {"user_id": "@a:x", "device_id": "D"}})
    assert (error.missing, error.kind, error.path) == (None, "type", "device_keys")
    error = refusal("client.createRoom", {"initial_state": [{"type": "m.room.name", "content": {}}, {"type": "a"}]})
    assert (error.missing, error.path, error.message) == (None, "initial_state[1]", "'content' is missing")


@pytest.mark.parametrize(
    ("name", "body", "path", "kind"),
    [
        ("client.createRoom", {"room_version": 1}, "room_version", "type"),
        ("client.createRoom", {"preset": "cosy"}, "preset", "value"),
        ("client.createRoom", {"invite": ["bob"]}, "invite[0]", "value"),
        ("client.createRoom", {"is_direct": 1}, "is_direct", "type"),
        ("client.ban", {"user_id": "bob"}, "user_id", "value"),
        ("client.ban", {"user_id": 5}, "user_id", "type"),
        ("client.queryKeys", {"device_keys": {"@a:x": {"D": True}}}, "device_keys.@a:x", "type"),
        ("client.setPresence", {"presence": "busy"}, "presence", "value"),
        ("client.setTyping", {"typing": "yes"}, "typing", "type"),
        ("client.setPushRuleEnabled", {"enabled": None}, "enabled", "type"),
        ("client.postReceipt", {"thread_id": ""}, "thread_id", "value"),
        ("client.queryPublicRooms", {"limit": -1}, "limit", "value"),
        ("federation.sendTransaction", {"pdus": [{}] * 51}, "pdus", "value"),
        ("federation.sendTransaction", {"pdus": {}}, "pdus", "type"),
        ("federation.sendTransaction", {"pdus": [], "origin_server_ts": 5.0}, "origin_server_ts", "type"),
        ("federation.sendInviteV2", {"room_version": "11", "event": {}}, "event", "type"),
    ],
)
def test_refusal_says_where_and_of_which_kind(name: str, body: dict[str, Any], path: str, kind: str) -> None:
    error = refusal(name, body)
    assert (error.path, error.kind, error.missing) == (path, kind, None)


def test_refusal_never_quotes_the_value() -> None:
    error = refusal("client.changePassword", {"new_password": ["hunter2"]})
    assert "hunter2" not in str(error)
    assert str(error) == "new_password: must be a string"


def test_path_of_a_refusal_is_bounded() -> None:
    assert len(refusal("client.queryKeys", {"device_keys": {"@" + "a" * 5000: 5}}).path) == 200


@pytest.mark.parametrize(
    ("name", "body"),
    [
        ("client.createRoom", {"name": None, "preset": None, "invite": None, "org.example.extra": 5}),
        ("client.joinRoom", {"third_party_signed": None}),
        ("client.uploadKeys", {"device_keys": None, "one_time_keys": {"curve25519:A": "key"}}),
        ("client.uploadKeys", {"one_time_keys": {"signed_curve25519:A": {"key": "k", "signatures": {}}}}),
        (
            "client.login",
            {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": "a"}, "password": ""},
        ),
        ("client.changePassword", {"auth": {"type": "m.login.password", "anything": [1]}}),
        ("client.queryPublicRooms", {"filter": {"room_types": [None, "m.space"]}}),
        ("client.setRoomTag", {"order": 0.25}),
        ("client.setRoomTag", {"order": "0.25"}),
        ("client.inviteUser", {"user_id": "@a:x", "reason": None}),
        ("client.inviteUser", {"medium": "email", "address": "a@x", "id_server": "x", "id_access_token": "t"}),
        ("client.postPusher", {"kind": None, "app_id": "a", "pushkey": "k"}),
        ("client.ban", {"user_id": "@Historical User!:x"}),
        ("client.setRoomAlias", {"room_id": "!" + "r" * 43}),
        ("federation.sendTransaction", {"pdus": [5], "edus": [None]}),
    ],
)
def test_what_clients_and_servers_in_the_wild_send_is_accepted(name: str, body: dict[str, Any]) -> None:
    validator(name).validate(body)


def test_invite_wants_either_a_user_or_all_of_a_third_party_id() -> None:
    assert refusal("client.inviteUser", {"reason": "hi"}).missing == "user_id"
    assert refusal("client.inviteUser", {"medium": "email", "id_server": "x"}).missing == "id_access_token"


def test_setting_a_pusher_wants_more_than_removing_one() -> None:
    assert refusal("client.postPusher", {"kind": "http", "app_id": "a", "pushkey": "k"}).missing == "app_display_name"
    assert refusal("client.postPusher", {"app_id": "a", "pushkey": "k"}).missing == "kind"


def test_body_may_be_left_out_where_nothing_in_it_is_needed() -> None:
    assert not validator("client.joinRoom").body_required
    assert not validator("client.postReceipt").body_required
    assert not validator("federation.queryPublicRooms").body_required
    assert validator("client.createRoom").body_required
    for name in names():
        assert validator(name).body_required or validator(name).accepts({})


def test_validators_are_compiled_once() -> None:
    assert validator("client.login") is validator("client.login")


def test_accepting_a_body_does_not_import_jsonschema() -> None:
    program = (
        "import sys, schemas\n"
        "[schemas.validator(name) for name in schemas.names()]\n"
        "schemas.validator('client.setTyping').validate({'typing': True})\n"
        "assert 'jsonschema' not in sys.modules\n"
        "schemas.preload()\n"
        "assert 'jsonschema' in sys.modules"
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_everything_can_be_loaded_in_advance() -> None:
    preload()
