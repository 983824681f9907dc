"""What the server itself tells its users: each has one room for it, made when there is something to tell.

https://spec.matrix.org/v1.19/client-server-api/#server-notices
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import orjson

from homeserver.config.account_sections import ServerNotices as ServerNoticesConfig
from homeserver.core.event_builder import EventDraft
from homeserver.core.events import MEMBER, REDACTION
from homeserver.core.identifiers import is_valid_user_id
from homeserver.errors import Exclusive, Forbidden, InvalidParam, NotFound, UserInUse
from homeserver.services.account_data import TAGS, AccountData
from homeserver.services.accounts import Accounts
from homeserver.services.create_room import CreateRoom
from homeserver.services.idempotency import Idempotency, Scope
from homeserver.services.membership import Membership
from homeserver.services.profile_reader import ProfileReader
from homeserver.services.room_heads import HeadDraft, RoomHeads
from homeserver.services.room_presets import NewRoom, create_content, topic_content
from homeserver.services.send_event import SendEvent
from storage import server_notices as storage
from storage.database import Database, Write
from storage.server_notices import AnotherRoom

MESSAGE: Final = "m.room.message"
TAG: Final = "m.server_notice"
# What makes the room what it is. A user could not read a notice in an encrypted room: the server has no keys.
_NO_NOTICES: Final = frozenset(
    ("m.room.create", MEMBER, "m.room.power_levels", "m.room.encryption", "m.room.tombstone", REDACTION)
)
# Nobody reads what users say there, and nobody else should be there.
_POWER_LEVELS: Final = {"events_default": 50, "state_default": 50, "invite": 50}


@dataclass(frozen=True, slots=True)
class Notice:
    """An event for one user: a message, or state of their room where there is a `state_key`."""

    content: dict[str, Any]
    type: str = MESSAGE
    state_key: str | None = None

    @classmethod
    def text(cls, body: str) -> "Notice":
        """A message that every client can show."""
        return cls({"msgtype": "m.text", "body": body})


class ServerNotices:
    """Sends notices as a user whom nobody can log in as, `config.localpart`, to users of this server."""

    def __init__(
        self,
        database: Database,
        accounts: Accounts,
        account_data: AccountData,
        heads: RoomHeads,
        create_room: CreateRoom,
        membership: Membership,
        send_event: SendEvent,
        idempotency: Idempotency,
        profiles: ProfileReader,
        config: ServerNoticesConfig,
        *,
        server_name: str,
    ) -> None:
        self._database = database
        self._accounts = accounts
        self._account_data = account_data
        self._heads = heads
        self._create_room = create_room
        self._membership = membership
        self._send = send_event
        self._idempotency = idempotency
        self._profiles = profiles
        self._config = config
        self._suffix = f":{server_name}"
        self._sender = f"@{config.localpart}{self._suffix}"

    async def send(self, user_id: str, notice: Notice, *, scope: Scope | None = None) -> str:
        """Tell a user something, inviting them where they are not in their room; returns the event's id. The same
        `scope` gives the same event. Raises InvalidParam, NotFound, Forbidden, TooLarge, BadJson."""
        if notice.type in _NO_NOTICES:
            raise InvalidParam(f"A notice cannot be of the type {notice.type}")
        return str(await self._idempotency.once(scope, lambda: self._send_to(user_id, notice, scope)))

    async def require_possible(self) -> None:
        """Raises Forbidden where somebody has the account that notices should come from."""
        try:
            await self._accounts.require_unclaimed(self._sender)
        except (UserInUse, Exclusive):
            raise Forbidden(
                f"{self._sender} is somebody's account, so no notices can come from it: "
                "choose another name (server_notices.localpart)"
            ) from None

    async def _send_to(self, user_id: str, notice: Notice, scope: Scope | None) -> str:
        await self.require_possible()
        await self._require_recipient(user_id)
        while True:
            try:
                return await self._write(user_id, notice, scope)
            except AnotherRoom:
                continue  # another process made the room in this moment

    async def _require_recipient(self, user_id: str) -> None:
        if not is_valid_user_id(user_id) or not user_id.endswith(self._suffix):
            raise InvalidParam("Notices are for users of this server only")
        if (await self._accounts.require(user_id)).deactivated:
            raise NotFound("The account is closed")

    async def _write(self, user_id: str, notice: Notice, scope: Scope | None) -> str:
        """All of it in one write, so that nobody sees a room with nothing in it."""
        profile = await self._profiles.member_fields(self._sender)
        invite = await self._membership.invite_content(user_id, {})
        known = await self._known_room(user_id)
        head = None if known is None else await self._heads.get(known)

        async def operation(tx: Write) -> str:
            if await storage.room_of(tx, user_id) != known:
                raise AnotherRoom  # which is not locked, so that others may be writing to it
            done = await self._idempotency.recorded(tx, scope)
            if done is not None:
                return str(done)
            room = await self._room(tx, user_id, known, profile)
            await self._decorate(tx, room, profile)
            if not room.is_joined(user_id) and not room.is_invited(user_id):
                await self._put_state(tx, room, MEMBER, invite, user_id)
            event_id = await self._append(tx, room, EventDraft(
                notice.type, self._sender, notice.content, room.room_id, notice.state_key
            ))  # fmt: skip
            self._idempotency.record(tx, scope, event_id)
            return event_id

        return await self._database.write(operation, rooms=() if head is None else (head.room_nid,))

    async def _known_room(self, user_id: str) -> str | None:
        """The room that the user has already; it gets its tag back where the user took it away."""
        async with self._database.read() as tx:
            room_id = await storage.room_of(tx, user_id)
        if room_id is not None and TAG not in await self._account_data.tags(user_id, room_id):
            await self._account_data.put_tag(user_id, room_id, TAG, {})
        return room_id

    async def _room(self, tx: Write, user_id: str, known: str | None, profile: Mapping[str, Any]) -> HeadDraft:
        """The user's room: a new one where there is none, or one of which another user was the sender."""
        room = None if known is None else await self._heads.draft(tx, known)
        if room is not None and room.is_joined(self._sender):
            return room
        new = NewRoom("private_chat", creation_content={"m.federate": False}, power_levels=_POWER_LEVELS)
        version = self._create_room.version()
        room = await self._create_room.begin(tx, version, self._sender, create_content(new, version, self._sender))
        await self._create_room.fill(tx, room, new, self._sender, None, profile)
        await storage.put(tx, user_id, room.room_id, replaces=known)
        self._account_data.append(tx, user_id, room.room_id, TAGS, orjson.dumps({"tags": {TAG: {}}}))
        return room

    async def _decorate(self, tx: Write, room: HeadDraft, profile: Mapping[str, Any]) -> None:
        """The room as the operator wants it to look today."""
        config = self._config
        await self._put_state(tx, room, MEMBER, {**profile, "membership": "join"}, self._sender)
        await self._put_state(tx, room, "m.room.name", {"name": config.room_name})
        if config.room_topic is not None:
            await self._put_state(tx, room, "m.room.topic", topic_content(config.room_topic))
        if config.room_avatar_url is not None:
            await self._put_state(tx, room, "m.room.avatar", {"url": config.room_avatar_url})

    async def _put_state(
        self, tx: Write, room: HeadDraft, event_type: str, content: Mapping[str, Any], state_key: str = ""
    ) -> None:
        await self._append(tx, room, EventDraft(event_type, self._sender, dict(content), room.room_id, state_key))

    async def _append(self, tx: Write, room: HeadDraft, draft: EventDraft) -> str:
        """The id of the new event, or of the state event that says so already."""
        unchanged = await self._send.unchanged(tx, room, draft)
        return unchanged if unchanged is not None else (await self._send.append(tx, room, draft)).event_id
