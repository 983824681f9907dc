"""Devices of matrix-nio, for tests."""

from pathlib import Path
from typing import Any

import nio

from tests.servers.homeserver import Homeserver

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
