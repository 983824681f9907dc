"""What many servers in a room, or many that are idle, cost."""

from typing import Any
from unittest import mock

import pytest

from federation import sender as sender_module
from federation.outbound.transport import Answer
from homeserver.core import event_builder
from storage.tables import room_hosts
from tests.federation.conftest import Until
from tests.federation.hearth import Hearth
from tests.federation.network import Network, Sent

SERVERS = 100


async def test_a_message_to_a_hundred_servers_is_signed_and_serialised_once(
    hs1: Hearth, network: Network, until: Until, monkeypatch: pytest.MonkeyPatch
) -> None:
    room_id = await hs1.create_room("alice")
    head = await hs1.reading.heads.get(room_id)
    assert head is not None

    async def fill(tx: Any) -> None:
        for number in range(SERVERS):
            tx.insert(room_hosts, room_nid=head.room_nid, server_name=f"other{number}", joined_count=1)

    await hs1.base.database.write(fill)

    async def routed() -> bool:
        return hs1.sender._routed >= hs1.base.database.position

    await until(routed)  # what the room was made of: its servers are looked up for it
    hs1.sender._hosts.clear()

    async def take(sent: Sent) -> Answer | None:
        return Answer(200, {}, b'{"pdus":{}}') if "/send/" in sent.target else None

    network.interferences.append(take)
    serialised = mock.Mock(wraps=sender_module.encode_lenient)
    signed = mock.Mock(wraps=event_builder.add_event_signature)
    monkeypatch.setattr(sender_module, "encode_lenient", serialised)
    monkeypatch.setattr(event_builder, "add_event_signature", signed)
    await hs1.send("alice", room_id, "hello")

    async def all_have_it() -> bool:
        return len(network.requests("/send/")) == SERVERS

    await until(all_have_it)
    assert serialised.call_count == 1
    assert signed.call_count == 1


async def test_servers_that_are_up_to_date_cost_nothing(hs1: Hearth, network: Network, until: Until) -> None:
    room_id = await hs1.create_room("alice")
    head = await hs1.reading.heads.get(room_id)
    assert head is not None
    before = len(hs1.base.tasks)

    async def fill(tx: Any) -> None:
        for number in range(3_000):
            tx.insert(room_hosts, room_nid=head.room_nid, server_name=f"other{number}", joined_count=1)

    await hs1.base.database.write(fill)
    hs1.sender._hosts.clear()

    async def take(sent: Sent) -> Answer | None:
        return Answer(200, {}, b'{"pdus":{}}') if "/send/" in sent.target else None

    network.interferences.append(take)
    await hs1.send("alice", room_id, "hello")

    async def all_have_it() -> bool:
        return len(network.requests("/send/")) == 3_000 and not hs1.sender.waiting()

    async def nothing_is_left() -> bool:
        return not hs1.sender._outboxes and len(hs1.base.tasks) == before

    await until(all_have_it)
    await until(nothing_is_left)
