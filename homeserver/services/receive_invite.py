"""Invites from other servers: checked, signed and shown to the invited user (server-server-api §Inviting to a room)."""

import logging
from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from signedjson.types import SigningKey

from homeserver.core.canonical_json import CanonicalJSONError
from homeserver.core.event_format import InvalidEvent, check_pdu
from homeserver.core.events import Event
from homeserver.core.room_versions import KNOWN_VERSIONS, RoomVersion
from homeserver.core.signatures import sign_event
from homeserver.errors import Forbidden, IncompatibleRoomVersion, InvalidParam
from homeserver.services.event_signatures import EventSignatures
from homeserver.services.import_room import ImportRoom
from homeserver.services.received_events import Received, parse, verify
from homeserver.services.room_heads import RoomHeads
from homeserver.services.server_access import ServerAccess
from homeserver.services.told_state import shown_outside
from storage.database import Database, Write

log = logging.getLogger(__name__)


class InvitedUsers(Protocol):
    """What is asked of the accounts of this server."""

    async def may_be_invited(self, user_id: str, sender: str) -> bool:
        """Whether there is such an active account of this server, and whether it takes invites of the sender."""
        ...


class ReceiveInvite:
    """Takes invites to rooms that this server may or may not be in."""

    def __init__(
        self,
        database: Database,
        heads: RoomHeads,
        imports: ImportRoom,
        signatures: EventSignatures,
        access: ServerAccess,
        users: InvitedUsers,
        *,
        signing_key: SigningKey,
    ) -> None:
        self._database = database
        self._heads = heads
        self._imports = imports
        self._signatures = signatures
        self._access = access
        self._users = users
        self._signing_key = signing_key

    async def receive(
        self,
        origin: str,
        room_id: str,
        event_id: str,
        room_version: str,
        pdu: object,
        room_state: Sequence[object],
    ) -> dict[str, Any]:
        """The invite with this server's signature. Raises InvalidParam, Forbidden, IncompatibleRoomVersion."""
        version = KNOWN_VERSIONS.get(room_version)
        if version is None:
            raise IncompatibleRoomVersion("This server does not know the room version", room_version=room_version)
        event = await self._invite(origin, room_id, event_id, version, pdu)
        head = await self._heads.get(room_id)
        if head is not None and not await self._access.is_allowed(head, origin):
            raise Forbidden("The room's server ACL shuts your server out")
        assert event.state_key is not None
        if not await self._users.may_be_invited(event.state_key, event.sender):
            raise Forbidden("The user cannot be invited")
        signed = sign_event(event.pdu, version, self._access.server_name, self._signing_key)
        event = Event.from_pdu(signed, version, event.event_id)
        # Where this server is in the room, the event comes with the room's others.
        if head is None or not self._access.is_resident(head):
            await self._store(event, await self._stripped(event, room_state))
        return signed

    async def _invite(
        self, origin: str, room_id: str, event_id: str, version: RoomVersion, pdu: object
    ) -> Event:
        try:
            event = Event.from_pdu(check_pdu(pdu, version), version)
        except (InvalidEvent, CanonicalJSONError) as error:
            raise InvalidParam(f"The event is not valid: {error}") from error
        if event.event_id != event_id or event.room_id != room_id:
            raise InvalidParam("The path names another event or room")
        if event.membership != "invite" or event.state_key is None:
            raise InvalidParam("The event is not an invite")
        if event.sender.partition(":")[2] != origin:
            raise InvalidParam("The sender is not of your server")
        if event.state_key.partition(":")[2] != self._access.server_name:
            raise InvalidParam("The invited user is not of this server")
        received = await verify(Received([event]), self._signatures)
        if not received.events:
            raise InvalidParam(received.dropped[0][1])
        return received.events[0]

    async def _stripped(self, event: Event, room_state: Sequence[object]) -> list[dict[str, Any]]:
        """What the client is shown of the room. Whole events must be what they claim to be; from room version 12 on
        there must be nothing else, and the create event among them."""
        whole = [entry for entry in room_state if isinstance(entry, dict) and "signatures" in entry]
        received = parse(whole, event.room_version, event.room_id)
        received = await verify(received, self._signatures)
        strict = event.room_version.room_id_is_create_event_hash
        has_create = any(entry.key == ("m.room.create", "") for entry in received.events if entry.is_state)
        if strict and (received.dropped or not has_create):
            raise InvalidParam("invite_room_state does not hold the room's create event, or events that are not valid")
        for _, reason in received.dropped:
            log.info("invite to %s comes with an invalid event: %s", event.room_id, reason)
        shown: list[object] = [entry.pdu for entry in received.events]
        if not strict:
            shown += [entry for entry in room_state if isinstance(entry, dict) and "signatures" not in entry]
        return shown_outside(event, shown)

    async def _store(self, event: Event, stripped_state: Sequence[Mapping[str, Any]]) -> None:
        async def write(tx: Write) -> None:
            draft = await self._heads.draft(tx, event.room_id)
            if draft is None:
                draft = self._heads.create(tx, event.room_id, event.room_version)
            if not draft.host_count(self._access.server_name):
                await self._imports.membership(tx, draft, event, stripped_state)

        await self._database.write(write)
