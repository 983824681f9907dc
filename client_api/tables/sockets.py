"""Endpoints that become WebSockets. None of them is in the specification."""

from client_api.appservice_sockets import AppserviceSocketHandlers
from client_api.sync_sockets import SyncSocketHandlers
from homeserver.web.endpoint import Auth, Endpoint

_SYNC = "/_matrix/client/unstable/io.hearth.websocket"

SOCKETS: tuple[Endpoint, ...] = (
    # Who asks may be told by the first message, since browsers set no headers.
    Endpoint("syncSocket", "GET", f"{_SYNC}/sync", SyncSocketHandlers.sync, Auth.OPTIONAL, limit="general"),
    Endpoint(
        "slidingSyncSocket",
        "GET",
        f"{_SYNC}/v4/sync",
        SyncSocketHandlers.sliding_sync,
        Auth.OPTIONAL,
        limit="general",
    ),
    Endpoint(
        "simplifiedSlidingSyncSocket",
        "GET",
        f"{_SYNC}/simplified_msc3575/sync",
        SyncSocketHandlers.simplified_sliding_sync,
        Auth.OPTIONAL,
        limit="general",
    ),
    Endpoint(
        "appserviceSocket",
        "GET",
        "/_matrix/client/unstable/fi.mau.as_sync",
        AppserviceSocketHandlers.connect,
        Auth.APPSERVICE,
    ),
)
