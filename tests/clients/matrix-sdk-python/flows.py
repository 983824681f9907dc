"""The Rust SDK by its Python bindings, as Element X uses it, against a running Hearth: `python flows.py URL`.

Two users with two devices each, and a third that restores its history. Each step prints a sentence; whatever fails
ends it with 1.
"""

import asyncio
import json
import shutil
import struct
import sys
import threading
import time
import zlib
from collections.abc import Awaitable, Callable, Sequence
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import matrix_sdk_python as sdk
from devices import Device, Timeline, event_id, folder, register, request, step, until

url = sys.argv[1]
run = f"{time.time_ns():x}"


def parameters(**changes: Any) -> sdk.CreateRoomParameters:
    """A private room."""
    defaults = {
        "name": None, "topic": None, "is_encrypted": False, "is_direct": False,
        "visibility": sdk.RoomVisibility.PRIVATE(), "preset": sdk.RoomPreset.PRIVATE_CHAT, "invite": None,
        "avatar": None, "power_level_content_override": None,
        "join_rule_override": None, "history_visibility_override": None, "canonical_alias": None, "is_space": False,
    }  # fmt: skip
    return sdk.CreateRoomParameters(**(defaults | changes))


async def room_of(alice: Device, others: list[Device], **options: Any) -> str:
    """A room of all these devices."""
    guests = {device.user_id: device for device in others if device.user_id != alice.user_id}
    room_id = await alice.client.create_room(parameters(invite=list(guests), **options))
    for guest in guests.values():
        await (await guest.room(room_id, sdk.Membership.INVITED)).join()
    for device in [alice, *others]:
        room = await device.room(room_id)
        await until("everybody is in", lambda room=room: room.joined_members_count() == 1 + len(guests))
    return room_id


async def nudged(what: str, devices: Sequence[Device], found: Callable[[], Any]) -> None:
    """Wait for a step of a verification in a room. What the SDK has to send in its course waits for the other of its
    two connections to be answered, which takes half a minute where nothing comes to the device."""
    messages = {device.user_id: {"*": {}} for device in devices}
    token = devices[0].client.session().access_token

    async def looked() -> Any:
        result = found()
        if isinstance(result, Awaitable):
            result = await result
        if not result:
            transaction = f"{time.monotonic_ns()}"
            request(url, "PUT", f"sendToDevice/org.example.nudge/{transaction}", {"messages": messages}, token)
            await asyncio.sleep(0.2)
        return result

    await until(what, looked)


async def compare(asking: Device, asked: Device, *, user: bool = False) -> str:
    """One device asks the other; both compare what they are shown."""
    for device in (asking, asked):
        device.verification.begin()
    if user:
        await asking.verification.controller.request_user_verification(asked.user_id)
    else:
        await asking.verification.controller.request_device_verification()
    details = await until("the request", lambda: asked.verification.request)
    await asked.verification.controller.acknowledge_verification_request(
        details.sender_profile.user_id, details.flow_id
    )
    await asked.verification.controller.accept_verification_request()
    await until("the acceptance", lambda: asking.verification.accepted)
    await asking.verification.controller.start_sas_verification()
    for device in (asking, asked):
        await nudged("the emoji", (asking, asked), lambda device=device: device.verification.emoji)
    assert asking.verification.emoji == asked.verification.emoji
    for device in (asking, asked):
        await device.verification.controller.approve_verification()
    for device in (asking, asked):
        await nudged("the end", (asking, asked), lambda device=device: device.verification.finished)
    return asking.verification.emoji


def is_verified(device: Device) -> bool:
    """Whether the device is signed by its own user's identity."""
    return device.client.encryption().verification_state() == sdk.VerificationState.VERIFIED


class Progress(sdk.EnableRecoveryProgressListener):
    """Nobody looks."""

    def on_update(self, status: sdk.EnableRecoveryProgress) -> None:
        """As the SDK calls it."""


async def verification(alice: Device, bob: Device, alice_phone: Device, bob_phone: Device) -> None:
    """Identities, between own devices and between users."""
    for device in (alice, bob):
        await until("the identity", lambda device=device: is_verified(device))
    step("cross-signing was set up at the login with the password")
    for device in (alice, bob, alice_phone, bob_phone):
        await device.watch_verifications()
    for old, fresh in ((alice, alice_phone), (bob, bob_phone)):
        assert not is_verified(fresh)
        emoji = await compare(fresh, old)
        await until("the new device is verified", lambda fresh=fresh: is_verified(fresh))
        step(f"{fresh.user_id}'s phone was verified from the laptop: {emoji}")
    direct = await room_of(alice, [bob, alice_phone, bob_phone], is_encrypted=True, is_direct=True)
    # The SDK ignores requests of devices that it has not heard of.
    for device, other in ((alice, bob), (bob, alice)):
        await (await Timeline.of(await device.room(direct))).say(f"good day, {other.user_id}")
    step(f"alice and bob verified each other: {await compare(alice, bob, user=True)}")
    for device, other in ((alice, bob), (bob, alice), (alice_phone, bob), (bob_phone, alice)):

        async def sees(device: Device = device, other: Device = other) -> bool:
            identity = await device.client.encryption().user_identity(other.user_id, True)
            return identity is not None and identity.is_verified()

        await nudged("the user is verified", (device, other), sees)
    step("each device of both sees the other user as verified")


