"""What every flow needs: accounts, devices of the Rust SDK that sync by sliding sync, waiting for what is to happen."""

import asyncio
import json
import tempfile
import time
import urllib.request
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import matrix_sdk_python as sdk
from matrix_sdk_python._generated import matrix_sdk, matrix_sdk_ui  # what the package does not hand on

PASSWORD = "correct horse battery"
_begun = time.monotonic()
folder = Path(tempfile.mkdtemp(prefix="hearth-matrix-sdk-"))


def step(text: str) -> None:
    """Say what worked."""
    print(f"{time.monotonic() - _begun:6.1f} s  {text}", flush=True)


def request(url: str, method: str, path: str, body: Any = None, token: str = "") -> Any:
    """JSON of the answer of the server; for what the SDK has no method for."""
    data = None if body is None else json.dumps(body).encode()
    headers = {"Content-Type": "application/json"} | ({"Authorization": f"Bearer {token}"} if token else {})
    asked = urllib.request.Request(f"{url}/_matrix/client/v3/{path}", data, headers, method=method)
    with urllib.request.urlopen(asked, timeout=30) as answer:
        return json.load(answer)


def register(url: str, name: str) -> None:
    """A new account, without a device."""
    auth = {"type": "m.login.dummy"}
    request(url, "POST", "register", {"username": name, "password": PASSWORD, "auth": auth, "inhibit_login": True})


async def until(what: str, found: Callable[[], Any], seconds: float = 60) -> Any:
    """The first true thing that `found` returns (or its awaitable gives)."""
    end = time.monotonic() + seconds
    while True:
        result = found()
        if isinstance(result, Awaitable):
            result = await result
        if result:
            return result
        if time.monotonic() > end:
            raise AssertionError(f"{what}: not within {seconds} s")
        await asyncio.sleep(0.05)


class Items:
    """A vector that is kept by diffs, as timelines and room lists come."""

    def __init__(self) -> None:
        self.items: list[Any] = []

    def on_update(self, diffs: list[Any]) -> None:  # noqa: C901 (a case for each kind of change)
        """Apply the diffs, which come on a thread of the SDK."""
        items = list(self.items)
        for diff in diffs:
            if diff.is_APPEND():
                items.extend(diff.values)
            elif diff.is_CLEAR():
                items.clear()
            elif diff.is_PUSH_FRONT():
                items.insert(0, diff.value)
            elif diff.is_PUSH_BACK():
                items.append(diff.value)
            elif diff.is_POP_FRONT():
                items.pop(0)
            elif diff.is_POP_BACK():
                items.pop()
            elif diff.is_INSERT():
                items.insert(diff.index, diff.value)
            elif diff.is_SET():
                items[diff.index] = diff.value
            elif diff.is_REMOVE():
                items.pop(diff.index)
            elif diff.is_TRUNCATE():
                del items[diff.length :]
            elif diff.is_RESET():
                items = list(diff.values)
        self.items = items


class Timeline(sdk.TimelineListener):
    """The timeline of a room, or of a thread, as a person sees it."""

    def __init__(self, timeline: sdk.Timeline) -> None:
        self.timeline = timeline
        self.kept = Items()

    def on_update(self, diff: list[sdk.TimelineDiff]) -> None:
        """As the SDK calls it."""
        self.kept.on_update(diff)

    @classmethod
    async def of(cls, room: sdk.Room, focus: sdk.TimelineFocus | None = None) -> "Timeline":
        """Begin to listen."""
        configuration = sdk.TimelineConfiguration(
            focus=focus or sdk.TimelineFocus.LIVE(hide_threaded_events=True),
            filter=sdk.TimelineFilter.ALL(),
            internal_id_prefix=None,
            date_divider_mode=sdk.DateDividerMode.DAILY,
            track_read_receipts=matrix_sdk_ui.TimelineReadReceiptTracking.ALL_EVENTS,
            report_utds=False,
        )
        timeline = cls(await room.timeline_with_configuration(configuration))
        timeline.handle = await timeline.timeline.add_listener(timeline)
        return timeline

    def events(self) -> list[sdk.EventTimelineItem]:
        """Events that the server has; no dividers, no echoes."""
        found = [item.as_event() for item in self.kept.items]
        return [event for event in found if event is not None and event.event_or_transaction_id.is_EVENT_ID()]

    def find(self, body: str) -> sdk.EventTimelineItem | None:
        """The message with this text (or the poll with this question, the file with this name)."""
        return next((event for event in self.events() if text_of(event) == body), None)

    def content(self, body: str) -> Any:
        """What is shown of that message: reactions, votes, a summary. None while it is not there."""
        found = self.find(body)
        return None if found is None else found.content.content

    def undecryptable(self) -> int:
        """How many messages could not be read."""
        contents = [event.content for event in self.events() if event.content.is_MSG_LIKE()]
        return sum(content.content.kind.is_UNABLE_TO_DECRYPT() for content in contents)

    async def receive(self, body: str) -> sdk.EventTimelineItem:
        """The message, once it is there."""
        begun = time.monotonic()

        async def found() -> sdk.EventTimelineItem | None:
            nonlocal begun
            if self.find(body) is None and time.monotonic() > begun + 0.5:
                await self.timeline.paginate_backwards(20)  # as a person would scroll up
                begun = time.monotonic()
            return self.find(body)

        return await until(f"{body!r}", found)

    async def say(self, text: str) -> str:
        """Send a message; returns its event id, once it came back."""
        await self.timeline.send(sdk.message_event_content_from_markdown(text))
        return event_id(await self.receive(text))


