"""Sending events and redactions.

https://spec.matrix.org/v1.19/client-server-api/#sending-events-to-a-room
"""

from typing import Any

from homeserver.core.event_builder import EventDraft
from homeserver.core.events import MEMBER
from homeserver.errors import BadJson
from homeserver.services.directory import Directory
from homeserver.services.membership import Membership
from homeserver.services.send_event import SendEvent
from homeserver.web.request import Request

_CANONICAL_ALIAS = "m.room.canonical_alias"


class MessageHandlers:
    """Message events, state events, redactions."""

    def __init__(self, send_event: SendEvent, membership: Membership, directory: Directory) -> None:
        self._send = send_event
        self._membership = membership
        self._directory = directory

    async def send(self, request: Request) -> dict[str, Any]:
        path, user = request.path, request.user
        if path["eventType"] == "m.room.redaction":
            redacts = request.body.pop("redacts", None)
            if not isinstance(redacts, str):
                raise BadJson("redacts must name the event to redact")
            return {"event_id": await self._send.redact(user, path["roomId"], redacts, request.body, path["txnId"])}
        draft = EventDraft(path["eventType"], user.user_id, request.body, path["roomId"])
        event_id = await self._send.send(
            user, path["roomId"], draft, txn_id=path["txnId"], origin_server_ts=_timestamp(request)
        )
        return {"event_id": event_id}

    async def set_state(self, request: Request) -> dict[str, Any]:
        path, user = request.path, request.user
        room_id, event_type, state_key = path["roomId"], path["eventType"], path.get("stateKey", "")
        if event_type == MEMBER:
            return {"event_id": await self._membership.set_by_state(user, room_id, state_key, request.body)}
        if event_type == _CANONICAL_ALIAS and state_key == "":
            await self._directory.check_canonical_alias(room_id, request.body)
        draft = EventDraft(event_type, user.user_id, request.body, room_id, state_key=state_key)
        return {"event_id": await self._send.send(user, room_id, draft, origin_server_ts=_timestamp(request))}

    async def redact(self, request: Request) -> dict[str, Any]:
        path = request.path
        reason = request.body.get("reason")
        content = {} if reason is None else {"reason": reason}
        event_id = await self._send.redact(request.user, path["roomId"], path["eventId"], content, path["txnId"])
        return {"event_id": event_id}


def _timestamp(request: Request) -> int | None:
    """Application services may say when an event happened."""
    return request.query.int_("ts") if request.user.appservice is not None else None
