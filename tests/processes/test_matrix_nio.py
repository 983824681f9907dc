"""A real client library: matrix-nio, with end-to-end encryption, two users with two devices."""

from pathlib import Path
from typing import Any

import nio
import pytest

from tests.servers.fixtures import StartServer
from tests.servers.homeserver import Homeserver

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning")
PASSWORD = "correct horse battery"


class Device:
    """A matrix-nio client that remembers the texts that it could read."""

    def __init__(self, client: nio.AsyncClient) -> None:
        self.client = client
        self.texts: list[str] = []
        self.encrypted: list[str] = []
        client.add_event_callback(self._read, nio.RoomMessageText)

    async def _read(self, _room: Any, event: nio.RoomMessageText) -> None:
        self.texts.append(event.body)
        if event.decrypted:
            self.encrypted.append(event.body)

    async def sync(self) -> None:
        """One /sync with what follows of it: keys uploaded, queried, claimed."""
        answer = await self.client.sync(timeout=2_000, full_state=self.client.next_batch is None)
        assert isinstance(answer, nio.SyncResponse), answer
        if self.client.should_upload_keys:
            assert isinstance(await self.client.keys_upload(), nio.KeysUploadResponse)
        if self.client.should_query_keys:
            assert isinstance(await self.client.keys_query(), nio.KeysQueryResponse)
        for devices in [self.client.get_users_for_key_claiming()] if self.client.should_claim_keys else []:
            await self.client.keys_claim(devices)
        await self.client.send_to_device_messages()

    async def wait_for(self, text: str) -> None:
        for _ in range(20):
            if text in self.texts:
                return
            await self.sync()
        raise AssertionError(f"{text!r} did not arrive; got {self.texts}")

    async def say(self, room_id: str, text: str) -> None:
        content = {"msgtype": "m.text", "body": text}
        answer = await self.client.room_send(room_id, "m.room.message", content, ignore_unverified_devices=True)
        assert isinstance(answer, nio.RoomSendResponse), answer


async def new_device(server: Homeserver, folder: Path, user: str, name: str, *, register: bool = False) -> Device:
    store = folder / f"{user}-{name}"
    store.mkdir(parents=True)
    config = nio.AsyncClientConfig(store_sync_tokens=False, encryption_enabled=True)
    client = nio.AsyncClient(server.url, user, store_path=str(store), config=config)
    if register:
        registered = await client.register(user, PASSWORD, name)
        assert isinstance(registered, nio.RegisterResponse), registered
        client.load_store()
    else:
        answer = await client.login(PASSWORD, name)
        assert isinstance(answer, nio.LoginResponse), answer
    device = Device(client)
    await device.sync()
    return device


async def test_matrix_nio_talks_plainly_and_encrypted_between_two_users_with_two_devices(
    start_server: StartServer, tmp_path: Path
) -> None:
    server = await start_server("nio")
    alice = await new_device(server, tmp_path, "alice", "laptop", register=True)
    bob = await new_device(server, tmp_path, "bob", "laptop", register=True)
    phone = await new_device(server, tmp_path, f"@bob:{server.name}", "phone")
    devices = [alice, bob, phone]
    try:
        created = await alice.client.room_create(
            name="Hearth", invite=[bob.client.user_id], initial_state=[nio.EnableEncryptionBuilder().as_dict()]
        )
        assert isinstance(created, nio.RoomCreateResponse), created
        plain = await alice.client.room_create(name="Plain", invite=[bob.client.user_id])
        assert isinstance(plain, nio.RoomCreateResponse)
        await bob.sync()
        for room_id in (created.room_id, plain.room_id):
            assert isinstance(await bob.client.join(room_id), nio.JoinResponse)
        for _ in range(2):
            for device in devices:
                await device.sync()

        await alice.say(plain.room_id, "in the open")
        await bob.wait_for("in the open")
        await phone.wait_for("in the open")
        await alice.say(created.room_id, "a secret")
        for device in (bob, phone):
            await device.wait_for("a secret")
            assert device.encrypted == ["a secret"]
        await bob.say(created.room_id, "kept")
        await alice.wait_for("kept")
        await phone.wait_for("kept")

        typing = await bob.client.room_typing(plain.room_id)
        assert isinstance(typing, nio.RoomTypingResponse)
        messages = await alice.client.room_messages(plain.room_id, alice.client.next_batch, limit=50)
        assert isinstance(messages, nio.RoomMessagesResponse)
        assert "in the open" in [getattr(e, "body", None) for e in messages.chunk]
    finally:
        for device in devices:
            await device.client.close()
