"""/sync and filters. client-server-api §Syncing, §Filtering"""

from homeserver.core.tokens import InvalidToken, SyncToken, parse_sync_token
from homeserver.errors import Forbidden, InvalidParam
from homeserver.services.account_data import Filters
from homeserver.services.presence import STATES
from homeserver.services.sync.engine import SyncEngine
from homeserver.services.sync.request import SyncRequest
from homeserver.web.request import Request


class SyncHandlers:
    """What is new for a client."""

    def __init__(self, engine: SyncEngine, filters: Filters) -> None:
        self._engine = engine
        self._filters = filters

    async def sync(self, request: Request) -> bytes:
        """Everything at first, then what is new since a token."""
        query = request.query
        unstable = query.bool_("org.matrix.msc4222.use_state_after")
        return await self._engine.sync(
            SyncRequest(
                request.user.user_id,
                request.user.device_id,
                since=_since(query.str_("since")),
                filter=await self._filters.of_request(request.user.user_id, query.str_("filter")),
                full_state=query.bool_("full_state"),
                timeout_ms=query.int_("timeout", 0),
                set_presence=query.choice("set_presence", STATES, "online"),
                use_state_after=query.bool_("use_state_after") or unstable,
            )
        )

    async def define_filter(self, request: Request) -> dict[str, str]:
        """Keep a filter."""
        require_own(request)
        return {"filter_id": await self._filters.create(request.user.user_id, request.body)}

    async def get_filter(self, request: Request) -> bytes:
        """A kept filter."""
        require_own(request)
        return await self._filters.definition(request.user.user_id, request.path["filterId"])


def require_own(request: Request) -> None:
    """Raises Forbidden where the path names another user than the one who asks."""
    if request.path["userId"] != request.user.user_id:
        raise Forbidden("This belongs to another user")


def _since(text: str | None) -> SyncToken | None:
    if not text:
        return None
    try:
        return parse_sync_token(text)
    except InvalidToken:
        raise InvalidParam("since is not a token of this server's /sync") from None