async def recovery(alice: Device, bob: Device, bob_phone: Device) -> Device:
    """Key backup, and a third device that reads old messages."""
    key = await bob.client.encryption().enable_recovery(False, None, Progress())
    secret = await room_of(alice, [bob, bob_phone], name="Secret", is_encrypted=True)
    room = await Timeline.of(await alice.room(secret))
    for number in range(3):
        await room.say(f"old {number}")
    await (await Timeline.of(await bob_phone.room(secret))).say("from the phone")
    seen = await Timeline.of(await bob.room(secret))
    for text in ("old 0", "old 2", "from the phone"):
        await seen.receive(text)
    await bob.client.encryption().wait_for_backup_upload_steady_state(None)
    step("encrypted messages arrived in all directions, and their keys in the backup")

    tablet = await Device.login(url, f"bob{run}", "tablet")
    late = await Timeline.of(await tablet.room(secret))
    await until("messages that cannot be read", late.undecryptable)
    # Recovering signs the device, once: that is lost where its keys are still on their way to the server.
    await until("the keys of the tablet", tablet.has_uploaded_keys)
    await tablet.client.encryption().recover(key)
    await late.timeline.paginate_backwards(20)
    for text in ("old 0", "old 2", "from the phone"):
        await late.receive(text)
    await until("the tablet is verified", lambda: is_verified(tablet))
    assert tablet.client.encryption().recovery_state() == sdk.RecoveryState.ENABLED
    step("a third device recovered with the key, reads the old messages and is verified")
    await room.say("to all three")
    for device in (bob, bob_phone, tablet):
        await (await Timeline.of(await device.room(secret))).receive("to all three")
    step("a new message reached all three devices")
    return tablet


async def conversation(alice: Device, bob: Device, bob_phone: Device) -> None:
    """Edits, reactions, polls, replies, threads, receipts, typing, pagination."""
    talk = await room_of(alice, [bob, bob_phone], name="Talk")
    mine, yours, phone = [await Timeline.of(await device.room(talk)) for device in (alice, bob, bob_phone)]
    first = await mine.say("helo")
    edited = sdk.EditedContent.ROOM_MESSAGE(content=sdk.message_event_content_from_markdown("hello"))
    await mine.timeline.edit(sdk.EventOrTransactionId.EVENT_ID(first), edited)
    for timeline in (yours, phone):
        assert event_id(await timeline.receive("hello")) == first
    await yours.timeline.toggle_reaction(sdk.EventOrTransactionId.EVENT_ID(first), "👍")
    for timeline in (mine, phone):
        await until(
            "the reaction", lambda t=timeline: (c := t.content("hello")) and [r.key for r in c.reactions] == ["👍"]
        )
    await yours.timeline.toggle_reaction(sdk.EventOrTransactionId.EVENT_ID(first), "👍")
    await until("the reaction is gone", lambda: (c := mine.content("hello")) and not c.reactions)
    await mine.timeline.create_poll("Tea?", ["yes", "no"], 1, sdk.PollKind.DISCLOSED)
    # Once, on a busy machine, a vote did not show at the poll's maker, maybe as the poll was but an echo there.
    await until("the poll is back", lambda: (p := mine.find("Tea?")) and p.event_or_transaction_id.is_EVENT_ID())
    poll = await yours.receive("Tea?")
    await yours.timeline.send_poll_response(event_id(poll), [poll.content.content.kind.answers[0].id])
    await until("the vote", lambda: (c := mine.content("Tea?")) and any(c.kind.votes.values()))
    await mine.timeline.end_poll(event_id(poll), "over")
    await until("the end of the poll", lambda: (c := phone.content("Tea?")) and c.kind.end_time)
    step("edits, reactions and polls reached every device")

    root = await mine.say("a thread begins")
    thread = await Timeline.of(await alice.room(talk), sdk.TimelineFocus.THREAD(root))
    for number in range(3):
        await thread.say(f"in the thread {number}")
    await until("the summary", lambda: (c := phone.content("a thread begins")) and c.thread_summary)
    assert phone.find("in the thread 0") is None
    opened = await Timeline.of(await bob_phone.room(talk), sdk.TimelineFocus.THREAD(root))
    while not await opened.timeline.paginate_backwards(2):
        pass
    for number in range(3):
        await opened.receive(f"in the thread {number}")
    threads = (await bob.room(talk)).thread_list_service()
    await threads.paginate()
    assert [(item.root_event.event_id, item.num_replies) for item in threads.items()] == [(root, 3)]
    last = event_id(opened.find("in the thread 2"))
    await opened.timeline.send_read_receipt(sdk.ReceiptType.READ, last)
    await until("the receipt in the thread", lambda: bob.user_id in thread.find("in the thread 2").read_receipts)
    step("a thread was written, listed, read page by page on another device, and marked as read")

    await phone.timeline.mark_as_read(sdk.ReceiptType.READ)
    await until("the receipt", lambda: any(bob.user_id in event.read_receipts for event in mine.events()))
    bobs = await bob.room(talk)
    for number in range(5):
        await mine.say(f"line {number}")
    await yours.receive("line 4")

    async def unread() -> bool:
        return (await bobs.room_info()).num_unread_messages >= 1 and (await bobs.room_info()).notification_count >= 1

    await until("unread messages", unread)
    await yours.timeline.mark_as_read(sdk.ReceiptType.READ)

    async def read() -> bool:
        info = await (await bob_phone.room(talk)).room_info()
        return info.notification_count == 0

    await until("the other device hears that they were read", read)
    step("receipts and counts of unread messages agree on both devices")
    found = bobs.search_messages("line", 5)

    async def indexed() -> Any:
        return await found.next_events() or await bobs.search_messages("line", 5).next_events()

    assert await until("the search index of the SDK", indexed)
    step("the search of the SDK finds messages")


