"""A real bridge framework: mautrix, as an application service with a bot and ghosts, over HTTP to a server process."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import nio
import pytest
from mautrix.appservice import AppService, IntentAPI
from mautrix.appservice.state_store.file import FileASStateStore
from mautrix.client import Client as MautrixClient
from mautrix.types import (
    EncryptedEvent,
    EventType,
    Membership,
    MessageType,
    PresenceState,
    RoomCreatePreset,
    RoomDirectoryVisibility,
    TextMessageEventContent,
    TrustState,
)

from tests.processes.test_matrix_nio import new_device
from tests.servers.fixtures import NewUser, StartServer
from tests.servers.homeserver import Homeserver, free_ports

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning", "ignore::ResourceWarning")
REGISTRATION = """
id: mautrix
url: http://127.0.0.1:{port}
as_token: the-as-token
hs_token: the-hs-token
sender_localpart: bridgebot
rate_limited: false
receive_ephemeral: true
de.sorunome.msc2409.push_ephemeral: true
org.matrix.msc3202: true
io.element.msc4190: true
namespaces:
  users: [{{exclusive: true, regex: "@bridge_.*"}}]
  aliases: [{{exclusive: true, regex: "#bridge_.*"}}]
"""


class Bridge:
    """mautrix with what it was told, in order."""

    def __init__(self, server: Homeserver, port: int, folder: Path) -> None:
        self.server = server
        self.port = port
        self.events: list[Any] = []
        self._news = asyncio.Event()
        self.appservice = AppService(
            server.url,
            server.name,
            "the-as-token",
            "the-hs-token",
            "bridgebot",
            "mautrix",
            state_store=FileASStateStore(folder / "mautrix.json", binary=False),
            ephemeral_events=True,
            encryption_events=True,
        )
        self.appservice.synchronous_handlers = True
        self.appservice.matrix_event_handler(self._hear)

    @property
    def bot(self) -> IntentAPI:
        return self.appservice.intent

    def ghost(self, name: str) -> IntentAPI:
        return self.bot.user(f"@bridge_{name}:{self.server.name}")

    async def start(self) -> None:
        await self.appservice.start("127.0.0.1", self.port)

    async def _hear(self, event: Any) -> None:
        self.events.append(event)
        self._news.set()

    async def wait_for(self, is_meant: Callable[[Any], object]) -> Any:
        """The first event that is meant, once it has been told."""
        async with asyncio.timeout(60):
            while not any(is_meant(event) for event in self.events):
                self._news.clear()
                await self._news.wait()
        return next(event for event in self.events if is_meant(event))


StartBridge = Callable[[], Awaitable[Bridge]]


@pytest.fixture
async def start_bridge(start_server: StartServer, tmp_path: Path) -> AsyncIterator[StartBridge]:
    bridges: list[Bridge] = []

    async def start() -> Bridge:
        (port,) = free_ports(1)
        registration = tmp_path / "mautrix.yaml"
        registration.write_text(REGISTRATION.format(port=port))
        bridge = Bridge(await start_server("bridged", HS_APPSERVICES=str(registration)), port, tmp_path)
        await bridge.start()
        bridges.append(bridge)
        return bridge

    yield start
    for bridge in bridges:
        await bridge.appservice.stop()


async def test_ghosts_do_what_bridges_have_them_do(start_bridge: StartBridge, new_user: NewUser) -> None:
    bridge = await start_bridge()
    alice = await new_user(bridge.server, "alice")
    assert await bridge.appservice.ping_self("hello") >= 0
    room_id = await bridge.bot.create_room(
        alias_localpart="bridge_room",
        name="Bridged",
        invitees=[alice.user_id],  # type: ignore[list-item]
        visibility=RoomDirectoryVisibility.PUBLIC,
    )
    ghost = bridge.ghost("bob")
    await ghost.set_displayname("Bob (bridged)")
    await ghost.set_avatar_url(await ghost.upload_media(b"\x89PNG\r\n\x1a\n", "image/png", "bob.png"))
    await bridge.bot.invite_user(room_id, ghost.mxid)
    await ghost.ensure_joined(room_id)
    member = await bridge.wait_for(
        lambda event: event.type == EventType.ROOM_MEMBER
        and event.state_key == ghost.mxid
        and event.content.membership == Membership.JOIN
    )
    assert member.content.displayname == "Bob (bridged)"

    await alice.request("POST", f"join/{room_id}", {})
    message_id = await ghost.send_text(room_id, "from the other network")
    assert (await alice.request("GET", f"rooms/{room_id}/event/{message_id}"))["sender"] == ghost.mxid
    answer = await alice.request("PUT", f"rooms/{room_id}/send/m.room.message/1", {"msgtype": "m.text", "body": "hi"})
    said = await bridge.wait_for(lambda event: getattr(event, "event_id", None) == answer["event_id"])
    assert (said.sender, said.content.body) == (alice.user_id, "hi")

    await ghost.set_typing(room_id, 30_000)
    await ghost.mark_read(room_id, said.event_id)
    await ghost.set_presence(PresenceState.ONLINE)
    await bridge.bot.set_room_topic(room_id, "A topic")
    levels = await bridge.bot.get_power_levels(room_id)
    levels.users[ghost.mxid] = 50
    await bridge.bot.set_power_levels(room_id, levels)
    await ghost.redact(room_id, message_id)
    assert (await bridge.bot.get_power_levels(room_id)).users[ghost.mxid] == 50
    assert set(await bridge.bot.get_room_members(room_id)) == {alice.user_id, ghost.mxid, bridge.bot.mxid}
    sync = await alice.sync()
    passing = [event["type"] for event in sync["rooms"]["join"][room_id]["ephemeral"]["events"]]
    assert set(passing) == {"m.typing", "m.receipt"}

    await alice.request("PUT", f"rooms/{room_id}/typing/{alice.user_id}", {"typing": True, "timeout": 30_000})
    typing = await bridge.wait_for(
        lambda event: event.type == EventType.TYPING and alice.user_id in event.content.user_ids
    )
    assert typing.room_id == room_id
    await alice.request("POST", f"rooms/{room_id}/receipt/m.read/{answer['event_id']}", {})
    receipt = await bridge.wait_for(
        lambda event: event.type == EventType.RECEIPT and answer["event_id"] in event.content
    )
    assert receipt.room_id == room_id


async def test_what_is_asked_for_is_made(start_bridge: StartBridge, new_user: NewUser) -> None:
    bridge = await start_bridge()
    alice = await new_user(bridge.server, "alice")

    async def make_user(user_id: str) -> dict[str, Any]:
        await bridge.bot.user(user_id).ensure_registered()
        return {"made": True}

    async def make_room(alias: str) -> dict[str, Any]:
        await bridge.bot.create_room(alias_localpart=alias[1:].partition(":")[0], preset=RoomCreatePreset.PUBLIC)
        return {"made": True}

    bridge.appservice.query_user, bridge.appservice.query_alias = make_user, make_room  # type: ignore[assignment]
    await alice.join(f"#bridge_new:{bridge.server.name}")
    room_id = await alice.create_room()
    ghost = f"@bridge_carol:{bridge.server.name}"
    await alice.request("POST", f"rooms/{room_id}/invite", {"user_id": ghost})
    await bridge.wait_for(
        lambda event: event.type == EventType.ROOM_MEMBER
        and event.state_key == ghost
        and event.content.membership == Membership.INVITE
    )
    await bridge.bot.user(ghost).ensure_joined(room_id)  # type: ignore[arg-type]


class CryptoState:
    """What mautrix' encryption asks of rooms."""

    def __init__(self, bridge: Bridge) -> None:
        self._bridge = bridge

    async def is_encrypted(self, room_id: Any) -> bool:
        return bool(await self._bridge.appservice.state_store.is_encrypted(room_id))

    async def get_encryption_info(self, room_id: Any) -> Any:
        return await self._bridge.appservice.state_store.get_encryption_info(room_id)

    async def find_shared_rooms(self, user_id: Any) -> list[Any]:
        return [room_id for room_id in await self._bridge.bot.get_joined_rooms()]


