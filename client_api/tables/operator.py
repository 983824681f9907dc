"""What the server's own command line asks of it."""

from client_api.operator import OperatorHandlers
from homeserver.web.endpoint import Auth, Endpoint

OPERATOR: tuple[Endpoint, ...] = (
    Endpoint("operatorOrder", "POST", "/_hearth/operator", OperatorHandlers.order, Auth.NONE, limit="general", body=""),
)
