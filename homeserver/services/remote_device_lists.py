"""The devices and keys of other servers' users: read once, then followed by their servers' updates.

https://spec.matrix.org/v1.19/server-server-api/#device-management. A list is kept only while its user is in a room of
this server's, since then alone updates of it arrive. One that missed an update is stale, and read anew before it is
shown.
"""

import asyncio
import logging
from collections import deque
from collections.abc import Iterable, Mapping
from typing import Any, Final

from federation.outbound.failures import FederationError
from homeserver.core.canonical_json import CanonicalJSONError, encode
from homeserver.core.identifiers import server_name_of
from homeserver.runtime.tasks import Tasks
from homeserver.services.e2ee_keys import MASTER, SELF_SIGNING, Json, with_visible_signatures, without
from homeserver.services.key_bundles import is_cross_signing_key, is_of_device
from homeserver.services.remote_keys import RemoteKeys
from storage import device_lists, e2ee_keys, partial_rooms
from storage.database import Database, Position, Write
from storage.device_lists import ListState

log = logging.getLogger(__name__)

_MAX_DEVICES: Final = 10_000
_MAX_WAITING: Final = 10_000


class RemoteDeviceLists:
    """Keeps lists and takes in updates (`services.edus.DeviceListsReceiver`)."""

    def __init__(self, database: Database, remote: RemoteKeys, tasks: Tasks, *, server_name: str) -> None:
        self._database = database
        self._remote = remote
        self._tasks = tasks
        self._server_name = server_name
        self._to_read: deque[str] = deque()
        self._is_reading = False

    # --- what is kept

    async def current(self, user_ids: Iterable[str]) -> set[str]:
        """Those of the users whose list is kept and up to date."""
        async with self._database.read() as tx:
            return await device_lists.followed_since(tx, await device_lists.states_of(tx, user_ids))

    async def followed(self, user_ids: Iterable[str]) -> set[str]:
        """Those of the users whose updates arrive here, so that their lists are worth keeping."""
        async with self._database.read() as tx:
            return await device_lists.in_rooms_of_server(tx, user_ids, self._server_name)

    async def read(self, user_id: str) -> None:
        """Read a user's whole list from their server and keep it. Raises FederationError."""
        position = self._database.position
        server_name = server_name_of(user_id)
        answer = await self._remote.user_devices(server_name, user_id)
        stream_id, listed = answer.get("stream_id"), answer.get("devices")
        if type(stream_id) is not int or not isinstance(listed, list):
            raise FederationError("malformed", server_name, "stream_id or devices are missing")
        devices = dict(filter(None, (_device_of(entry, user_id) for entry in listed[:_MAX_DEVICES])))
        keys = _cross_signing_of(answer, user_id)

        async def operation(tx: Write) -> None:
            # What changed while the answer was on its way may not be in it.
            missed = await device_lists.has_changed_since(tx, user_id, position)
            missed = missed or user_id in tx.batch.get("device list news", ())
            device_lists.replace_remote_devices(tx, user_id, list(devices.items()))
            await e2ee_keys.remove_cross_signing_keys(tx, user_id, but=keys)
            _put_cross_signing(tx, user_id, keys, position)
            device_lists.put_state(tx, user_id, ListState(stream_id, missed, position))

        await self._database.write(operation)

    async def read_all(self, user_ids: Iterable[str]) -> set[str]:
        """Read the lists of a few users of one server, side by side; returns whose are kept now: not those of whom
        their server knows nothing. Raises FederationError where it could not be asked."""

        async def read(user_id: str) -> str | None:
            try:
                await self.read(user_id)
            except FederationError as error:
                if error.is_refusal and not error.is_unrecognised:
                    return None
                raise
            return user_id

        return set(filter(None, await asyncio.gather(*map(read, user_ids))))

    def read_soon(self, user_ids: Iterable[str]) -> None:
        """Read these users' lists in the background, one after the other."""
        for user_id in user_ids:
            if user_id not in self._to_read and len(self._to_read) < _MAX_WAITING:
                self._to_read.append(user_id)
        if self._to_read and not self._is_reading:
            self._is_reading = True
            self._tasks.start("read device lists", self._read_waiting())

    async def _read_waiting(self) -> None:
        try:
            while self._to_read:
                user_id = self._to_read[0]
                try:
                    await self.read(user_id)
                except FederationError as error:
                    log.info("the devices of a user of %s were not read: %s", error.destination, error.kind)
                self._to_read.popleft()
        finally:
            self._is_reading = False

    # --- updates

    async def receive(self, origin: str, content: Mapping[str, Any]) -> None:
        """The content of an m.device_list_update EDU, about a user of `origin`."""
        user_id, device_id, stream_id = content["user_id"], content["device_id"], content.get("stream_id")
        previous = content.get("prev_id") or []
        if type(stream_id) is not int or not isinstance(previous, list) or any(type(p) is not int for p in previous):
            return
        keys = None if content.get("deleted") is True else _device_of(content, user_id)

        async def operation(tx: Write) -> bool:
            if not await device_lists.in_rooms_of_server(tx, [user_id], self._server_name):
                device_lists.forget_list(tx, user_id)
                await _note_if_unplaced(tx, origin, user_id)
                return False
            state = (await device_lists.states_of(tx, [user_id])).get(user_id)
            if state is None and keys is None:
                return False  # a device without keys, of somebody whose devices nobody here has asked for
            news: set[str] = tx.batch.setdefault("device list news", set())
            is_kept = state is not None and state.position is not None and user_id not in news
            if is_kept and state is not None and state.stream_id == stream_id and not state.stale:
                return False
            news.add(user_id)
            device_lists.note_change(tx, user_id)
            if not is_kept or state is None or state.stale or not _follows(state.stream_id, stream_id, previous):
                position = None if state is None else state.position
                device_lists.put_state(tx, user_id, ListState(stream_id, stale=True, position=position))
                return position is not None
            if keys is None:
                device_lists.remove_remote_device(tx, user_id, device_id)
            else:
                device_lists.put_remote_device(tx, user_id, *keys)
            device_lists.put_state(tx, user_id, ListState(stream_id, stale=False, position=state.position))
            return False

        if await self._database.write(operation):
            self.read_soon([user_id])

    async def receive_signing_keys(self, origin: str, content: Mapping[str, Any]) -> None:
        """The content of an m.signing_key_update EDU, about a user of `origin`."""
        user_id = content["user_id"]
        keys = _cross_signing_of(content, user_id)
        if not keys:
            return

        async def operation(tx: Write) -> None:
            if not await device_lists.in_rooms_of_server(tx, [user_id], self._server_name):
                await _note_if_unplaced(tx, origin, user_id)
                return
            tx.batch.setdefault("device list news", set()).add(user_id)
            _put_cross_signing(tx, user_id, keys, device_lists.note_change(tx, user_id))

        await self._database.write(operation)


