"""Messages to the device that syncs: sent until the device says, by its next token, that it has them."""

from homeserver.services.bounded_cache import BoundedCache
from homeserver.services.sync.answer import Answer
from homeserver.services.sync.request import SyncRequest
from homeserver.services.sync.sources import ToDeviceReader
from homeserver.services.sync.users import SyncUser

_LIMIT = 100


class DeviceMessages:
    """Reads the queue of a device only when something may be in it."""

    def __init__(self, reader: ToDeviceReader, *, size: int = 20_000) -> None:
        self._reader = reader
        # Where the last answer with messages ended; 0 once they are deleted. Unknown after a restart: then delete once.
        self._sent: BoundedCache[tuple[str, str], int] = BoundedCache(size)

    async def acknowledge(self, request: SyncRequest) -> None:
        """The device has everything up to its token."""
        if request.device_id is None or request.since is None:
            return
        key = (request.user_id, request.device_id)
        sent = self._sent.get(key)
        if sent is None or (sent and request.since.position >= sent):
            await self._reader.delete_up_to(*key, request.since.position)
            self._sent.put(key, 0)

    async def add(self, request: SyncRequest, answer: Answer, user: SyncUser, upto: int) -> None:
        """Add the messages that wait, at most a hundred; the rest is put behind this answer's token."""
        if request.device_id is None or (request.since is not None and user.to_device_at <= request.since.position):
            return
        key = (request.user_id, request.device_id)
        messages, last = await self._reader.pending(*key, request.after, upto, _LIMIT)
        if not messages:
            return
        if last is not None:
            await self._reader.postpone(*key, last, upto)
        answer.set_events("to_device", messages)
        self._sent.put(key, upto)
