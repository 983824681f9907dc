"""Delayed events."""

from client_api.delayed_events import DelayedEventHandlers
from homeserver.web.endpoint import Auth, Endpoint

_EVENTS = "/_matrix/client/unstable/org.matrix.msc4140/delayed_events"

# Proposal 4140, as its experiment has it. Events are also scheduled by sendMessage and setRoomStateWithKey.
DELAYED_EVENTS: tuple[Endpoint, ...] = (
    Endpoint(
        "scheduleDelayedEvent",
        "PUT",
        "/_matrix/client/unstable/org.matrix.msc4140/rooms/{roomId}/delayed_event/{eventType}/{txnId}",
        DelayedEventHandlers.schedule,
        Auth.GUEST_OK,
        limit="message",
        body="scheduleDelayedEvent",
        transaction=True,
        any_text=True,
    ),
    Endpoint(
        "getDelayedEvents",
        "GET",
        _EVENTS,
        DelayedEventHandlers.scheduled,
        Auth.GUEST_OK,
        limit="general",
    ),
    Endpoint(
        "getDelayedEvent",
        "GET",
        _EVENTS + "/{delayId}",
        DelayedEventHandlers.one,
        Auth.GUEST_OK,
        limit="general",
    ),
    Endpoint(
        "updateDelayedEvent",
        "POST",
        _EVENTS + "/{delayId}/{action}",
        DelayedEventHandlers.manage,
        Auth.OPTIONAL,
        limit="general",
    ),
    Endpoint(
        "updateDelayedEventByBody",
        "POST",
        _EVENTS + "/{delayId}",
        DelayedEventHandlers.manage_by_body,
        Auth.OPTIONAL,
        limit="general",
        body="",
    ),
)
