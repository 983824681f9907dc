"""Rows of what not every server has: previews of URLs."""

from client_api.url_previews import UrlPreviewHandlers
from homeserver.web.endpoint import Endpoint

FEATURES: tuple[Endpoint, ...] = (
    Endpoint(
        "getUrlPreviewAuthed",
        "GET",
        "/_matrix/client/v1/media/preview_url",
        UrlPreviewHandlers.preview,
        limit="media",
    ),
    Endpoint("getUrlPreview", "GET", "/_matrix/media/v3/preview_url", UrlPreviewHandlers.preview, limit="media"),
)
