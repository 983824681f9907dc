"""Notices of the server."""

from client_api.server_notices import ServerNoticeHandlers
from homeserver.web.endpoint import Auth, Endpoint

_PATH = "/_synapse/admin/v1/send_server_notice"

SERVER_NOTICES: tuple[Endpoint, ...] = (
    Endpoint("sendServerNotice", "POST", _PATH, ServerNoticeHandlers.send, Auth.ADMIN, body="sendServerNotice"),
    Endpoint(
        "sendServerNoticeOnce",
        "PUT",
        _PATH + "/{txnId}",
        ServerNoticeHandlers.send_once,
        Auth.ADMIN,
        body="sendServerNotice",
        transaction=True,
    ),
)
