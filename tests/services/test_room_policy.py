"""What the operator allows of new rooms."""

from dataclasses import replace
from types import MappingProxyType
from typing import Any, cast

import pytest

from homeserver.errors import Forbidden
from homeserver.services.appservices import Appservice
from homeserver.services.room_policy import RoomPolicy
from homeserver.services.room_presets import NewRoom
from homeserver.services.sessions import Requester

ALICE = Requester("@alice:hearth.test", "DEVICE")
ADMIN = replace(ALICE, is_admin=True)
BRIDGE = replace(ALICE, appservice=cast(Appservice, object()))
ENCRYPTION = ("m.room.encryption", "")
PRIVATE, PUBLIC = NewRoom("private_chat"), NewRoom("public_chat")


@pytest.mark.parametrize("rule", ["creation", "publication"])
def test_what_is_for_admins_is_refused_to_others(rule: str) -> None:
    def ask(policy: RoomPolicy, requester: Requester) -> None:
        getattr(policy, f"check_{rule}")(requester)

    admins: dict[str, Any] = {rule: "admins"}
    policy = RoomPolicy(**admins)
    with pytest.raises(Forbidden):
        ask(policy, ALICE)
    ask(policy, ADMIN)
    ask(policy, BRIDGE)
    ask(RoomPolicy(), ALICE)


@pytest.mark.parametrize(
    ("default", "new", "is_encrypted"),
    [
        ("off", PRIVATE, False),
        ("private", PRIVATE, True),
        ("private", PUBLIC, False),
        ("private", replace(PRIVATE, is_public=True), False),
        ("all", PUBLIC, True),
    ],
)
def test_rooms_are_encrypted_as_the_operator_wants(default: Any, new: NewRoom, is_encrypted: bool) -> None:
    assert (ENCRYPTION in RoomPolicy(encryption_default=default).applied_to(new).initial_state) is is_encrypted


def test_encryption_that_was_asked_for_stays_as_it_is() -> None:
    content = {"algorithm": "m.megolm.v1.aes-sha2", "rotation_period_msgs": 7}
    new = replace(PRIVATE, initial_state=MappingProxyType({ENCRYPTION: content}))
    assert RoomPolicy(encryption_default="all").applied_to(new).initial_state[ENCRYPTION] == content
