"""Backups of keys, pushers, notifications, search, the user directory and reports."""

from client_api.key_backup import KeyBackupHandlers
from client_api.pushers import PusherHandlers
from client_api.reports import ReportHandlers
from client_api.search import SearchHandlers
from homeserver.web.endpoint import Endpoint, Handler

_ROOM_KEYS = "/_matrix/client/v3/room_keys"
_UNSTABLE_ROOM_KEYS = "/_matrix/client/unstable/room_keys"


def _room_keys(operation_id: str, method: str, path: str, handler: Handler, body: str | None = None) -> Endpoint:
    """A row of the key backup, which some clients still know by its unstable name."""
    return Endpoint(
        operation_id,
        method,
        _ROOM_KEYS + path,
        handler,
        limit="keys",
        body=body,
        also=(_UNSTABLE_ROOM_KEYS + path,),
    )


EXTRAS: tuple[Endpoint, ...] = (
    _room_keys("postRoomKeysVersion", "POST", "/version", KeyBackupHandlers.create, "postRoomKeysVersion"),
    _room_keys("getRoomKeysVersionCurrent", "GET", "/version", KeyBackupHandlers.current),
    _room_keys("getRoomKeysVersion", "GET", "/version/{version}", KeyBackupHandlers.version),
    _room_keys("putRoomKeysVersion", "PUT", "/version/{version}", KeyBackupHandlers.update, "putRoomKeysVersion"),
    _room_keys("deleteRoomKeysVersion", "DELETE", "/version/{version}", KeyBackupHandlers.delete),
    _room_keys("putRoomKeys", "PUT", "/keys", KeyBackupHandlers.put_keys, "putRoomKeys"),
    _room_keys("getRoomKeys", "GET", "/keys", KeyBackupHandlers.keys),
    _room_keys("deleteRoomKeys", "DELETE", "/keys", KeyBackupHandlers.delete_keys),
    _room_keys("putRoomKeysByRoomId", "PUT", "/keys/{roomId}", KeyBackupHandlers.put_room_keys, "putRoomKeysByRoomId"),
    _room_keys("getRoomKeysByRoomId", "GET", "/keys/{roomId}", KeyBackupHandlers.room_keys),
    _room_keys("deleteRoomKeysByRoomId", "DELETE", "/keys/{roomId}", KeyBackupHandlers.delete_keys),
    _room_keys(
        "putRoomKeyBySessionId", "PUT", "/keys/{roomId}/{sessionId}", KeyBackupHandlers.put_key, "putRoomKeyBySessionId"
    ),
    _room_keys("getRoomKeyBySessionId", "GET", "/keys/{roomId}/{sessionId}", KeyBackupHandlers.key),
    _room_keys("deleteRoomKeyBySessionId", "DELETE", "/keys/{roomId}/{sessionId}", KeyBackupHandlers.delete_keys),
    Endpoint("getPushers", "GET", "/_matrix/client/v3/pushers", PusherHandlers.pushers, limit="general"),
    Endpoint(
        "postPusher", "POST", "/_matrix/client/v3/pushers/set", PusherHandlers.set, limit="general", body="postPusher"
    ),
    Endpoint(
        "getNotifications", "GET", "/_matrix/client/v3/notifications", PusherHandlers.notifications, limit="general"
    ),
    Endpoint("search", "POST", "/_matrix/client/v3/search", SearchHandlers.search, limit="search", body="search"),
    Endpoint(
        "searchUserDirectory",
        "POST",
        "/_matrix/client/v3/user_directory/search",
        SearchHandlers.users,
        limit="search",
        body="searchUserDirectory",
    ),
    Endpoint(
        "reportRoom",
        "POST",
        "/_matrix/client/v3/rooms/{roomId}/report",
        ReportHandlers.room,
        limit="report",
        body="reportRoom",
    ),
    Endpoint(
        "reportEvent",
        "POST",
        "/_matrix/client/v3/rooms/{roomId}/report/{eventId}",
        ReportHandlers.event,
        limit="report",
        body="reportEvent",
    ),
    Endpoint(
        "reportUser",
        "POST",
        "/_matrix/client/v3/users/{userId}/report",
        ReportHandlers.user,
        limit="report",
        body="reportUser",
    ),
)
