"""/sync: waits until there is something to tell, gathers what memory lacks, and writes the answer.

Which rooms belong into an answer is decided at one moment (`selection`), without an await between reading the position
and looking at the user's rooms: positions and memory move together. What is gathered after that only looks at that part
of the log. https://spec.matrix.org/v1.19/client-server-api/#syncing
"""

import asyncio
from collections.abc import Sequence
from dataclasses import replace

import orjson

from homeserver.core.tokens import SyncToken
from homeserver.runtime.tasks import Tasks
from homeserver.services.account_data import AccountData, UserData
from homeserver.services.events import StoredEvent
from homeserver.services.notifier import Notifier
from homeserver.services.partial_rooms import PartialRooms
from homeserver.services.presence import Presence, PresenceState
from homeserver.services.sync.answer import Answer
from homeserver.services.sync.deliveries import Deliveries
from homeserver.services.sync.device_lists import DeviceLists
from homeserver.services.sync.device_messages import DeviceMessages
from homeserver.services.sync.invitations import Invitations
from homeserver.services.sync.request import SyncRequest
from homeserver.services.sync.room_sections import RoomDraft
from homeserver.services.sync.rooms import Rooms
from homeserver.services.sync.selection import Selection, select_all, select_changed
from homeserver.services.sync.sources import KeyCounts
from homeserver.services.sync.users import SyncUser, SyncUsers
from homeserver.services.typing import Typing