async def _note_if_unplaced(tx: Write, origin: str, user_id: str) -> None:
    """The user may be in a room of which not all members are known: it is looked at again when they are."""
    if await partial_rooms.are_any_with(tx, origin):
        device_lists.note_change(tx, user_id)


def _put_cross_signing(tx: Write, user_id: str, keys: Mapping[str, bytes], position: Position | int) -> None:
    for usage, key in keys.items():
        e2ee_keys.put_cross_signing_key(tx, user_id, usage, key, position)


def _follows(known: int | None, stream_id: int, previous: list[int]) -> bool:
    """Whether an update is the one after those that are known. One that names none begins a sequence: all is new."""
    return known is not None and stream_id > known and bool(previous) and all(p <= known for p in previous)


def _device_of(entry: object, user_id: str) -> tuple[str, bytes] | None:
    """(device id, keys as they are kept) of a device of an answer or an update; None without well-formed keys."""
    if not isinstance(entry, dict):
        return None
    device_id, keys, name = entry.get("device_id"), entry.get("keys"), entry.get("device_display_name")
    if not isinstance(device_id, str) or not isinstance(keys, dict) or not is_of_device(keys, user_id, device_id):
        return None
    shown: Json = with_visible_signatures(without(keys, "unsigned"), {user_id})
    shown["unsigned"] = {"device_display_name": name} if isinstance(name, str) else {}
    return _encoded(device_id, shown)


def _cross_signing_of(content: Mapping[str, Any], user_id: str) -> dict[str, bytes]:
    """usage → key, of the well-formed ones in an answer or an update."""
    found: dict[str, bytes] = {}
    for usage in (MASTER, SELF_SIGNING):
        key = content.get(f"{usage}_key")
        if isinstance(key, dict) and is_cross_signing_key(key, user_id, usage):
            encoded = _encoded(usage, with_visible_signatures(without(key, "unsigned"), {user_id}))
            if encoded is not None:
                found[usage] = encoded[1]
    return found


def _encoded(name: str, obj: Json) -> tuple[str, bytes] | None:
    try:
        return name, encode(obj)
    except CanonicalJSONError:
        return None