async def spaces(alice: Device, bob: Device, bob_phone: Device) -> None:
    """A space, its children, a restricted room, a knock, the directory."""
    house = await room_of(alice, [bob, bob_phone], name="House", is_space=True)
    rule = sdk.JoinRule.RESTRICTED([sdk.AllowRule.ROOM_MEMBERSHIP(room_id=house)])
    kitchen = await alice.client.create_room(parameters(name="Kitchen", join_rule_override=rule))
    hall = await alice.client.create_room(
        parameters(name="Hall", preset=sdk.RoomPreset.PUBLIC_CHAT, visibility=sdk.RoomVisibility.PUBLIC())
    )
    await alice.room(house)
    service = await alice.client.space_service()
    for child in (kitchen, hall):
        await alice.room(child)

        async def added(child: str = child) -> bool:
            try:
                await service.add_child_to_space(child, house)
            except sdk.ClientError:
                return False  # the SDK has not got the power levels yet
            return True

        await until("the power levels", added)
    listed = await (await bob.client.space_service()).space_room_list(house)

    async def both() -> bool:
        await listed.reset()
        await listed.paginate()
        return {room.display_name for room in await listed.rooms()} == {"Kitchen", "Hall"}

    await until("the children", both)
    await bob.client.join_room_by_id(kitchen)
    await bob_phone.room(kitchen)
    step("bob walked through a space and joined a restricted room of it")

    door = await alice.client.create_room(parameters(name="Door", join_rule_override=sdk.JoinRule.KNOCK()))
    await bob.client.knock(door, "it is me", [alice.client.user_id_server_name()])
    await bob_phone.room(door, sdk.Membership.KNOCKED)
    room = await alice.room(door)
    await room.invite_user_by_id(bob.user_id)
    await (await bob_phone.room(door, sdk.Membership.INVITED)).join()
    await bob.room(door)
    preview = await bob.client.get_room_preview_from_room_id(hall, [])
    assert preview.info().name == "Hall"
    people = await bob.client.search_users(f"alice{run}", 5)
    assert alice.user_id in [person.user_id for person in people.results]
    step("bob knocked and was let in; he saw a preview of a public room, and found alice")


