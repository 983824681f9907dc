"""Media."""

from client_api.media import MediaHandlers
from homeserver.web.endpoint import Auth, Endpoint

MEDIA: tuple[Endpoint, ...] = (
    Endpoint("uploadContent", "POST", "/_matrix/media/v3/upload", MediaHandlers.upload, stream=True, limit="media"),
    Endpoint("createContent", "POST", "/_matrix/media/v1/create", MediaHandlers.create, limit="media"),
    Endpoint(
        "uploadContentToMXC",
        "PUT",
        "/_matrix/media/v3/upload/{serverName}/{mediaId}",
        MediaHandlers.upload_to,
        stream=True,
        limit="media",
    ),
    Endpoint(
        "getConfigAuthed",
        "GET",
        "/_matrix/client/v1/media/config",
        MediaHandlers.config,
        Auth.GUEST_OK,
        limit="general",
    ),
    Endpoint(
        "getContentAuthed",
        "GET",
        "/_matrix/client/v1/media/download/{serverName}/{mediaId}",
        MediaHandlers.download,
        Auth.GUEST_OK,
        limit="general",
    ),
    Endpoint(
        "getContentOverrideNameAuthed",
        "GET",
        "/_matrix/client/v1/media/download/{serverName}/{mediaId}/{fileName}",
        MediaHandlers.download,
        Auth.GUEST_OK,
        limit="general",
    ),
    Endpoint(
        "getContentThumbnailAuthed",
        "GET",
        "/_matrix/client/v1/media/thumbnail/{serverName}/{mediaId}",
        MediaHandlers.thumbnail,
        Auth.GUEST_OK,
        limit="general",
    ),
    # Older clients, which have no token for a picture.
    Endpoint("getConfig", "GET", "/_matrix/media/v3/config", MediaHandlers.config, Auth.GUEST_OK, limit="general"),
    Endpoint(
        "getContent",
        "GET",
        "/_matrix/media/v3/download/{serverName}/{mediaId}",
        MediaHandlers.legacy_download,
        Auth.NONE,
        limit="general",
    ),
    Endpoint(
        "getContentOverrideName",
        "GET",
        "/_matrix/media/v3/download/{serverName}/{mediaId}/{fileName}",
        MediaHandlers.legacy_download,
        Auth.NONE,
        limit="general",
    ),
    Endpoint(
        "getContentThumbnail",
        "GET",
        "/_matrix/media/v3/thumbnail/{serverName}/{mediaId}",
        MediaHandlers.legacy_thumbnail,
        Auth.NONE,
        limit="general",
    ),
)
