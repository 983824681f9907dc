"""Previews of URLs. client-server-api §Content repository"""

from homeserver.services.url_previews import UrlPreviews
from homeserver.web.request import Request


class UrlPreviewHandlers:
    """What clients show below a link."""

    def __init__(self, previews: UrlPreviews) -> None:
        self._previews = previews

    async def preview(self, request: Request) -> dict[str, object]:
        """The page as it is now, or was a short time ago: `ts` is a wish that nobody's copy of the web could meet."""
        request.query.int_("ts")
        return await self._previews.of(
            request.query.require("url"), request.http.headers.get("Accept-Language", "")
        )
