"""Invites and knocks that are over: a leave or ban of a local user in a room that this server is not in."""

from collections.abc import Sequence
from typing import Any

from homeserver.core.canonical_json import CanonicalJSONError
from homeserver.core.event_format import InvalidEvent
from homeserver.core.events import Event
from homeserver.services.event_signatures import EventSignatures
from homeserver.services.import_room import ImportRoom
from homeserver.services.received_events import parse, verify
from homeserver.services.room_heads import RoomHead, RoomHeads
from homeserver.services.server_access import ServerAccess
from storage import memberships
from storage.database import Database, Write
from storage.events import event_ids_of


class RescindedInvites:
    """Believes the user who invited, and servers where somebody knocked, as nobody else can be asked."""

    def __init__(
        self,
        database: Database,
        heads: RoomHeads,
        imports: ImportRoom,
        signatures: EventSignatures,
        access: ServerAccess,
    ) -> None:
        self._database = database
        self._heads = heads
        self._imports = imports
        self._signatures = signatures
        self._access = access

    async def receive(self, origin: str, head: RoomHead, pdus: Sequence[dict[str, Any]]) -> None:
        """Looks through events of a room that this server is not in."""
        wanted = [pdu for pdu in pdus if pdu.get("type") == "m.room.member" and self._is_about_local_user(pdu)]
        if not wanted:
            return
        try:
            received = await verify(parse(wanted, head.room_version, head.room_id), self._signatures)
        except (InvalidEvent, CanonicalJSONError):
            return
        for event in received.events:
            if event.membership in ("leave", "ban") and event.sender.partition(":")[2] == origin:
                await self._end(event)

    def _is_about_local_user(self, pdu: dict[str, Any]) -> bool:
        state_key = pdu.get("state_key")
        return isinstance(state_key, str) and state_key.partition(":")[2] == self._access.server_name

    async def _end(self, event: Event) -> None:
        assert event.state_key is not None
        user_id = event.state_key

        async def write(tx: Write) -> None:
            now = await memberships.membership_of(tx, event.room_id, user_id)
            draft = await self._heads.draft(tx, event.room_id)
            if now is None or draft is None or draft.host_count(self._access.server_name):
                return
            # What is taken back is among what authorises that. An earlier leave may come after a new invite.
            ended = (await event_ids_of(tx, (now.event_nid,))).get(now.event_nid)
            is_inviters = now.membership == "invite" and now.sender == event.sender
            if ended in event.auth_events and (is_inviters or now.membership == "knock"):
                await self._imports.membership(tx, draft, event)

        await self._database.write(write)
