"""What a push gateway is sent, and what it answers.

https://spec.matrix.org/v1.19/push-gateway-api/
"""

import logging
from typing import Any

import orjson

from homeserver.core.push_rules import Verdict
from homeserver.runtime.http_client import HttpClient, HttpFailure
from homeserver.services.client_events import json_bytes
from homeserver.services.events import Events, StoredEvent
from homeserver.services.push_badges import Badge
from homeserver.services.room_heads import RoomHead
from storage.pushers import PusherRow

log = logging.getLogger(__name__)


class GatewayFailed(Exception):
    """The gateway could not be reached, or did not take the notification."""


class PushGateway:
    """Writes notifications and delivers them. `include_content`: the gateway may see what was said."""

    def __init__(self, http: HttpClient, events: Events, *, include_content: bool, timeout_s: float) -> None:
        self._http = http
        self._events = events
        self._include_content = include_content
        self._timeout_s = timeout_s

    async def notify(
        self, pusher: PusherRow, stored: StoredEvent, head: RoomHead | None, verdict: Verdict, badge: Badge
    ) -> bool:
        """Tell of an event. False where the gateway says that the pushkey is none; raises GatewayFailed."""
        data = orjson.loads(pusher.pusher)["data"]
        event = stored.event
        notification: dict[str, Any] = {
            "event_id": event.event_id,
            "room_id": event.room_id,
            "counts": badge.counts(),
            "prio": "high" if _is_urgent(stored, verdict) else "low",
        }
        tweaks: dict[str, Any] | None = None
        if data.get("format") != "event_id_only":
            notification |= await self._described(pusher.user_id, stored, head)
            tweaks = {} if verdict.sound is None else {"sound": verdict.sound}
            if verdict.highlight:
                tweaks["highlight"] = True
        return await self._deliver(pusher, data, notification, tweaks)

    async def tell_badge(self, pusher: PusherRow, badge: Badge) -> bool:
        """Tell of the counts alone. As `notify`."""
        data = orjson.loads(pusher.pusher)["data"]
        # That there is nothing left is all there is to say, so here a zero stays.
        notification = {"counts": {"unread": 0, **badge.counts()}, "prio": "low"}
        return await self._deliver(pusher, data, notification, None)

    async def _described(self, user_id: str, stored: StoredEvent, head: RoomHead | None) -> dict[str, Any]:
        event = stored.shown
        described: dict[str, Any] = {"type": event.type, "sender": event.sender}
        state = {} if head is None else head.state
        named = {
            "sender_display_name": (("m.room.member", event.sender), "displayname"),
            "room_name": (("m.room.name", ""), "name"),
            "room_alias": (("m.room.canonical_alias", ""), "alias"),
        }
        found = await self._events.get_many(state[key] for key, _ in named.values() if key in state)
        for name, (key, field) in named.items():
            holder = found.get(state.get(key, ""))
            value = None if holder is None else holder.shown.content.get(field)
            if isinstance(value, str) and value:
                described[name] = value
        if event.type == "m.room.member":
            described["user_is_target"] = event.state_key == user_id
        if self._include_content:
            described["content"] = event.content
        return described

    async def _deliver(
        self, pusher: PusherRow, data: dict[str, Any], notification: dict[str, Any], tweaks: dict[str, Any] | None
    ) -> bool:
        device: dict[str, Any] = {
            "app_id": pusher.app_id,
            "pushkey": pusher.pushkey,
            "pushkey_ts": pusher.changed_at // 1000,
            "data": {name: value for name, value in data.items() if name != "url"},
        }
        if tweaks is not None:
            device["tweaks"] = tweaks
        body = json_bytes({"notification": {**notification, "devices": [device]}})
        try:
            answer = await self._http.send("POST", data["url"], body, timeout_s=self._timeout_s)
        except HttpFailure as error:
            raise GatewayFailed(str(error)) from error
        if not answer.is_success:
            raise GatewayFailed(f"it answered with {answer.status}")
        try:
            parsed = orjson.loads(answer.body)
        except orjson.JSONDecodeError as error:
            raise GatewayFailed("it answered with no JSON") from error
        rejected = parsed.get("rejected") if isinstance(parsed, dict) else None
        return not (isinstance(rejected, list) and pusher.pushkey in rejected)


def _is_urgent(stored: StoredEvent, verdict: Verdict) -> bool:
    # What is encrypted may be anything, and a call cannot wait.
    return verdict.highlight or verdict.sound is not None or stored.event.type in ("m.room.encrypted", "m.call.invite")
