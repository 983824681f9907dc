"""Invites by e-mail address or phone number that have found their user: made into invites of that user.

server-server-api §Third-party invites
"""

import logging
from collections.abc import Mapping, Sequence
from typing import Any

from federation.outbound.client import FederationClient
from federation.outbound.failures import FederationError
from homeserver.core.events import MEMBER
from homeserver.errors import Forbidden, InvalidParam, MatrixError
from homeserver.services.events import Events
from homeserver.services.membership import Membership
from homeserver.services.room_heads import RoomHead
from homeserver.services.server_access import ServerAccess
from homeserver.services.sessions import Requester

log = logging.getLogger(__name__)

THIRD_PARTY_INVITE = "m.room.third_party_invite"


class ThirdPartyInvites:
    """Only the server of the user who invited can make the invite; others hand over what the identity server signed."""

    def __init__(
        self, client: FederationClient, access: ServerAccess, events: Events, membership: Membership
    ) -> None:
        self._client = client
        self._access = access
        self._events = events
        self._membership = membership

    async def exchange(self, origin: str, room_id: str, event: Mapping[str, Any]) -> None:
        """Another server asks for the invite that an event template describes. Raises InvalidParam, Forbidden,
        NotFound."""
        head = await self._access.resident_head(room_id, origin)
        if event["room_id"] != room_id or event["type"] != MEMBER or event["content"]["membership"] != "invite":
            raise InvalidParam("The event is not an invite to the room in the path")
        signed = event["content"]["third_party_invite"]["signed"]
        await self._invite(head, event["sender"], event["state_key"], signed)

    async def bound(self, user_id: str, invites: Sequence[Mapping[str, Any]]) -> None:
        """An identity server tells that an address is this user's, and which invites it had kept for it."""
        if not user_id.endswith(":" + self._access.server_name):
            raise InvalidParam("The user is not of this server")
        for invite in invites:
            if invite["mxid"] != user_id:
                continue
            try:
                await self._redeem(invite["room_id"], invite["sender"], user_id, invite["signed"])
            except (MatrixError, FederationError) as error:
                log.info("no invite of %s to %s: %s", user_id, invite["room_id"], error)

    async def _redeem(self, room_id: str, sender: str, user_id: str, signed: Mapping[str, Any]) -> None:
        server = sender.partition(":")[2]
        if server == self._access.server_name:
            await self._invite(await self._access.resident_head(room_id, server), sender, user_id, signed)
            return
        template = {
            "type": MEMBER,
            "room_id": room_id,
            "sender": sender,
            "state_key": user_id,
            "content": {"membership": "invite", "third_party_invite": {"display_name": "", "signed": dict(signed)}},
        }
        await self._client.exchange_third_party_invite(server, room_id, template)

    async def _invite(self, head: RoomHead, sender: str, user_id: str, signed: Mapping[str, Any]) -> None:
        token = signed.get("token")
        event_id = head.state.get((THIRD_PARTY_INVITE, token)) if isinstance(token, str) else None
        kept = None if event_id is None else await self._events.get(event_id)
        if kept is None or kept.event.sender != sender or not sender.endswith(":" + self._access.server_name):
            raise Forbidden("There is no such third-party invite of that user")
        if signed.get("mxid") != user_id:
            raise InvalidParam("The invite is signed over to another user")
        kept_fields = {name: signed[name] for name in ("mxid", "token", "signatures") if name in signed}
        name = kept.shown.content.get("display_name", "")
        content = {"membership": "invite", "third_party_invite": {"display_name": name, "signed": kept_fields}}
        await self._membership.set_by_state(Requester(sender, None), head.room_id, user_id, content)
