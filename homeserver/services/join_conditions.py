"""Whether a local user may join a room that this server is in, and on whose authority.

https://spec.matrix.org/v1.19/client-server-api/#restricted-rooms, #guest-access-1, #third-party-invites
"""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from homeserver.core.auth_selection import JOIN_RULES_KEY, POWER_LEVELS_KEY
from homeserver.core.event_builder import EventDraft
from homeserver.core.events import MEMBER
from homeserver.errors import Forbidden, InvalidParam, UnableToAuthorizeJoin, UnableToGrantJoin
from homeserver.services.events import Events
from homeserver.services.room_heads import RoomHead, RoomHeads
from homeserver.services.send_event import SendEvent
from storage.database import Database, Write

if TYPE_CHECKING:
    from homeserver.services.sessions import Requester


class JoinConditions:
    """Looks at join rules, memberships of other rooms and guest access."""

    def __init__(
        self, database: Database, events: Events, heads: RoomHeads, send_event: SendEvent, *, server_name: str
    ) -> None:
        self._database = database
        self._events = events
        self._heads = heads
        self._send = send_event
        self._server_name = server_name

    async def check(self, head: RoomHead, requester: "Requester") -> str | None:
        """The local user on whose authority the user may join a restricted room; None where none is needed.

        Raises `Forbidden` where the conditions are not met, `UnableToAuthorizeJoin` where this server cannot tell, and
        `UnableToGrantJoin` where nobody here may let the user in.
        """
        if requester.is_guest and await self._content(head, "m.room.guest_access", "guest_access") != "can_join":
            raise Forbidden("Guests may not join this room")
        return await self.authoriser_for(head, requester.user_id)

    async def authoriser_for(self, head: RoomHead, user_id: str) -> str | None:
        """As `check`, for a user of any server."""
        if not await self._is_restricted(head) or user_id in head.joined or user_id in head.invited:
            return None
        allowed = await self._meets(head, user_id)
        if allowed is None:
            raise UnableToAuthorizeJoin("This server is in none of the rooms whose members may join")
        if not allowed:
            raise Forbidden("You are in none of the rooms whose members may join")
        levels = await self._send.power_levels(head)
        for candidate in await self._local_members(head, levels.users_default >= levels.invite):
            if levels.user(candidate) >= levels.invite:
                return candidate
        raise UnableToGrantJoin("Nobody on this server has the power to let the user in")

    async def may_ask_elsewhere(self, head: RoomHead, requester: "Requester") -> bool:
        """Whether another server might let in a user whom this one refused."""
        if requester.is_guest or not await self._is_restricted(head):
            return False
        return await self._meets(head, requester.user_id) is not False

    async def redeem(self, head: RoomHead, user_id: str, signed: Mapping[str, Any]) -> None:
        """Turn a third-party invite, which an identity server has signed over to the user, into an invite.

        Only where the one who invited is of this server. Raises `Forbidden`, `InvalidParam`.
        """
        token = signed.get("token")
        if signed.get("mxid") != user_id or not isinstance(token, str):
            raise InvalidParam("third_party_signed is not for you")
        event_id = head.state.get(("m.room.third_party_invite", token))
        invite = None if event_id is None else await self._events.get(event_id)
        if invite is None or not invite.event.sender.endswith(":" + self._server_name):
            raise Forbidden("There is no such third-party invite here")
        name = invite.event.content.get("display_name", "")
        kept = {name: signed[name] for name in ("mxid", "token", "signatures") if name in signed}
        content = {"membership": "invite", "third_party_invite": {"display_name": name, "signed": kept}}
        draft = EventDraft(MEMBER, invite.event.sender, content, head.room_id, state_key=user_id)

        async def operation(tx: Write) -> None:
            await self._send.append(tx, await self._send.require_draft(tx, head.room_id), draft)

        await self._database.write(operation, rooms=(head.room_nid,))

    async def _is_restricted(self, head: RoomHead) -> bool:
        rule = await self._content(head, *JOIN_RULES_KEY[:1], "join_rule")
        version = head.room_version
        if rule == "knock_restricted":
            return version.knock_restricted_joins
        return rule == "restricted" and version.restricted_joins

    async def _meets(self, head: RoomHead, user_id: str) -> bool | None:
        """Whether the user is in one of the rooms that the join rules name; None where this server cannot tell."""
        rules = await self._content(head, "m.room.join_rules", "allow")
        is_known = True
        for rule in rules if isinstance(rules, list) else ():
            if not isinstance(rule, dict) or rule.get("type") != "m.room_membership":
                continue
            other = await self._heads.get(str(rule.get("room_id")))
            if other is None or not other.hosts.get(self._server_name):
                is_known = False
            elif user_id in other.joined:
                return True
        return False if is_known else None

    async def _local_members(self, head: RoomHead, everybody: bool) -> Iterator[str]:
        """Joined users of this server, those with a level of their own first; only those unless `everybody`."""
        suffix = ":" + self._server_name
        event_id = head.state.get(POWER_LEVELS_KEY)
        stored = None if event_id is None else await self._events.get(event_id)
        users = {} if stored is None else stored.event.content.get("users")
        named = list(users) if isinstance(users, dict) else []
        create = await self._events.get(head.state["m.room.create", ""])
        if create is not None:
            additional = create.event.content.get("additional_creators")
            named += [create.event.sender, *(additional if isinstance(additional, list) else ())]

        def candidates() -> Iterator[str]:
            yield from (user_id for user_id in named if user_id in head.joined and user_id.endswith(suffix))
            if everybody:
                yield from (user_id for user_id in head.joined if user_id.endswith(suffix))

        return candidates()

    async def _content(self, head: RoomHead, event_type: str, name: str) -> Any:
        event_id = head.state.get((event_type, ""))
        stored = None if event_id is None else await self._events.get(event_id)
        return None if stored is None else stored.event.content.get(name)
