"""Messages from device to device, which are no part of any room.

https://spec.matrix.org/v1.19/client-server-api/#send-to-device-messaging
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Final

import orjson

from homeserver.core.canonical_json import CanonicalJSONError, encode_lenient
from homeserver.core.identifiers import is_valid_user_id, server_name_of
from homeserver.errors import BadJson
from homeserver.runtime.clock import Clock
from homeserver.runtime.random import Randomness
from homeserver.services.bounded_cache import BoundedCache
from homeserver.services.e2ee_keys import require_user_ids
from homeserver.services.idempotency import Idempotency, Scope
from storage import device_lists, devices, to_device
from storage.database import Database, Write
from storage.streams import Stream

log = logging.getLogger(__name__)

Messages = Mapping[str, Mapping[str, Any]]
"""user id → device id, or `*` for all → content."""

_EVERY_DEVICE: Final = "*"
_MAX_ID: Final = 255
_SEEN_FOR_MS: Final = 30 * 86_400_000
# A device that never comes back would let messages pile up for ever: the oldest go. Looked at once in so many messages.
_KEPT: Final = 10_000
_LOOK_EVERY: Final = 1_000


class ToDevice:
    """Sends messages, takes in those of other servers, and hands them to /sync (its `ToDeviceReader`)."""

    def __init__(
        self,
        database: Database,
        idempotency: Idempotency,
        clock: Clock,
        randomness: Randomness,
        *,
        server_name: str,
        kept: int = _KEPT,
        look_every: int = _LOOK_EVERY,
    ) -> None:
        self._database = database
        self._idempotency = idempotency
        self._clock = clock
        self._randomness = randomness
        self._server_name = server_name
        self._kept = kept
        self._look_every = look_every
        self._written: BoundedCache[tuple[str, str], int] = BoundedCache(20_000)

    # --- sending

    async def send(self, sender: str, device_id: str | None, event_type: str, txn_id: str, messages: Messages) -> None:
        """Send messages of one type; the same transaction id of the device `device_id` sends them once. Devices that
        are not known are passed over.

        Raises InvalidParam where somebody is no user, BadJson for what cannot be sent to other servers.
        """
        require_user_ids(messages)
        scope = Scope(sender, device_id or "", f"to_device:{event_type}:{txn_id}")
        local = {user_id: of for user_id, of in messages.items() if self._is_local(user_id) and of}
        outgoing = self._outgoing(sender, event_type, messages)

        async def operation(tx: Write) -> None:
            if await self._idempotency.recorded(tx, scope) is not None:
                return
            await self._put(tx, sender, event_type, local)
            for destination, content in outgoing.items():
                device_lists.put_edu(tx, [destination], "m.direct_to_device", content)
            self._idempotency.record(tx, scope, {})

        async def write() -> None:
            await self._database.write(operation)

        await self._idempotency.once(scope, write)

    def _outgoing(self, sender: str, event_type: str, messages: Messages) -> dict[str, bytes]:
        """server → content of the EDU with everything for its users."""
        by_server: dict[str, dict[str, Mapping[str, Any]]] = {}
        for user_id, by_device in messages.items():
            if by_device and not self._is_local(user_id):
                by_server.setdefault(server_name_of(user_id), {})[user_id] = by_device
        try:
            return {
                server_name: encode_lenient(
                    {
                        "sender": sender,
                        "type": event_type,
                        "message_id": self._randomness.alphanumeric(24),
                        "messages": of_server,
                    }
                )
                for server_name, of_server in by_server.items()
            }
        except CanonicalJSONError as error:
            raise BadJson(f"A message cannot be canonical JSON: {error}") from None

    async def _put(self, tx: Write, sender: str, event_type: str, messages: Messages) -> None:
        if not messages:
            return
        known = await devices.ids_of_users(tx, list(messages))
        rows: list[tuple[str, str, bytes]] = []
        for user_id, by_device in messages.items():
            of_user = known.get(user_id, set())
            everyone = by_device.get(_EVERY_DEVICE)
            for device_id in sorted(of_user):
                content = by_device.get(device_id, everyone)
                if content is not None:
                    event = {"content": content, "sender": sender, "type": event_type}
                    rows.append((user_id, device_id, orjson.dumps(event)))
        if not rows:
            return
        position = tx.position(Stream.TO_DEVICE, *dict.fromkeys(user_id for user_id, _, _ in rows))
        for user_id, device_id, message in rows:
            to_device.put(tx, position, user_id, device_id, message)
            await self._bound(tx, user_id, device_id)

    async def _bound(self, tx: Write, user_id: str, device_id: str) -> None:
        """Now and then, forget what is too much for a device."""
        key = (user_id, device_id)
        written = (self._written.get(key) or 0) + 1
        if written >= self._look_every:
            written = 0
            gone = await to_device.forget_oldest(tx, user_id, device_id, self._kept)
            if gone:
                log.warning("forgot the oldest %d messages to a device that does not fetch them", gone)
        self._written.put(key, written)

    # --- messages of other servers

    async def receive(self, origin: str, content: Mapping[str, Any]) -> None:
        """The content of an m.direct_to_device EDU of `origin`, whose sender is of that server. What came already, and
        what is for nobody here, does nothing."""
        message_id, event_type = content["message_id"], content["type"]
        if len(message_id) > _MAX_ID:
            log.info("dropped a to-device EDU of %s with an overlong id", origin)
            return
        messages = {
            user_id: {device_id: body for device_id, body in by_device.items() if isinstance(body, dict)}
            for user_id, by_device in content["messages"].items()
            if isinstance(by_device, dict) and is_valid_user_id(user_id) and self._is_local(user_id)
        }

        async def operation(tx: Write) -> None:
            seen: set[tuple[str, str]] = tx.batch.setdefault("to-device messages", set())
            if (origin, message_id) in seen or await to_device.is_seen(tx, origin, message_id):
                return
            seen.add((origin, message_id))
            tx.on_undo(lambda: seen.discard((origin, message_id)))
            to_device.note_seen(tx, origin, message_id, self._clock.now_ms())
            await self._put(tx, content["sender"], event_type, messages)

        if any(messages.values()):
            await self._database.write(operation)

    async def forget_old(self) -> None:
        """Forget ids of messages that will not come again. To be called now and then."""
        before = self._clock.now_ms() - _SEEN_FOR_MS
        await self._database.write(lambda tx: to_device.forget_seen_before(tx, before))

    # --- /sync

    async def pending(
        self, user_id: str, device_id: str, since: int, upto: int, limit: int
    ) -> tuple[Sequence[bytes], int | None]:
        """The messages at positions of (since, upto], oldest first, and where `limit` cut off more, what `postpone` is
        to be told: the place at which the last of them arrived."""
        async with self._database.read() as tx:
            found = await to_device.pending(tx, user_id, device_id, since, upto, limit + 1)
        if len(found) <= limit:
            return [row.message for row in found], None
        # What the device has already must not be put at the end of the log with the rest.
        await self.delete_up_to(user_id, device_id, since)
        return [row.message for row in found[:limit]], found[limit - 1].ordinal

    async def postpone(self, user_id: str, device_id: str, after: int, upto: int) -> None:
        """Put the messages that arrived after `after`, and are at positions up to `upto`, at the end of the log."""
        await self._database.write(lambda tx: to_device.postpone(tx, user_id, device_id, after, upto))

    async def delete_up_to(self, user_id: str, device_id: str, position: int) -> None:
        """Forget what the device has received: all messages up to the position."""
        async with self._database.read() as tx:
            if not await to_device.has_any_up_to(tx, user_id, device_id, position):
                return
        await self._database.write(lambda tx: to_device.delete_up_to(tx, user_id, device_id, position))

    def _is_local(self, user_id: str) -> bool:
        return server_name_of(user_id) == self._server_name
