"""Delayed events, proposal 4140: as its experiment has it, which clients speak."""

from typing import Any

from homeserver.errors import BadJson, InvalidParam, Unrecognized
from homeserver.services.delayed_events import DelayedEvents, Wanted
from homeserver.web.request import Request


class DelayedEventHandlers:
    """Whoever knows a delay id may manage the event: users hand it to those who watch over their calls."""

    def __init__(self, delayed_events: DelayedEvents) -> None:
        self._delayed = delayed_events

    async def schedule(self, request: Request) -> dict[str, Any]:
        path, body = request.path, request.body
        wanted = Wanted(
            path["roomId"],
            path["eventType"],
            body.get("state_key"),
            body["content"],
            int(body["delay_ms"]),
            txn_id=path["txnId"],
            origin_server_ts=event_time(request),
        )
        return {"delay_id": await self._delayed.schedule(request.user, wanted)}

    async def scheduled(self, request: Request) -> dict[str, Any]:
        """As the proposal has it, and (`scheduled`, `finalised`) as an earlier draft that clients still read."""
        user_id, status = request.user.user_id, request.query.choice("status", ("scheduled", "finalised"))
        wanted = set(request.query.all("delay_id"))
        scheduled = await self._delayed.all_of(user_id) if status != "finalised" else []
        finalised = await self._delayed.finalised_of(user_id) if status != "scheduled" else []
        if wanted:
            scheduled = [one for one in scheduled if one["delay_id"] in wanted]
            finalised = [one for one in finalised if one["delayed_event"]["delay_id"] in wanted]
        return {"delayed_events": scheduled, "scheduled": scheduled, "finalised": finalised}

    async def one(self, request: Request) -> dict[str, Any]:
        return await self._delayed.one_of(request.user.user_id, request.path["delayId"])

    async def manage(self, request: Request) -> dict[str, Any]:
        await self._perform(request.path["delayId"], request.path["action"], Unrecognized("There is no such action"))
        return {}

    async def manage_by_body(self, request: Request) -> dict[str, Any]:
        """As earlier drafts of the proposal had it."""
        action = request.body.get("action")
        if not isinstance(action, str):
            raise BadJson("action must be one of: send, restart, cancel")
        unknown = InvalidParam("action must be one of: send, restart, cancel")
        await self._perform(request.path["delayId"], action, unknown)
        return {}

    async def _perform(self, delay_id: str, action: str, otherwise: Exception) -> None:
        if action == "restart":
            await self._delayed.restart(delay_id)
        elif action == "cancel":
            await self._delayed.cancel(delay_id)
        elif action == "send":
            await self._delayed.send(delay_id)
        else:
            raise otherwise


def event_time(request: Request) -> int | None:
    """Application services may say when an event happened."""
    return request.query.int_("ts") if request.user.appservice is not None else None
