"""Who is in a room: join, invite, leave, kick, ban, unban, knock, forget.

https://spec.matrix.org/v1.19/client-server-api/#room-membership
"""

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from homeserver.core.event_builder import EventDraft
from homeserver.core.events import MEMBER
from homeserver.core.identifiers import is_valid_user_id
from homeserver.errors import (
    BadState,
    CannotLeaveServerNoticeRoom,
    Forbidden,
    InvalidParam,
    MatrixError,
    NotFound,
    Unknown,
)
from homeserver.services.events import Events, StoredEvent
from homeserver.services.invite_gate import InviteGate, OpenGate
from homeserver.services.join_conditions import JoinConditions
from homeserver.services.out_of_room import OutOfRoom
from homeserver.services.outgoing_invites import OutgoingInvites
from homeserver.services.partial_rooms import PartialRooms
from homeserver.services.profile_reader import ProfileReader
from homeserver.services.remote_rooms import RemoteRooms
from homeserver.services.room_heads import RoomHead, RoomHeads
from homeserver.services.send_event import SendEvent
from homeserver.services.suspension import refuse_suspended
from storage import memberships
from storage.database import Database, Write
from storage.streams import Stream

if TYPE_CHECKING:
    from homeserver.services.sessions import Requester


class Membership:
    """Changes memberships for local users; asks other servers where this one is not in the room."""

    def __init__(
        self,
        database: Database,
        events: Events,
        heads: RoomHeads,
        send_event: SendEvent,
        conditions: JoinConditions,
        out_of_room: OutOfRoom,
        outgoing_invites: OutgoingInvites,
        remote: RemoteRooms,
        profiles: ProfileReader,
        *,
        server_name: str,
        invites: InviteGate | None = None,
        partial: PartialRooms | None = None,
        notices_user: str | None = None,
    ) -> None:
        self._database = database
        self._events = events
        self._heads = heads
        self._send = send_event
        self._conditions = conditions
        self._out_of_room = out_of_room
        self._outgoing_invites = outgoing_invites
        self._remote = remote
        self._profiles = profiles
        self._server_name = server_name
        self._partial = partial
        self._notices_user = notices_user
        self.invites: InviteGate = invites or OpenGate()

    async def join(
        self,
        requester: "Requester",
        room_id: str,
        *,
        via: Sequence[str] = (),
        reason: str | None = None,
        third_party_signed: Mapping[str, Any] | None = None,
        content: Mapping[str, Any] | None = None,
    ) -> str:
        """Join a room and return its id; nothing happens where the user is in it. `content` adds to the member event.

        Raises `Forbidden`, `NotFound`, and what the other servers say where the room is not one of this server's.
        """
        user_id = requester.user_id
        head = await self._heads.get(room_id)
        if head is not None and user_id in head.joined:
            return room_id
        refuse_suspended(requester)
        extra = {**(content or {}), **_reason(reason)}
        member = {**await self._profiles.member_fields(user_id), **extra, "membership": "join"}
        if head is None or not head.hosts.get(self._server_name):
            servers = await self._out_of_room.servers(room_id, user_id, via)
            if not servers:
                raise NotFound("This server does not know the room, and was told of no server that does")
            await self._remote.join(user_id, room_id, servers, member)
            return room_id
        if head.is_partial:
            # Whether the user is banned is not known here.
            servers = [server for server in (*via, *head.hosts) if server != self._server_name]
            await self._remote.join(user_id, room_id, servers, member)
            return room_id
        if third_party_signed is not None:
            await self._conditions.redeem(head, user_id, third_party_signed)
        try:
            authoriser = await self._conditions.check(head, requester)
        except MatrixError:
            # Nobody here may let the user in, or knows whether they may come in: somebody elsewhere might.
            servers = [server for server in head.hosts if server != self._server_name]
            if not servers or not await self._conditions.may_ask_elsewhere(head, requester):
                raise
            await self._remote.join(user_id, room_id, servers, member)
            return room_id
        if authoriser is not None:
            member["join_authorised_via_users_server"] = authoriser
        await self._change(user_id, room_id, user_id, member)
        return room_id

    async def invite(
        self, requester: "Requester", room_id: str, user_id: str, *, reason: str | None = None, is_direct: bool = False
    ) -> None:
        """Invite a user, of this or another server. Raises `Forbidden`, `InvalidParam`, `InviteBlocked`."""
        _check_user_id(user_id)
        refuse_suspended(requester)
        if self._is_local(user_id):
            await self.invites.check(user_id, requester.user_id)
        content = await self.invite_content(user_id, {**_reason(reason), **({"is_direct": True} if is_direct else {})})
        if self._is_local(user_id):
            await self._change(requester.user_id, room_id, user_id, content)
            return
        await self._outgoing_invites.send(requester.user_id, room_id, user_id, content)

    async def invite_content(self, user_id: str, extra: Mapping[str, Any]) -> dict[str, Any]:
        """The content of an invite's member event."""
        profile = await self._profiles.member_fields(user_id) if self._is_local(user_id) else {}
        return {**profile, **extra, "membership": "invite"}

    async def leave(
        self, requester: "Requester", room_id: str, *, reason: str | None = None, for_good: bool = False
    ) -> None:
        """Leave a room, reject an invite, or take back a knock. Raises `Forbidden` for those who are nothing in the
        room, `CannotLeaveServerNoticeRoom` for an invite to the server's notices unless the account is closed,
        `for_good`."""
        user_id = requester.user_id
        head = await self._heads.get(room_id)
        membership = await self._membership_of(room_id, user_id)
        if membership in (None, "ban"):
            raise Forbidden("You are not in the room")
        if membership == "leave":
            return
        if membership == "invite" and not for_good:
            await self._refuse_rejecting_notices(head, user_id)
        content = {**_reason(reason), "membership": "leave"}
        if head is None or not head.hosts.get(self._server_name):
            await self._out_of_room.leave(user_id, room_id, content)
            return
        await self._change(user_id, room_id, user_id, content)

    async def kick(self, requester: "Requester", room_id: str, user_id: str, *, reason: str | None = None) -> None:
        """Remove a user, or take back their invite. Raises `Forbidden`, also where they are not in the room."""
        _check_user_id(user_id)
        await self._require_joined(requester, room_id)
        if await self._known_membership_of(room_id, user_id) not in ("join", "invite", "knock"):
            raise Forbidden("The user is not in the room")
        await self._change(requester.user_id, room_id, user_id, {**_reason(reason), "membership": "leave"})

    async def ban(self, requester: "Requester", room_id: str, user_id: str, *, reason: str | None = None) -> None:
        """Ban a user, who need not be in the room. Raises `Forbidden`."""
        _check_user_id(user_id)
        refuse_suspended(requester)
        await self._change(requester.user_id, room_id, user_id, {**_reason(reason), "membership": "ban"})

    async def unban(self, requester: "Requester", room_id: str, user_id: str, *, reason: str | None = None) -> None:
        """Lift a ban. Raises `Forbidden`, and `BadState` where the user is not banned."""
        _check_user_id(user_id)
        await self._require_joined(requester, room_id)
        if await self._known_membership_of(room_id, user_id) != "ban":
            raise BadState("The user is not banned")
        await self._change(requester.user_id, room_id, user_id, {**_reason(reason), "membership": "leave"})

    async def knock(
        self, requester: "Requester", room_id: str, *, via: Sequence[str] = (), reason: str | None = None
    ) -> str:
        """Ask to be let in; returns the room id. Raises `Forbidden`, `NotFound`."""
        refuse_suspended(requester)
        user_id = requester.user_id
        head = await self._heads.get(room_id)
        member = {**await self._profiles.member_fields(user_id), **_reason(reason), "membership": "knock"}
        if head is None or not head.hosts.get(self._server_name):
            servers = await self._out_of_room.servers(room_id, user_id, via)
            if not servers:
                raise NotFound("This server does not know the room, and was told of no server that does")
            await self._remote.knock(user_id, room_id, servers, member)
        else:
            await self._change(user_id, room_id, user_id, member)
        return room_id

    async def forget(self, requester: "Requester", room_id: str) -> None:
        """Hear no more of a room that the user has left. Raises `Unknown` where they have not, `NotFound`."""
        user_id = requester.user_id
        async with self._database.read() as tx:
            found = await memberships.membership_of(tx, room_id, user_id)
        if found is None:
            raise NotFound("You never were in this room")
        if found.membership not in ("leave", "ban"):
            raise Unknown("You are still in the room, or invited to it")

        async def operation(tx: Write) -> None:
            memberships.forget(tx, found.room_nid, user_id)
            tx.position(Stream.MEMBERSHIPS, user_id)

        await self._database.write(operation, rooms=(found.room_nid,))

    async def set_by_state(self, requester: "Requester", room_id: str, user_id: str, content: Mapping[str, Any]) -> str:
        """What a client wants a member event to be, sent as a state event; returns the id of the event in force.

        Raises `InvalidParam` for an unknown membership, and whatever the operation raises that it amounts to.
        """
        _check_user_id(user_id)
        # Who lets a user in is not for clients to say: the user named there has to sign, by their server.
        content = {name: value for name, value in content.items() if name != "join_authorised_via_users_server"}
        membership, own = content.get("membership"), user_id == requester.user_id
        reason = content.get("reason") if isinstance(content.get("reason"), str) else None
        head = await self._heads.get(room_id)
        if membership == "join" and own and (head is None or user_id not in head.joined):
            await self.join(requester, room_id, reason=reason, content=content)
        elif membership == "invite" and not self._is_local(user_id):
            await self._outgoing_invites.send(requester.user_id, room_id, user_id, dict(content))
        elif membership == "leave" and own:
            await self.leave(requester, room_id, reason=reason)
        elif membership in ("join", "invite", "leave", "ban", "knock"):
            refuse_suspended(requester)
            if membership == "invite":
                await self.invites.check(user_id, requester.user_id)
            return await self._change(requester.user_id, room_id, user_id, dict(content))
        else:
            raise InvalidParam("There is no such membership")
        head = await self._heads.get(room_id)
        return "" if head is None else head.state.get((MEMBER, user_id), "")

    async def profile_changed(self, user_id: str) -> None:
        """Show a changed profile in every room that the user is in. Rooms that refuse keep the old one."""
        profile = await self._profiles.member_fields(user_id)
        async with self._database.read() as tx:
            room_ids = await memberships.joined_room_ids(tx, user_id)
        for room_id in room_ids:
            try:
                await self._change(user_id, room_id, user_id, {**profile, "membership": "join"})
            except MatrixError:
                continue

    async def joined_rooms(self, requester: "Requester") -> list[str]:
        """The rooms that the user is joined to."""
        async with self._database.read() as tx:
            return await memberships.joined_room_ids(tx, requester.user_id)

    async def membership_of(self, room_id: str, user_id: str) -> str | None:
        """A user's membership of a room; None where they never had any."""
        return await self._membership_of(room_id, user_id)

    async def _change(self, sender: str, room_id: str, user_id: str, content: dict[str, Any]) -> str:
        head = await self._send.require_head(room_id)
        draft = EventDraft(MEMBER, sender, content, room_id, state_key=user_id)
        advised = await self._send.advised(head, draft)

        async def operation(tx: Write) -> str:
            room = await self._send.require_draft(tx, room_id)
            unchanged = await self._send.unchanged(tx, room, draft)
            if unchanged is not None:
                return unchanged
            if advised is not None:
                return (await self._send.append_advised(tx, room, advised)).event_id
            return (await self._send.append(tx, room, draft)).event_id

        return await self._database.write(operation, rooms=(head.room_nid,))

    async def _known_membership_of(self, room_id: str, user_id: str) -> str | None:
        """As `_membership_of`; waits where the members of the room are still being read."""
        membership = await self._membership_of(room_id, user_id)
        if membership is not None or self._partial is None or not self._partial.is_partial(room_id):
            return membership
        await self._partial.wait(room_id)
        return await self._membership_of(room_id, user_id)

    async def _membership_of(self, room_id: str, user_id: str) -> str | None:
        head = await self._heads.get(room_id)
        if head is not None:
            if user_id in head.joined:
                return "join"
            current = await self._current(head, user_id)
            if current is not None:
                return current.event.membership
        async with self._database.read() as tx:
            found = await memberships.membership_of(tx, room_id, user_id)
        return None if found is None else found.membership

    async def _current(self, head: RoomHead, user_id: str) -> StoredEvent | None:
        event_id = head.state.get((MEMBER, user_id))
        if event_id is None or not head.hosts.get(self._server_name):
            # Of a room that this server has left it only knows what was: invites since are kept apart.
            return None
        return await self._events.get(event_id)

    async def _refuse_rejecting_notices(self, head: RoomHead | None, user_id: str) -> None:
        """https://spec.matrix.org/v1.19/client-server-api/#server-notices"""
        invite = None if head is None else await self._current(head, user_id)
        if invite is not None and invite.event.sender == self._notices_user:
            raise CannotLeaveServerNoticeRoom("The server's notices cannot be refused; their room can be left")

    async def _require_joined(self, requester: "Requester", room_id: str) -> None:
        refuse_suspended(requester)
        head = await self._send.require_head(room_id)
        if requester.user_id not in head.joined:
            raise Forbidden("You are not joined to the room")

    def _is_local(self, user_id: str) -> bool:
        return user_id.endswith(":" + self._server_name)


def _reason(reason: str | None) -> dict[str, Any]:
    return {} if reason is None else {"reason": reason}


def _check_user_id(user_id: str) -> None:
    if not is_valid_user_id(user_id):
        raise InvalidParam("That is not a user id")