async def encryption_of(bridge: Bridge) -> Any:
    """The bot's device as mautrix makes it for bridges: told by transactions, made without logging in."""
    from mautrix.crypto import MemoryCryptoStore, OlmMachine

    await bridge.bot.ensure_registered()
    store = MemoryCryptoStore("bot", "pickle")
    client = MautrixClient(
        base_url=bridge.server.url,
        mxid=bridge.bot.mxid,
        state_store=bridge.appservice.state_store,
        sync_store=store,
    )
    client.api.token = "the-as-token"
    await client.create_device_msc4190("", "Bridge")
    machine = OlmMachine(client, store, CryptoState(bridge))  # type: ignore[arg-type]
    machine.share_keys_min_trust = machine.send_keys_min_trust = TrustState.UNVERIFIED
    await machine.load()
    bridge.appservice.otk_handler = machine.handle_as_otk_counts
    bridge.appservice.device_list_handler = machine.handle_as_device_lists
    bridge.appservice.to_device_handler = machine.handle_as_to_device_event  # type: ignore[assignment]
    await machine.share_keys()
    return machine


async def test_bot_speaks_encrypted_with_a_device_told_by_transactions(
    start_bridge: StartBridge, tmp_path: Path
) -> None:
    pytest.importorskip("olm", reason="python-olm has no wheel for this Python")
    bridge = await start_bridge()
    machine = await encryption_of(bridge)
    alice = await new_device(bridge.server, tmp_path, "alice", "laptop", register=True)
    try:
        room_id = await bridge.bot.create_room(
            invitees=[alice.client.user_id],  # type: ignore[list-item]
            initial_state=[
                {"type": "m.room.encryption", "state_key": "", "content": {"algorithm": "m.megolm.v1.aes-sha2"}}  # type: ignore[list-item]
            ],
        )
        await alice.sync()
        assert isinstance(await alice.client.join(room_id), nio.JoinResponse)
        while not (room := alice.client.rooms.get(room_id)) or bridge.bot.mxid not in room.users:
            await alice.sync()
        await alice.sync()
        await alice.say(room_id, "said in secret")
        event = await bridge.wait_for(
            lambda event: isinstance(event, EncryptedEvent) and event.sender == alice.client.user_id
        )
        if not await machine.crypto_store.has_group_session(room_id, event.content.session_id):
            assert await machine.wait_for_session(room_id, event.content.session_id, timeout=60)
        decrypted = await machine.decrypt_megolm_event(event)
        assert decrypted.content.body == "said in secret"

        await machine.share_group_session(room_id, [alice.client.user_id])  # type: ignore[list-item]
        content = TextMessageEventContent(msgtype=MessageType.TEXT, body="answered in secret")
        encrypted = await machine.encrypt_megolm_event(room_id, EventType.ROOM_MESSAGE, content)
        await bridge.bot.send_message_event(room_id, EventType.ROOM_ENCRYPTED, encrypted)
        await alice.wait_for("answered in secret")
        assert "answered in secret" in alice.encrypted
    finally:
        await alice.client.close()
        await machine.client.api.session.close()
