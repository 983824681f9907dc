"""Third-party invites between servers, and invites to servers that know the first version of the endpoint only."""

from typing import Any

import pytest

from federation.outbound.failures import FederationError
from federation.outbound.transport import Answer
from homeserver.core.hashes import unpadded_base64
from homeserver.core.signatures import generate_signing_key, sign_json
from tests.federation.conftest import Until
from tests.federation.hearth import Hearth
from tests.federation.network import Network, Sent

IDENTITY_KEY = generate_signing_key("0", b"i" * 32)
BOB = "@bob:hs2"


async def invited_by_mail(hs1: Hearth) -> str:
    """A room of hs1 with an invite for an address."""
    room_id = await hs1.create_room("alice", preset="private_chat")
    key = {"public_key": unpadded_base64(bytes(IDENTITY_KEY.verify_key)), "key_validity_url": "https://id/valid"}
    content = {"display_name": "b...@...", "public_keys": [key], **key}
    await hs1.set_state("alice", room_id, "m.room.third_party_invite", content, "the token")
    return room_id


def signed_for(user_id: str) -> dict[str, Any]:
    return sign_json({"mxid": user_id, "token": "the token"}, "id", IDENTITY_KEY)


def template(room_id: str, **changes: Any) -> dict[str, Any]:
    invite = {"display_name": "b", "signed": signed_for(BOB)}
    content = {"membership": "invite", "third_party_invite": invite}
    event = {"type": "m.room.member", "room_id": room_id, "sender": "@alice:hs1", "state_key": BOB, "content": content}
    return {**event, **changes}


async def test_a_third_party_invite_becomes_an_invite_of_its_user(hs1: Hearth, hs2: Hearth) -> None:
    room_id = await invited_by_mail(hs1)
    await hs2.outside.client.exchange_third_party_invite("hs1", room_id, template(room_id))
    assert await hs1.membership(room_id, BOB) == "invite"
    assert await hs2.membership(room_id, BOB) == "invite"
    await hs2.join("bob", room_id, hs1)


@pytest.mark.parametrize(
    "changes",
    [
        {"sender": "@anna:hs1"},
        {"state_key": "@eve:hs2"},
        {"type": "m.room.topic"},
        {"room_id": "!other:hs1"},
    ],
)
async def test_nobody_else_profits_from_a_third_party_invite(
    hs1: Hearth, hs2: Hearth, changes: dict[str, Any]
) -> None:
    room_id = await invited_by_mail(hs1)
    content = template(**{"room_id": room_id, **changes})
    with pytest.raises(FederationError):
        await hs2.outside.client.exchange_third_party_invite("hs1", room_id, content)
    assert await hs1.membership(room_id, BOB) is None


async def test_an_identity_server_tells_of_an_address_and_its_invites_are_redeemed(hs1: Hearth, hs2: Hearth) -> None:
    room_id = await invited_by_mail(hs1)
    whose = {"medium": "email", "address": "b@x", "mxid": BOB}
    invite = {**whose, "room_id": room_id, "sender": "@alice:hs1", "signed": signed_for(BOB)}
    body = {**whose, "invites": [invite]}
    await hs1.outside.client._requests.json(
        "hs2", "PUT", "/_matrix/federation/v1/3pid/onbind", body, signed=False
    )
    assert await hs2.membership(room_id, BOB) == "invite"


async def test_invites_go_to_servers_that_know_the_first_version_of_the_endpoint_only(
    hs1: Hearth, hs2: Hearth, network: Network, until: Until
) -> None:
    async def old_server(sent: Sent) -> Answer | None:
        is_new = "/v2/invite/" in sent.target
        return Answer(404, {}, b'{"errcode":"M_UNRECOGNIZED","error":"no"}') if is_new else None

    network.interferences.append(old_server)
    room_id = await hs1.create_room("alice", room_version="2")
    await hs1.writing.membership.invite(hs1.as_user("alice"), room_id, BOB)
    assert await hs2.membership(room_id, BOB) == "invite"
    newer = await hs1.create_room("alice", room_version="11")
    with pytest.raises(Exception, match="no"):
        await hs1.writing.membership.invite(hs1.as_user("alice"), newer, BOB)
