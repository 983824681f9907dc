"""Rows of relations, threads, the hierarchy of spaces, summaries, upgrades, the event of a time."""

from client_api.event_stream import EventStreamHandlers
from client_api.relations import RelationHandlers
from client_api.spaces import SpaceHandlers
from client_api.upgrades import UpgradeHandlers
from homeserver.web.endpoint import Auth, Endpoint, Handler

_UNSTABLE = "/_matrix/client/unstable"


def _of_room(operation_id: str, path: str, handler: Handler, unstable: str = "") -> Endpoint:
    """A row that reads of a room; `unstable` is the name that it had as a proposal, if clients still use it."""
    also = (_UNSTABLE + unstable + path,)
    return Endpoint(
        operation_id, "GET", "/_matrix/client/v1" + path, handler, Auth.GUEST_OK, limit="general", also=also
    )


# Deprecated, and still how a room is watched without joining it.
_EVENT_STREAM: tuple[Endpoint, ...] = (
    Endpoint("getEvents", "GET", "/_matrix/client/v3/events", EventStreamHandlers.events, Auth.GUEST_OK),
    Endpoint(
        "getOneEvent",
        "GET",
        "/_matrix/client/v3/events/{eventId}",
        EventStreamHandlers.event,
        limit="general",
    ),
    Endpoint(
        "roomInitialSync",
        "GET",
        "/_matrix/client/v3/rooms/{roomId}/initialSync",
        EventStreamHandlers.room_initial_sync,
        Auth.GUEST_OK,
        limit="general",
    ),
    Endpoint(
        "initialSync",
        "GET",
        "/_matrix/client/v3/initialSync",
        EventStreamHandlers.initial_sync,
        limit="general",
    ),
)

RELATIONS: tuple[Endpoint, ...] = (
    *_EVENT_STREAM,
    _of_room("getRelatingEvents", "/rooms/{roomId}/relations/{eventId}", RelationHandlers.relations),
    _of_room(
        "getRelatingEventsWithRelType", "/rooms/{roomId}/relations/{eventId}/{relType}", RelationHandlers.relations
    ),
    _of_room(
        "getRelatingEventsWithRelTypeAndEventType",
        "/rooms/{roomId}/relations/{eventId}/{relType}/{eventType}",
        RelationHandlers.relations,
    ),
    _of_room("getThreadRoots", "/rooms/{roomId}/threads", RelationHandlers.threads, "/org.matrix.msc3856"),
    _of_room(
        "getEventByTimestamp",
        "/rooms/{roomId}/timestamp_to_event",
        RelationHandlers.timestamp_to_event,
        "/org.matrix.msc3030",
    ),
    _of_room("getSpaceHierarchy", "/rooms/{roomId}/hierarchy", SpaceHandlers.hierarchy, "/org.matrix.msc2946"),
    Endpoint(
        "getRoomSummary",
        "GET",
        "/_matrix/client/v1/room_summary/{roomIdOrAlias}",
        SpaceHandlers.room_summary,
        Auth.OPTIONAL,
        limit="general",
        also=(
            _UNSTABLE + "/im.nheko.summary/summary/{roomIdOrAlias}",
            _UNSTABLE + "/im.nheko.summary/rooms/{roomIdOrAlias}/summary",
        ),
    ),
    Endpoint(
        "getMutualRooms",
        "GET",
        "/_matrix/client/v1/mutual_rooms",
        SpaceHandlers.mutual_rooms,
        limit="general",
        also=(_UNSTABLE + "/uk.half-shot.msc2666/user/mutual_rooms",),
    ),
    Endpoint(
        "upgradeRoom",
        "POST",
        "/_matrix/client/v3/rooms/{roomId}/upgrade",
        UpgradeHandlers.upgrade,
        limit="room_creation",
        body="upgradeRoom",
    ),
)
