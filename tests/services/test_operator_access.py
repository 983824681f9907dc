"""Orders of the operator are signed, and new."""

import json
from typing import Any

import pytest

from homeserver.core.signatures import generate_signing_key
from homeserver.errors import Forbidden
from homeserver.runtime.clock import FrozenClock
from homeserver.services.operator_access import OperatorAccess

KEY = generate_signing_key("1", bytes(32))


def give(access: OperatorAccess, signer: OperatorAccess, **changes: Any) -> None:
    order = {"at": FrozenClock().now_ms(), "nonce": "n", "order": "user list"} | changes
    body = json.dumps(order).encode()
    access.require(signer.authorization(body), body, order)


def test_order_counts_once() -> None:
    clock = FrozenClock()
    access = OperatorAccess(KEY, clock, "hearth.test")
    give(access, access)
    with pytest.raises(Forbidden):
        give(access, access)
    give(access, access, nonce="m")


def test_old_order_is_refused() -> None:
    clock = FrozenClock()
    access = OperatorAccess(KEY, clock, "hearth.test")
    clock.advance(61)
    with pytest.raises(Forbidden):
        give(access, access)


@pytest.mark.parametrize("changes", [{"at": "now"}, {"at": None}, {"nonce": None}])
def test_order_that_does_not_say_when_is_refused(changes: dict[str, Any]) -> None:
    access = OperatorAccess(KEY, FrozenClock(), "hearth.test")
    with pytest.raises(Forbidden):
        give(access, access, **changes)


def test_key_and_server_are_those_of_the_server() -> None:
    access = OperatorAccess(KEY, FrozenClock(), "hearth.test")
    for signer in (
        OperatorAccess(generate_signing_key("1", b"1" * 32), FrozenClock(), "hearth.test"),
        OperatorAccess(KEY, FrozenClock(), "other.test"),
    ):
        with pytest.raises(Forbidden):
            give(access, signer)
    for authorization in (None, "", "Bearer x", "Hearth-Operator", "Hearth-Operator ü"):
        with pytest.raises(Forbidden):
            access.require(authorization, b"{}", {})
