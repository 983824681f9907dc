"""matrix-nio beyond talking: verification, keys for a third device, threads, spaces, media, push, search."""

import io
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import nio
import pytest
from nio.api import RelationshipType
from PIL import Image

from tests.client_api.push_gateway import push_gateway
from tests.processes.nio_devices import Device, new_device
from tests.servers.client import Client
from tests.servers.fixtures import StartServer
from tests.servers.homeserver import Homeserver

pytestmark = [pytest.mark.filterwarnings("ignore::DeprecationWarning"), pytest.mark.timeout(300)]


class People:
    """Two users with two devices each at one server, and the folder of their stores."""

    def __init__(self, server: Homeserver, folder: Path) -> None:
        self.server = server
        self.folder = folder
        self.devices: list[Device] = []

    async def device(self, user: str, name: str, *, register: bool = False) -> Device:
        """One more device."""
        user = user if register else f"@{user}:{self.server.name}"
        self.devices.append(await new_device(self.server, self.folder, user, name, register=register))
        return self.devices[-1]

    async def begin(self) -> None:
        """Log everybody in."""
        self.alice = await self.device("alice", "laptop", register=True)
        self.bob = await self.device("bob", "laptop", register=True)
        self.alice_phone = await self.device("alice", "phone")
        self.bob_phone = await self.device("bob", "phone")

    async def room(self, **options: Any) -> str:
        """A room of both, which all devices know."""
        created = await self.alice.client.room_create(invite=[self.bob.client.user_id], **options)
        assert isinstance(created, nio.RoomCreateResponse), created
        await self.bob.sync()
        assert isinstance(await self.bob.client.join(created.room_id), nio.JoinResponse)
        for _ in range(2):
            for device in self.devices:
                await device.sync()
        return created.room_id

    def raw(self, device: Device) -> Client:
        """Requests that matrix-nio has no methods for. To be closed."""
        client = Client(self.server.url)
        client.token = device.client.access_token
        return client


@pytest.fixture
async def people(start_server: StartServer, tmp_path: Path) -> AsyncIterator[People]:
    people = People(await start_server("nio"), tmp_path)
    await people.begin()
    yield people
    for device in people.devices:
        await device.client.close()


def encrypted() -> dict[str, Any]:
    return {"initial_state": [nio.EnableEncryptionBuilder().as_dict()]}


async def verify(asking: Device, asked: Device) -> None:
    """Compare emoji, by to-device messages."""
    target = asking.client.device_store[asked.client.user_id][asked.client.device_id]
    assert isinstance(await asking.client.start_key_verification(target), nio.ToDeviceResponse)
    for _ in range(10):
        await asked.sync()
        if asked.client.key_verifications:
            break
    [transaction] = asked.client.key_verifications
    assert isinstance(await asked.client.accept_key_verification(transaction), nio.ToDeviceResponse)
    both = [(device, device.client.key_verifications[transaction]) for device in (asking, asked)]
    for _ in range(10):
        if all(sas.established_sas for _, sas in both):
            break
        for device, _ in both:
            await device.sync()
    assert both[0][1].get_emoji() == both[1][1].get_emoji()
    for device, _ in both:
        assert isinstance(await device.client.confirm_short_auth_string(transaction), nio.ToDeviceResponse)
    for _ in range(10):
        if all(sas.verified for _, sas in both):
            break
        for device, _ in both:
            await device.sync()
    assert all(sas.verified for _, sas in both)
    for one, other in ((asking, asked), (asked, asking)):
        assert one.client.device_store[other.client.user_id][other.client.device_id].verified


async def unreadable(device: Device, room_id: str) -> nio.MegolmEvent:
    """The first message of the room that the device has no key for."""
    page = await device.client.room_messages(room_id, device.client.next_batch, limit=50)
    assert isinstance(page, nio.RoomMessagesResponse)
    return next(event for event in page.chunk if isinstance(event, nio.MegolmEvent))


async def test_devices_verify_each_other_and_pass_keys_on(people: People) -> None:
    room_id = await people.room(**encrypted())
    await people.alice.say(room_id, "before the third device")
    for device in (people.bob, people.bob_phone, people.alice_phone):
        await device.wait_for("before the third device")
    await verify(people.alice, people.bob)
    await verify(people.bob_phone, people.alice_phone)

    tablet = await people.device("bob", "tablet")
    for device in (people.bob, tablet, people.bob):
        await device.sync()
    lost = await unreadable(tablet, room_id)
    people.bob.client.verify_device(people.bob.client.device_store[tablet.client.user_id][tablet.client.device_id])
    tablet.client.verify_device(tablet.client.device_store[tablet.client.user_id][people.bob.client.device_id])
    assert isinstance(await tablet.client.request_room_key(lost), nio.RoomKeyRequestResponse)
    for _ in range(10):
        await people.bob.sync()
        await tablet.sync()
        if tablet.client.olm.inbound_group_store.get(room_id, lost.sender_key, lost.session_id):
            break
    read = tablet.client.decrypt_event(lost)
    assert isinstance(read, nio.RoomMessageText)
    assert read.body == "before the third device"

    keys = people.folder / "keys.txt"
    await people.bob.client.export_keys(str(keys), "a passphrase", count=100)
    other = await people.device("bob", "desktop")
    lost = await unreadable(other, room_id)
    await other.client.import_keys(str(keys), "a passphrase")
    assert other.client.decrypt_event(lost).body == "before the third device"