def event_id(event: sdk.EventTimelineItem) -> str:
    """The id of an event that the server has."""
    return event.event_or_transaction_id.event_id


def text_of(event: sdk.EventTimelineItem) -> str | None:
    """What a message says."""
    if not event.content.is_MSG_LIKE():
        return None
    kind = event.content.content.kind
    if kind.is_MESSAGE():
        return kind.content.body
    return kind.question if kind.is_POLL() else None


class Verification(sdk.SessionVerificationControllerDelegate):
    """What a device is told of verifications."""

    def __init__(self, controller: sdk.SessionVerificationController) -> None:
        self.controller = controller
        self.begin()
        controller.set_delegate(self)

    def begin(self) -> None:
        """Forget the last one."""
        self.request: sdk.SessionVerificationRequestDetails | None = None
        self.emoji = ""
        self.accepted = self.started = self.finished = self.failed = False

    def did_receive_verification_request(self, details: sdk.SessionVerificationRequestDetails) -> None:
        """Somebody asks."""
        self.request = details

    def did_accept_verification_request(self) -> None:
        """The other device said yes."""
        self.accepted = True

    def did_start_sas_verification(self) -> None:
        """Emoji are to be compared."""
        self.started = True

    def did_receive_verification_data(self, data: sdk.SessionVerificationData) -> None:
        """The emoji."""
        self.emoji = "".join(emoji.symbol() for emoji in data.emojis)

    def did_fail(self) -> None:
        """It went wrong."""
        self.failed = True

    def did_cancel(self) -> None:
        """It was called off."""
        self.failed = True

    def did_finish(self) -> None:
        """Both said that the emoji are the same."""
        self.finished = True


class Device(sdk.RoomListEntriesListener):
    """A device that syncs as Element X does: the room list and encryption by sliding sync."""

    def __init__(self, client: sdk.Client) -> None:
        self.client = client
        self.rooms = Items()

    def on_update(self, room_entries_update: list[sdk.RoomListEntriesUpdate]) -> None:
        """As the SDK calls it."""
        self.rooms.on_update(room_entries_update)

    @classmethod
    async def login(cls, url: str, name: str, device_name: str) -> "Device":
        """Log in, set up or find the identity, begin to sync."""
        store = folder / f"{name}-{device_name}"
        store.mkdir()
        builder = sdk.ClientBuilder().homeserver_url(url).sqlite_store(sdk.SqliteStoreBuilder(str(store), str(store)))
        builder = builder.sliding_sync_version_builder(sdk.SlidingSyncVersionBuilder.DISCOVER_NATIVE)
        builder = builder.auto_enable_cross_signing(True).auto_enable_backups(True)
        builder = builder.backup_download_strategy(matrix_sdk.BackupDownloadStrategy.AFTER_DECRYPTION_FAILURE)
        builder = builder.threads_enabled(True, False).with_search_index_store(str(store / "search"), None)
        device = cls(await builder.build())
        await device.client.login(name, PASSWORD, device_name, None)
        device.service = await device.client.sync_service().finish()
        await device.service.start()
        device.list = await device.service.room_list_service().all_rooms()
        found = device.list.entries_with_dynamic_adapters(50, device)
        device.controller, device.stream = found.controller(), found.entries_stream()
        device.controller.set_filter(sdk.RoomListEntriesDynamicFilterKind.NON_LEFT())
        await device.client.encryption().wait_for_e2ee_initialization_tasks()
        return device

    def has_uploaded_keys(self) -> bool:
        """Whether the server has the device's keys."""
        session = self.client.session()
        asked = {"device_keys": {session.user_id: []}}
        found = request(session.homeserver_url.rstrip("/"), "POST", "keys/query", asked, session.access_token)
        return session.device_id in found["device_keys"].get(session.user_id, {})

    async def watch_verifications(self) -> None:
        """Be ready to be asked; needs to know one's own identity."""
        controller = await until("a controller", self._controller)
        self.verification = Verification(controller)

    async def _controller(self) -> sdk.SessionVerificationController | None:
        try:
            return await self.client.get_session_verification_controller()
        except sdk.ClientError:
            return None  # the own identity has not arrived

    @property
    def user_id(self) -> str:
        """The user."""
        return self.client.user_id()

    async def room(self, room_id: str, membership: sdk.Membership = sdk.Membership.JOINED) -> sdk.Room:
        """The room, once this device knows that it is in it (or invited, knocking). It becomes the room that is open,
        of which more than the last event is asked for."""

        def found() -> sdk.Room | None:
            room = self.client.get_room(room_id)
            return room if room is not None and room.membership() == membership else None

        room = await until(f"{self.user_id} in {room_id} as {membership.name}", found)
        if membership == sdk.Membership.JOINED:
            await self.service.room_list_service().subscribe_to_rooms([room_id])
        return room

    async def stop(self) -> None:
        """End the syncing."""
        await self.service.stop()