def png(width: int, height: int) -> bytes:
    """A picture."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    rows = b"".join(b"\0" + bytes([y % 256] * (width * 3)) for y in range(height))
    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    ending = chunk(b"IDAT", zlib.compress(rows)) + chunk(b"IEND", b"")
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + ending


async def media(alice: Device, bob: Device, bob_phone: Device) -> None:
    """A picture in a plain room and in an encrypted one."""
    picture = png(640, 400)
    for encrypted in (False, True):
        gallery = await room_of(alice, [bob, bob_phone], name="Gallery", is_encrypted=encrypted)
        timeline = await Timeline.of(await alice.room(gallery))
        source = sdk.UploadSource.DATA(bytes=picture, filename="gray.png")
        uploaded = sdk.UploadParameters(
            source=source, caption=None, formatted_caption=None, mentions=None, in_reply_to=None
        )
        info = sdk.ImageInfo(
            height=400, width=640, mimetype="image/png", size=len(picture), thumbnail_info=None, thumbnail_source=None,
            blurhash="LEHV6nWB2yk8pyo0adR*.7kCMdnj", is_animated=False,
        )  # fmt: skip
        await timeline.timeline.send_image(uploaded, None, info).join()
        shown = await (await Timeline.of(await bob_phone.room(gallery))).receive("gray.png")
        where = shown.content.content.kind.content.msg_type.content.source
        assert await bob_phone.client.get_media_content(where) == picture
        if not encrypted:
            small = await bob_phone.client.get_media_thumbnail(where, 32, 32)
            assert small != picture
    assert await alice.client.get_max_media_upload_size() > 0
    step("pictures went through a plain and an encrypted room, and came as a thumbnail")


class Gateway(HTTPServer):
    """A push gateway on loopback."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Notification)
        self.notified: list[dict[str, Any]] = []


class _Notification(BaseHTTPRequestHandler):
    server: Gateway

    def do_POST(self) -> None:
        """Take a notification."""
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        self.server.notified.append(body["notification"])
        answer = b'{"rejected":[]}'
        self.send_response(200)
        self.send_header("Content-Length", str(len(answer)))
        self.end_headers()
        self.wfile.write(answer)

    def log_message(self, *_words: Any) -> None:
        """Say nothing."""


async def push(alice: Device, bob: Device, bob_phone: Device) -> None:
    """A pusher as Element X sets it, and what the phone then asks for."""
    room_id = await room_of(alice, [bob, bob_phone], name="Bell", is_encrypted=True)
    gateway = Gateway()
    threading.Thread(target=gateway.serve_forever, daemon=True).start()
    address = f"http://127.0.0.1:{gateway.server_address[1]}/_matrix/push/v1/notify"
    data = sdk.HttpPusherData(url=address, format=sdk.PushFormat.EVENT_ID_ONLY, default_payload=None)
    identifiers = sdk.PusherIdentifiers(pushkey="bob's phone", app_id="hearth.test")
    await bob_phone.client.set_pusher(identifiers, sdk.PusherKind.HTTP(data), "Test", "Phone", None, "en", False)
    sent = await (await Timeline.of(await alice.room(room_id))).say("wake up")
    pushed = await until("the push", lambda: next((n for n in gateway.notified if n.get("event_id") == sent), None))
    assert pushed["room_id"] == room_id
    assert "content" not in pushed
    setup = sdk.NotificationProcessSetup.SINGLE_PROCESS(sync_service=bob_phone.service)
    shown = await (await bob_phone.client.notification_client(setup)).get_notification(room_id, sent)
    assert shown.is_EVENT(), shown
    assert shown.item.room_info.display_name == "Bell"
    await bob_phone.client.delete_pusher(identifiers)
    token = bob_phone.client.session().access_token
    assert request(url, "GET", "pushers", token=token) == {"pushers": []}
    gateway.shutdown()
    step("a push arrived at the gateway, and the phone got the event that it spoke of")


async def new_identity(alice: Device, bob: Device) -> None:
    """Alice lost everything and begins anew."""
    handle = await alice.client.encryption().reset_identity()
    if handle is not None:
        password = sdk.AuthDataPasswordDetails(identifier=alice.user_id, password="correct horse battery")
        await handle.reset(sdk.AuthData.PASSWORD(password_details=password))

    async def violated() -> bool:
        identity = await bob.client.encryption().user_identity(alice.user_id, True)
        return identity.was_previously_verified() and not identity.is_verified()

    await until("bob hears of it", violated)
    step("alice reset her identity, and bob was told")


async def main() -> None:
    """All flows, one after the other."""
    for name in ("alice", "bob"):
        register(url, f"{name}{run}")
    alice = await Device.login(url, f"alice{run}", "laptop")
    bob = await Device.login(url, f"bob{run}", "laptop")
    alice_phone = await Device.login(url, f"alice{run}", "phone")
    bob_phone = await Device.login(url, f"bob{run}", "phone")
    step("two users logged in on two devices each; all sync by sliding sync")
    await verification(alice, bob, alice_phone, bob_phone)
    tablet = await recovery(alice, bob, bob_phone)
    await conversation(alice, bob, bob_phone)
    await spaces(alice, bob, bob_phone)
    await media(alice, bob, bob_phone)
    await push(alice, bob, bob_phone)
    await new_identity(alice, bob)
    for device in (alice, bob, alice_phone, bob_phone, tablet):
        await device.stop()
    step("all of it worked")


try:
    asyncio.run(main())
finally:
    shutil.rmtree(folder, ignore_errors=True)
