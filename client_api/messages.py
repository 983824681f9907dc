"""Sending events and redactions.

https://spec.matrix.org/v1.19/client-server-api/#sending-events-to-a-room
"""

from typing import Any

from client_api.delayed_events import event_time
from homeserver.core.event_builder import EventDraft
from homeserver.core.events import MEMBER
from homeserver.errors import BadJson, InvalidParam, NotJson, TooLarge
from homeserver.services.delayed_events import DelayedEvents, Wanted
from homeserver.services.directory import Directory
from homeserver.services.long_texts import MESSAGE, LongTexts
from homeserver.services.membership import Membership
from homeserver.services.send_event import SendEvent
from homeserver.web.request import Request

_CANONICAL_ALIAS = "m.room.canonical_alias"
_DELAY = "org.matrix.msc4140.delay"


class MessageHandlers:
    """Message events, state events, redactions."""

    def __init__(
        self,
        send_event: SendEvent,
        membership: Membership,
        directory: Directory,
        delayed_events: DelayedEvents | None = None,
        long_texts: LongTexts | None = None,
    ) -> None:
        self._send = send_event
        self._delayed = delayed_events
        self._long_texts = long_texts
        self._membership = membership
        self._directory = directory

    async def send(self, request: Request) -> dict[str, Any]:
        path, user = request.path, request.user
        if request.query.str_(_DELAY) is not None:
            return await self._schedule(request, None, path["txnId"])
        if not request.raw_body:
            raise NotJson("The body must be the content of the event")
        if path["eventType"] == "m.room.redaction":
            redacts = request.body.pop("redacts", None)
            if not isinstance(redacts, str):
                raise BadJson("redacts must name the event to redact")
            return {"event_id": await self._send.redact(user, path["roomId"], redacts, request.body, path["txnId"])}
        try:
            return await self._send_message(request, request.body)
        except TooLarge:
            if path["eventType"] != MESSAGE or self._long_texts is None:
                raise
            content = await self._long_texts.shortened(user.user_id, request.body)
            if content is None:
                raise
            return await self._send_message(request, content)

    async def _send_message(self, request: Request, content: dict[str, Any]) -> dict[str, Any]:
        path, user = request.path, request.user
        draft = EventDraft(path["eventType"], user.user_id, content, path["roomId"])
        event_id = await self._send.send(
            user, path["roomId"], draft, txn_id=path["txnId"], origin_server_ts=event_time(request)
        )
        return {"event_id": event_id}

    async def set_state(self, request: Request) -> dict[str, Any]:
        path, user = request.path, request.user
        room_id, event_type, state_key = path["roomId"], path["eventType"], path.get("stateKey", "")
        if request.query.str_(_DELAY) is not None:
            return await self._schedule(request, state_key, None)
        if event_type == MEMBER:
            return {"event_id": await self._membership.set_by_state(user, room_id, state_key, request.body)}
        if event_type == _CANONICAL_ALIAS and state_key == "":
            await self._directory.check_canonical_alias(room_id, request.body)
        draft = EventDraft(event_type, user.user_id, request.body, room_id, state_key=state_key)
        return {"event_id": await self._send.send(user, room_id, draft, origin_server_ts=event_time(request))}

    async def redact(self, request: Request) -> dict[str, Any]:
        path = request.path
        reason = request.body.get("reason")
        content = {} if reason is None else {"reason": reason}
        event_id = await self._send.redact(request.user, path["roomId"], path["eventId"], content, path["txnId"])
        return {"event_id": event_id}

    async def _schedule(self, request: Request, state_key: str | None, txn_id: str | None) -> dict[str, Any]:
        """Proposal 4140: the event is sent later. A request that is made again may leave out the content."""
        delay_ms = request.query.int_(_DELAY, minimum=1)
        if self._delayed is None or delay_ms is None:
            raise InvalidParam("The delay must be a number of milliseconds")
        content = request.body if request.raw_body else None
        path = request.path
        wanted = Wanted(
            path["roomId"], path["eventType"], state_key, content, delay_ms, txn_id, event_time(request)
        )
        return {"delay_id": await self._delayed.schedule(request.user, wanted)}