class SyncEngine:
    """Answers /sync."""

    def __init__(
        self,
        notifier: Notifier,
        users: SyncUsers,
        rooms: Rooms,
        invitations: Invitations,
        account_data: AccountData,
        typing: Typing,
        presence: Presence,
        device_messages: DeviceMessages,
        device_lists: DeviceLists,
        key_counts: KeyCounts,
        tasks: Tasks,
        *,
        max_wait_s: float = 300.0,
        partial: PartialRooms | None = None,
        deliveries: Deliveries | None = None,
    ) -> None:
        self._notifier = notifier
        self._users = users
        self._rooms = rooms
        self._invitations = invitations
        self._account_data = account_data
        self._typing = typing
        self._presence = presence
        self._device_messages = device_messages
        self._device_lists = device_lists
        self._key_counts = key_counts
        self._tasks = tasks
        self._max_wait_s = max_wait_s
        self._partial = partial
        self._deliveries = deliveries
        self._whole: dict[tuple[object, ...], asyncio.Task[bytes]] = {}

    async def sync(self, request: SyncRequest) -> bytes:
        """The answer as JSON text; waits up to `timeout_ms` for something to tell where the client is up to date."""
        with self._presence.syncing(request.user_id, request.device_id or "", request.set_presence):
            if request.since is None or request.full_state:
                return await self._sync_whole(request)
            if request.since.position > self._notifier.position:
                request = await self._caught_up(request, request.since)
            await self._device_messages.acknowledge(request)
            if request.filter.delivered:
                await self._note_arrived(request)
            return await self._sync_changes(request)

    async def _note_arrived(self, request: SyncRequest) -> None:
        if self._deliveries is None:
            return
        data = await self._account_data.of_user(request.user_id)
        wanted = request.filter.room

        def was_sent(stored: StoredEvent) -> bool:
            event, content = stored.event, stored.shown.content
            return wanted.allows_room(event.room_id) and wanted.timeline.allows_event(
                event.type, event.sender, content, event.room_id
            )

        self._deliveries.note((request.user_id,), request.after, data.ignored, was_sent)

    async def _caught_up(self, request: SyncRequest, since: SyncToken) -> SyncRequest:
        """A token that another process gave out may be ahead of this one for a moment; one that stays ahead was never
        given out, and counts as now."""
        for _ in range(10):
            await asyncio.sleep(0.1)
            if since.position <= self._notifier.position:
                return request
        return replace(request, since=SyncToken(self._notifier.position, since.ephemeral))

    async def _sync_whole(self, request: SyncRequest) -> bytes:
        """Identical requests at the same time, as of a client that lost patience, share one answer."""
        key = (
            request.user_id,
            request.device_id,
            request.since,
            request.filter.source,
            request.use_state_after,
        )
        task = self._whole.get(key)
        if task is None:
            task = self._whole[key] = self._tasks.start("whole sync", self._answer_whole(request))
            task.add_done_callback(lambda _: self._whole.pop(key, None))
        return await asyncio.shield(task)

    async def _answer_whole(self, request: SyncRequest) -> bytes:
        return (await self._answer(request)).write()

    async def _sync_changes(self, request: SyncRequest) -> bytes:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + min(request.timeout_ms / 1000, self._max_wait_s)
        if request.timeout_ms and request.since == SyncToken(self._notifier.position, self._notifier.ephemeral):
            # The client has just been told everything: there is nothing to look for before something happens.
            await self._notifier.wait(request.user_id, deadline - loop.time())
        while True:
            answer = await self._answer(request)
            if not answer.is_empty:
                return answer.write()
            token = answer.token
            if (self._notifier.position, self._notifier.ephemeral) != (token.position, token.ephemeral):
                continue  # something happened while the answer was put together
            # Nothing up to there concerns the user, so the next look begins there.
            request = replace(request, since=token)
            left = deadline - loop.time()
            if left <= 0 or not await self._notifier.wait(request.user_id, left):
                return answer.write()

    async def _answer(self, request: SyncRequest) -> Answer:
        user_id, since = request.user_id, request.since
        user, data, with_news = await self._remembered(user_id, since)
        # From here to the selection nothing is awaited.
        upto, stamp = self._notifier.position, self._notifier.ephemeral
        selection = self._select(request, user, data, upto, with_news)
        answer = Answer(SyncToken(upto, stamp))
        presence = self._presence_since(request)
        self._add_account_data(request, answer, data, upto)
        drafts = await self._rooms.add(request, answer, user, data, selection)
        self._add_presence(request, answer, presence, drafts)
        if selection.invited or selection.knocked:
            await self._invitations.add(answer, user, data, selection)
        await self._device_messages.add(request, answer, user, upto)
        if since is not None:
            left = [room.room_id for room in selection.left if room.was_joined]
            lists = await self._device_lists.changed(user, since.position, upto, drafts, left)
            if lists:
                answer.set("device_lists", orjson.dumps(lists))
        if request.device_id is not None:
            answer.key_counts = await self._key_counts.counts(user_id, request.device_id)
            answer.unused_fallback = await self._key_counts.unused_fallback(user_id, request.device_id)
        return answer

    async def _remembered(self, user_id: str, since: SyncToken | None) -> tuple[SyncUser, UserData, Sequence[str]]:
        """The user in memory, and the rooms of whose news that does not know: current until the next await."""
        while True:
            before = self._notifier.position
            data = await self._account_data.of_user(user_id)
            user = await self._users.get(user_id, None if since is None else since.position)
            with_news: Sequence[str] = ()
            if since is not None and not self._rooms.remembers(since.position):
                with_news = await self._rooms.read_news(user, since.position)
            # What memory has dropped meanwhile hears of nothing any more.
            is_kept = self._users.cached(user_id) is user and self._account_data.cached(user_id) is data
            if is_kept or self._notifier.position == before:
                return user, data, with_news

    def _select(
        self, request: SyncRequest, user: SyncUser, data: UserData, upto: int, with_news: Sequence[str]
    ) -> Selection:
        if request.since is None:
            return select_all(user, request, upto, self._partial)
        since = request.since
        # What was read may have grown since: memory has that part.
        news = [*with_news, *self._rooms.with_news(user, since.position)]
        news += self._typing.changed_since(since.ephemeral, user.joined)
        news += [row.room_id for row in data.changed(since.position, upto) if row.room_id]
        return select_changed(user, request, upto, news, self._partial)

    def _presence_since(self, request: SyncRequest) -> list[PresenceState] | None:
        """What changed; None where the client does not want to know."""
        if request.filter.presence.limit == 0 or not self._presence.is_enabled:
            return None
        return self._presence.changed_since(0 if request.since is None else request.since.ephemeral, request.user_id)

    def _add_presence(
        self, request: SyncRequest, answer: Answer, changed: list[PresenceState] | None, drafts: Sequence[RoomDraft]
    ) -> None:
        """What changed, and how those are who have come to share a room with the user."""
        if changed is None:
            return
        if request.since is not None:
            told = {state.user_id for state in changed}
            newcomers = self._rooms.newcomers(drafts) - told
            if newcomers:
                changed = changed + self._presence.of_newcomers(newcomers, answer.token.ephemeral)
        wanted = request.filter.presence
        events = [self._presence.event(state) for state in changed if wanted.allows("m.presence", state.user_id)]
        if events:
            answer.set_events("presence", events)

    def _add_account_data(self, request: SyncRequest, answer: Answer, data: UserData, upto: int) -> None:
        wanted = request.filter.account_data
        events = [
            b'{"type":%b,"content":%b}' % (orjson.dumps(row.type), row.content)
            for row in reversed(data.changed(request.after if request.since is not None else -1, upto))
            if not row.room_id and wanted.allows(row.type)
        ]
        if request.since is None and ("", "m.push_rules") not in data.rows and wanted.allows("m.push_rules"):
            rules = data.default_push_rules(request.user_id)
            events.append(b'{"type":"m.push_rules","content":%b}' % rules)
        if events:
            answer.set_events("account_data", events)
