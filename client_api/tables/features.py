"""Rows of what not every server has: previews of URLs, bridged networks, single sign-on."""

from client_api.account_data import AccountDataHandlers
from client_api.server_info import ServerInfoHandlers
from client_api.third_party_networks import ThirdPartyNetworkHandlers
from client_api.url_previews import UrlPreviewHandlers
from homeserver.web.endpoint import Auth, Endpoint

FEATURES: tuple[Endpoint, ...] = (
    Endpoint(
        "getUrlPreviewAuthed",
        "GET",
        "/_matrix/client/v1/media/preview_url",
        UrlPreviewHandlers.preview,
        limit="media",
    ),
    Endpoint("getUrlPreview", "GET", "/_matrix/media/v3/preview_url", UrlPreviewHandlers.preview, limit="media"),
    Endpoint(
        "getProtocols",
        "GET",
        "/_matrix/client/v3/thirdparty/protocols",
        ThirdPartyNetworkHandlers.protocols,
        limit="general",
    ),
    Endpoint(
        "getProtocolMetadata",
        "GET",
        "/_matrix/client/v3/thirdparty/protocol/{protocol}",
        ThirdPartyNetworkHandlers.protocol,
        limit="general",
    ),
    Endpoint(
        "queryLocationByProtocol",
        "GET",
        "/_matrix/client/v3/thirdparty/location/{protocol}",
        ThirdPartyNetworkHandlers.locations,
        limit="general",
    ),
    Endpoint(
        "queryUserByProtocol",
        "GET",
        "/_matrix/client/v3/thirdparty/user/{protocol}",
        ThirdPartyNetworkHandlers.users,
        limit="general",
    ),
    Endpoint(
        "queryLocationByAlias",
        "GET",
        "/_matrix/client/v3/thirdparty/location",
        ThirdPartyNetworkHandlers.location_of_alias,
        limit="general",
    ),
    Endpoint(
        "queryUserByID",
        "GET",
        "/_matrix/client/v3/thirdparty/user",
        ThirdPartyNetworkHandlers.user_of_id,
        limit="general",
    ),
    Endpoint(
        "getWellknownPolicy",
        "GET",
        "/.well-known/matrix/policy_server",
        ServerInfoHandlers.well_known_policy_server,
        Auth.NONE,
    ),
    Endpoint(
        "getAuthMetadata",
        "GET",
        "/_matrix/client/v1/auth_metadata",
        ServerInfoHandlers.auth_metadata,
        Auth.NONE,
        also=("/_matrix/client/unstable/org.matrix.msc2965/auth_metadata",),
    ),
    # Proposal 3391, as it is proposed and as its experiment has it.
    Endpoint(
        "deleteAccountData",
        "DELETE",
        "/_matrix/client/v3/user/{userId}/account_data/{type}",
        AccountDataHandlers.delete,
        limit="general",
        also=("/_matrix/client/unstable/org.matrix.msc3391/user/{userId}/account_data/{type}",),
    ),
    Endpoint(
        "deleteAccountDataPerRoom",
        "DELETE",
        "/_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}",
        AccountDataHandlers.delete_of_room,
        limit="general",
        also=("/_matrix/client/unstable/org.matrix.msc3391/user/{userId}/rooms/{roomId}/account_data/{type}",),
    ),
)