async def test_threads_relations_and_receipts(people: People) -> None:
    room_id = await people.room()
    client = people.alice.client
    root = await client.room_send(room_id, "m.room.message", {"msgtype": "m.text", "body": "root"})
    for number in range(3):
        relation = {"rel_type": "m.thread", "event_id": root.event_id}
        content = {"msgtype": "m.text", "body": f"reply {number}", "m.relates_to": relation}
        last = await client.room_send(room_id, "m.room.message", content)
    reaction = {"m.relates_to": {"rel_type": "m.annotation", "event_id": root.event_id, "key": "👍"}}
    await people.bob.client.room_send(room_id, "m.reaction", reaction)
    threads = [event async for event in people.bob_phone.client.room_get_threads(room_id)]
    assert [event.event_id for event in threads] == [root.event_id]
    replies = client.room_get_event_relations(room_id, root.event_id, RelationshipType.thread)
    assert [event.body async for event in replies] == ["reply 2", "reply 1", "reply 0"]
    thumbs = client.room_get_event_relations(room_id, root.event_id, RelationshipType.annotation, "m.reaction")
    assert [event.key async for event in thumbs] == ["👍"]
    receipt = await people.bob.client.update_receipt_marker(room_id, last.event_id, thread_id=root.event_id)
    assert isinstance(receipt, nio.UpdateReceiptMarkerResponse)
    receipts = client.rooms[room_id].threaded_read_receipts
    for _ in range(10):
        await people.alice.sync()
        if root.event_id in receipts.get(people.bob.client.user_id, {}):
            break
    assert receipts[people.bob.client.user_id][root.event_id].event_id == last.event_id


async def test_spaces_are_walked_through(people: People) -> None:
    space = await people.room(space=True, name="House")
    client = people.alice.client
    hall = await client.room_create(name="Hall", preset=nio.RoomPreset.public_chat)
    cellar = await client.room_create(name="Cellar")
    for child in (hall, cellar):
        put = await client.room_put_state(space, "m.space.child", {"via": [people.server.name]}, child.room_id)
        assert isinstance(put, nio.RoomPutStateResponse), put
    answer = await people.bob.client.space_get_hierarchy(space)
    assert isinstance(answer, nio.SpaceGetHierarchyResponse), answer
    assert [room["name"] for room in answer.rooms] == ["House", "Hall"]


async def test_media_go_up_and_come_down(people: People) -> None:
    picture = io.BytesIO()
    Image.new("RGB", (320, 200), "gray").save(picture, "PNG")
    sent = picture.getvalue()
    client = people.alice.client
    uploaded, _ = await client.upload(
        lambda _a, _b: io.BytesIO(sent), content_type="image/png", filename="gray.png", filesize=len(sent)
    )
    assert isinstance(uploaded, nio.UploadResponse), uploaded
    got = await people.bob_phone.client.download(uploaded.content_uri)
    assert isinstance(got, nio.MemoryDownloadResponse), got
    assert (got.body, got.content_type, got.filename) == (sent, "image/png", "gray.png")
    server_name, media_id = uploaded.content_uri.removeprefix("mxc://").split("/")
    small = await people.bob.client.thumbnail(server_name, media_id, 32, 32, nio.ResizingMethod.crop)
    assert isinstance(small, nio.ThumbnailResponse), small
    assert Image.open(io.BytesIO(small.body)).size == (32, 32)
    secret, keys = await client.upload(
        lambda _a, _b: io.BytesIO(sent), content_type="image/png", encrypt=True, filesize=len(sent)
    )
    assert keys is not None
    got = await people.bob.client.download(secret.content_uri)
    read = nio.crypto.decrypt_attachment(got.body, keys["key"]["k"], keys["hashes"]["sha256"], keys["iv"])
    assert read == sent


async def test_push_and_search(people: People) -> None:
    room_id = await people.room(name="Bell")
    phone = people.raw(people.bob_phone)
    try:
        async with push_gateway() as gateway:
            await phone.post("pushers/set", gateway.pusher("phone"))
            await people.alice.say(room_id, "the harvest begins")
            pushed = await gateway.next_event()
            assert (pushed["content"]["body"], pushed["room_name"]) == ("the harvest begins", "Bell")
        body = {"search_categories": {"room_events": {"search_term": "harvest"}}}
        found = (await phone.post("search", body))["search_categories"]["room_events"]
        assert [one["result"]["content"]["body"] for one in found["results"]] == ["the harvest begins"]
    finally:
        await phone.close()
