"""THE table of client-server endpoints: a row each, from which routing, auth, limits, validation, logs and docs follow.

Operation ids, methods and paths are the specification's (client-server-api). Rows stand in blocks, one per handlers'
module.
"""

from client_api.account import AccountHandlers
from client_api.account_data import AccountDataHandlers
from client_api.appservices import AppserviceHandlers
from client_api.devices import DeviceHandlers
from client_api.directory import DirectoryHandlers
from client_api.ephemeral import EphemeralHandlers
from client_api.key_backup import KeyBackupHandlers
from client_api.keys import KeyHandlers
from client_api.login import LoginHandlers
from client_api.media import MediaHandlers
from client_api.membership import MembershipHandlers
from client_api.messages import MessageHandlers
from client_api.profiles import ProfileHandlers
from client_api.push_rules import PushRulesHandlers
from client_api.rooms import RoomHandlers
from client_api.server_info import ServerInfoHandlers
from client_api.sync import SyncHandlers
from client_api.timeline import TimelineHandlers
from client_api.to_device import ToDeviceHandlers
from homeserver.web.endpoint import Auth, Endpoint, Handler

# An empty state key may be left out, with its slash.
_WITHOUT_STATE_KEY = tuple(
    f"/_matrix/client/{version}/rooms/{{roomId}}/state/{{eventType}}" for version in ("v3", "r0", "api/v1")
)

# --- rooms, membership, messages, directory -------------------------------------------------------------------------
ROOMS: tuple[Endpoint, ...] = (
    Endpoint(
        "createRoom",
        "POST",
        "/_matrix/client/v3/createRoom",
        RoomHandlers.create_room,
        limit="room_creation",
        body="createRoom",
    ),
    Endpoint("getJoinedRooms", "GET", "/_matrix/client/v3/joined_rooms", RoomHandlers.joined_rooms, Auth.GUEST_OK),
    Endpoint("getRoomState", "GET", "/_matrix/client/v3/rooms/{roomId}/state", RoomHandlers.state, Auth.GUEST_OK),
    Endpoint(
        "getRoomStateWithKey",
        "GET",
        "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}",
        RoomHandlers.state_event,
        Auth.GUEST_OK,
        also=_WITHOUT_STATE_KEY,
    ),
    Endpoint(
        "getMembersByRoom",
        "GET",
        "/_matrix/client/v3/rooms/{roomId}/members",
        RoomHandlers.members,
        Auth.GUEST_OK,
    ),
    Endpoint(
        "getJoinedMembersByRoom",
        "GET",
        "/_matrix/client/v3/rooms/{roomId}/joined_members",
        RoomHandlers.joined_members,
        Auth.GUEST_OK,
    ),
    Endpoint(
        "joinRoomById",
        "POST",
        "/_matrix/client/v3/rooms/{roomId}/join",
        MembershipHandlers.join,
        Auth.GUEST_OK,
        limit="join",
        body="joinRoomById",
    ),
    Endpoint(
        "joinRoom",
        "POST",
        "/_matrix/client/v3/join/{roomIdOrAlias}",
        MembershipHandlers.join_by_id_or_alias,
        Auth.GUEST_OK,
        limit="join",
        body="joinRoom",
    ),
    Endpoint(
        "knockRoom",
        "POST",
        "/_matrix/client/v3/knock/{roomIdOrAlias}",
        MembershipHandlers.knock,
        limit="join",
        body="knockRoom",
    ),
    Endpoint(
        "inviteUser",
        "POST",
        "/_matrix/client/v3/rooms/{roomId}/invite",
        MembershipHandlers.invite,
        limit="invite",
        body="",
    ),
    Endpoint(
        "leaveRoom",
        "POST",
        "/_matrix/client/v3/rooms/{roomId}/leave",
        MembershipHandlers.leave,
        Auth.GUEST_OK,
        limit="join",
        body="leaveRoom",
    ),
    Endpoint("kick", "POST", "/_matrix/client/v3/rooms/{roomId}/kick", MembershipHandlers.kick, body="kick"),
    Endpoint("ban", "POST", "/_matrix/client/v3/rooms/{roomId}/ban", MembershipHandlers.ban, body="ban"),
    Endpoint("unban", "POST", "/_matrix/client/v3/rooms/{roomId}/unban", MembershipHandlers.unban, body="unban"),
    Endpoint(
        "forgetRoom",
        "POST",
        "/_matrix/client/v3/rooms/{roomId}/forget",
        MembershipHandlers.forget,
        Auth.GUEST_OK,
        limit="join",
    ),
    Endpoint(
        "sendMessage",
        "PUT",
        "/_matrix/client/v3/rooms/{roomId}/send/{eventType}/{txnId}",
        MessageHandlers.send,
        Auth.GUEST_OK,
        limit="message",
        body="",
        transaction=True,
        any_text=True,
    ),
    Endpoint(
        "setRoomStateWithKey",
        "PUT",
        "/_matrix/client/v3/rooms/{roomId}/state/{eventType}/{stateKey}",
        MessageHandlers.set_state,
        Auth.GUEST_OK,
        limit="message",
        body="",
        also=_WITHOUT_STATE_KEY,
        any_text=True,
    ),
    Endpoint(
        "redactEvent",
        "PUT",
        "/_matrix/client/v3/rooms/{roomId}/redact/{eventId}/{txnId}",
        MessageHandlers.redact,
        Auth.GUEST_OK,
        limit="message",
        body="redactEvent",
        transaction=True,
    ),
    Endpoint(
        "getRoomIdByAlias",
        "GET",
        "/_matrix/client/v3/directory/room/{roomAlias}",
        DirectoryHandlers.resolve,
        Auth.NONE,
    ),
    Endpoint(
        "setRoomAlias",
        "PUT",
        "/_matrix/client/v3/directory/room/{roomAlias}",
        DirectoryHandlers.create,
        body="setRoomAlias",
    ),
    Endpoint("deleteRoomAlias", "DELETE", "/_matrix/client/v3/directory/room/{roomAlias}", DirectoryHandlers.delete),
    Endpoint(
        "getLocalAliases",
        "GET",
        "/_matrix/client/v3/rooms/{roomId}/aliases",
        DirectoryHandlers.aliases,
        Auth.GUEST_OK,
        limit="general",
    ),
    Endpoint(
        "getRoomVisibilityOnDirectory",
        "GET",
        "/_matrix/client/v3/directory/list/room/{roomId}",
        DirectoryHandlers.visibility,
        Auth.NONE,
    ),
    Endpoint(
        "setRoomVisibilityOnDirectory",
        "PUT",
        "/_matrix/client/v3/directory/list/room/{roomId}",
        DirectoryHandlers.set_visibility,
        body="setRoomVisibilityOnDirectory",
    ),
    Endpoint("getPublicRooms", "GET", "/_matrix/client/v3/publicRooms", DirectoryHandlers.public_rooms, Auth.OPTIONAL),
    Endpoint(
        "queryPublicRooms",
        "POST",
        "/_matrix/client/v3/publicRooms",
        DirectoryHandlers.search_public_rooms,
        Auth.GUEST_OK,
        body="queryPublicRooms",
    ),
)

# --- sync, timeline, ephemeral, account data, push rules ------------------------------------------------------------
SYNC: tuple[Endpoint, ...] = (
    Endpoint("sync", "GET", "/_matrix/client/v3/sync", SyncHandlers.sync, Auth.GUEST_OK),
    Endpoint(
        "defineFilter",
        "POST",
        "/_matrix/client/v3/user/{userId}/filter",
        SyncHandlers.define_filter,
        Auth.GUEST_OK,
        body="defineFilter",
        limit="general",
    ),
    Endpoint(
        "getFilter",
        "GET",
        "/_matrix/client/v3/user/{userId}/filter/{filterId}",
        SyncHandlers.get_filter,
        Auth.GUEST_OK,
        limit="general",
    ),
    Endpoint(
        "getRoomEvents",
        "GET",
        "/_matrix/client/v3/rooms/{roomId}/messages",
        TimelineHandlers.messages,
        Auth.GUEST_OK,
        limit="general",
    ),
    Endpoint(
        "getEventContext",
        "GET",
        "/_matrix/client/v3/rooms/{roomId}/context/{eventId}",
        TimelineHandlers.context,
        Auth.GUEST_OK,
        limit="general",
    ),
    Endpoint(
        "getOneRoomEvent",
        "GET",
        "/_matrix/client/v3/rooms/{roomId}/event/{eventId}",
        TimelineHandlers.event,
        Auth.GUEST_OK,
        limit="general",
    ),
    Endpoint(
        "setTyping",
        "PUT",
        "/_matrix/client/v3/rooms/{roomId}/typing/{userId}",
        EphemeralHandlers.set_typing,
        Auth.GUEST_OK,
        body="setTyping",
        limit="ephemeral",
    ),
    Endpoint(
        "postReceipt",
        "POST",
        "/_matrix/client/v3/rooms/{roomId}/receipt/{receiptType}/{eventId}",
        EphemeralHandlers.post_receipt,
        Auth.GUEST_OK,
        body="postReceipt",
        limit="ephemeral",
    ),
    Endpoint(
        "setReadMarker",
        "POST",
        "/_matrix/client/v3/rooms/{roomId}/read_markers",
        EphemeralHandlers.set_read_marker,
        Auth.GUEST_OK,
        body="setReadMarker",
        limit="ephemeral",
    ),
    Endpoint(
        "setPresence",
        "PUT",
        "/_matrix/client/v3/presence/{userId}/status",
        EphemeralHandlers.set_presence,
        body="setPresence",
        limit="ephemeral",
    ),
    Endpoint(
        "getPresence",
        "GET",
        "/_matrix/client/v3/presence/{userId}/status",
        EphemeralHandlers.get_presence,
        limit="general",
    ),
    Endpoint(
        "setAccountData",
        "PUT",
        "/_matrix/client/v3/user/{userId}/account_data/{type}",
        AccountDataHandlers.put,
        body="setAccountData",
        limit="general",
    ),
    Endpoint(
        "getAccountData",
        "GET",
        "/_matrix/client/v3/user/{userId}/account_data/{type}",
        AccountDataHandlers.get,
        limit="general",
    ),
    Endpoint(
        "setAccountDataPerRoom",
        "PUT",
        "/_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}",
        AccountDataHandlers.put_of_room,
        body="setAccountDataPerRoom",
        limit="general",
    ),
    Endpoint(
        "getAccountDataPerRoom",
        "GET",
        "/_matrix/client/v3/user/{userId}/rooms/{roomId}/account_data/{type}",
        AccountDataHandlers.get_of_room,
        limit="general",
    ),
    Endpoint(
        "getRoomTags",
        "GET",
        "/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags",
        AccountDataHandlers.tags,
        limit="general",
    ),
    Endpoint(
        "setRoomTag",
        "PUT",
        "/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}",
        AccountDataHandlers.put_tag,
        body="setRoomTag",
        limit="general",
    ),
    Endpoint(
        "deleteRoomTag",
        "DELETE",
        "/_matrix/client/v3/user/{userId}/rooms/{roomId}/tags/{tag}",
        AccountDataHandlers.delete_tag,
        limit="general",
    ),
    Endpoint(
        "getPushRules",
        "GET",
        "/_matrix/client/v3/pushrules/",
        PushRulesHandlers.get_all,
        also=("/_matrix/client/v3/pushrules",),
        limit="general",
    ),
    Endpoint(
        "getPushRulesGlobal",
        "GET",
        "/_matrix/client/v3/pushrules/global/",
        PushRulesHandlers.get_global,
        also=("/_matrix/client/v3/pushrules/global",),
        limit="general",
    ),
    Endpoint(
        "getPushRule",
        "GET",
        "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}",
        PushRulesHandlers.get,
        limit="general",
    ),
    Endpoint(
        "setPushRule",
        "PUT",
        "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}",
        PushRulesHandlers.put,
        body="setPushRule",
        limit="general",
    ),
    Endpoint(
        "deletePushRule",
        "DELETE",
        "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}",
        PushRulesHandlers.delete,
        limit="general",
    ),
    Endpoint(
        "isPushRuleEnabled",
        "GET",
        "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled",
        PushRulesHandlers.get_enabled,
        limit="general",
    ),
    Endpoint(
        "setPushRuleEnabled",
        "PUT",
        "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}/enabled",
        PushRulesHandlers.set_enabled,
        body="setPushRuleEnabled",
        limit="general",
    ),
    Endpoint(
        "getPushRuleActions",
        "GET",
        "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions",
        PushRulesHandlers.get_actions,
        limit="general",
    ),
    Endpoint(
        "setPushRuleActions",
        "PUT",
        "/_matrix/client/v3/pushrules/global/{kind}/{ruleId}/actions",
        PushRulesHandlers.set_actions,
        body="setPushRuleActions",
        limit="general",
    ),
)

# --- server information, login, accounts, devices, keys, profiles ---------------------------------------------------
ACCOUNTS: tuple[Endpoint, ...] = (
    Endpoint(
        "register",
        "POST",
        "/_matrix/client/v3/register",
        LoginHandlers.register,
        Auth.NONE,
        limit="registration",
        body="register",
        uia=True,
    ),
    Endpoint(
        "checkUsernameAvailability",
        "GET",
        "/_matrix/client/v3/register/available",
        LoginHandlers.availability,
        Auth.NONE,
        limit="registration",
    ),
    Endpoint(
        "registrationTokenValidity",
        "GET",
        "/_matrix/client/v1/register/m.login.registration_token/validity",
        LoginHandlers.registration_token_validity,
        Auth.NONE,
        limit="registration",
    ),
    Endpoint(
        "getSharedSecretNonce",
        "GET",
        "/_synapse/admin/v1/register",
        LoginHandlers.shared_secret_nonce,
        Auth.NONE,
        limit="registration",
    ),
    Endpoint(
        "registerWithSharedSecret",
        "POST",
        "/_synapse/admin/v1/register",
        LoginHandlers.register_with_shared_secret,
        Auth.NONE,
        body="",
    ),
    Endpoint("getLoginFlows", "GET", "/_matrix/client/v3/login", LoginHandlers.login_flows, Auth.NONE),
    Endpoint("login", "POST", "/_matrix/client/v3/login", LoginHandlers.login, Auth.NONE, limit="login", body="login"),
    Endpoint(
        "generateLoginToken",
        "POST",
        "/_matrix/client/v1/login/get_token",
        LoginHandlers.generate_login_token,
        limit="login",
        body="generateLoginToken",
        uia=True,
    ),
    Endpoint(
        "refresh",
        "POST",
        "/_matrix/client/v3/refresh",
        LoginHandlers.refresh,
        Auth.NONE,
        limit="general",
        body="refresh",
    ),
    Endpoint("logout", "POST", "/_matrix/client/v3/logout", LoginHandlers.logout, Auth.GUEST_OK, when_locked=True),
    Endpoint(
        "logout_all", "POST", "/_matrix/client/v3/logout/all", LoginHandlers.logout_all, Auth.GUEST_OK, when_locked=True
    ),
    Endpoint(
        "getTokenOwner",
        "GET",
        "/_matrix/client/v3/account/whoami",
        AccountHandlers.whoami,
        Auth.GUEST_OK,
        limit="general",
    ),
    Endpoint(
        "changePassword",
        "POST",
        "/_matrix/client/v3/account/password",
        AccountHandlers.change_password,
        Auth.OPTIONAL,
        limit="login",
        body="changePassword",
        uia=True,
    ),
    Endpoint(
        "deactivateAccount",
        "POST",
        "/_matrix/client/v3/account/deactivate",
        AccountHandlers.deactivate,
        Auth.OPTIONAL,
        limit="login",
        body="deactivateAccount",
        uia=True,
    ),
    Endpoint(
        "requestOpenIdToken",
        "POST",
        "/_matrix/client/v3/user/{userId}/openid/request_token",
        AccountHandlers.openid_token,
        limit="general",
        body="requestOpenIdToken",
    ),
    Endpoint("getAdminLockUser", "GET", "/_matrix/client/v1/admin/lock/{userId}", AccountHandlers.locked),
    Endpoint(
        "setAdminLockUser",
        "PUT",
        "/_matrix/client/v1/admin/lock/{userId}",
        AccountHandlers.set_locked,
        body="setAdminLockUser",
    ),
    Endpoint("getAdminSuspendUser", "GET", "/_matrix/client/v1/admin/suspend/{userId}", AccountHandlers.suspended),
    Endpoint(
        "setAdminSuspendUser",
        "PUT",
        "/_matrix/client/v1/admin/suspend/{userId}",
        AccountHandlers.set_suspended,
        body="setAdminSuspendUser",
    ),
    Endpoint("getAccount3PIDs", "GET", "/_matrix/client/v3/account/3pid", AccountHandlers.third_party_ids),
    Endpoint("getDevices", "GET", "/_matrix/client/v3/devices", DeviceHandlers.devices, Auth.GUEST_OK),
    Endpoint("getDevice", "GET", "/_matrix/client/v3/devices/{deviceId}", DeviceHandlers.device, Auth.GUEST_OK),
    Endpoint(
        "updateDevice",
        "PUT",
        "/_matrix/client/v3/devices/{deviceId}",
        DeviceHandlers.update,
        Auth.GUEST_OK,
        body="updateDevice",
    ),
    Endpoint(
        "deleteDevice",
        "DELETE",
        "/_matrix/client/v3/devices/{deviceId}",
        DeviceHandlers.delete,
        body="deleteDevice",
        uia=True,
    ),
    Endpoint(
        "deleteDevices",
        "POST",
        "/_matrix/client/v3/delete_devices",
        DeviceHandlers.delete_several,
        body="deleteDevices",
        uia=True,
    ),
    Endpoint("getWhoIs", "GET", "/_matrix/client/v3/admin/whois/{userId}", DeviceHandlers.whois),
    Endpoint(
        "getUserProfile",
        "GET",
        "/_matrix/client/v3/profile/{userId}",
        ProfileHandlers.profile,
        Auth.OPTIONAL,
        limit="general",
    ),
    Endpoint(
        "getProfileField",
        "GET",
        "/_matrix/client/v3/profile/{userId}/{keyName}",
        ProfileHandlers.field,
        Auth.OPTIONAL,
        limit="general",
    ),
    Endpoint(
        "setProfileField",
        "PUT",
        "/_matrix/client/v3/profile/{userId}/{keyName}",
        ProfileHandlers.set_field,
        Auth.GUEST_OK,
        limit="general",
        body="setProfileField",
    ),
    Endpoint(
        "deleteProfileField",
        "DELETE",
        "/_matrix/client/v3/profile/{userId}/{keyName}",
        ProfileHandlers.remove_field,
        Auth.GUEST_OK,
        limit="general",
    ),
    Endpoint("getVersions", "GET", "/_matrix/client/versions", ServerInfoHandlers.versions, Auth.OPTIONAL),
    Endpoint(
        "getCapabilities",
        "GET",
        "/_matrix/client/v3/capabilities",
        ServerInfoHandlers.capabilities,
        Auth.GUEST_OK,
        limit="general",
    ),
    Endpoint("getWellknown", "GET", "/.well-known/matrix/client", ServerInfoHandlers.well_known_client, Auth.NONE),
    Endpoint(
        "getWellknownSupport", "GET", "/.well-known/matrix/support", ServerInfoHandlers.well_known_support, Auth.NONE
    ),
    Endpoint(
        "getTurnServer", "GET", "/_matrix/client/v3/voip/turnServer", ServerInfoHandlers.turn_server, limit="general"
    ),
    Endpoint(
        "pingAppservice",
        "POST",
        "/_matrix/client/v1/appservice/{appserviceId}/ping",
        AppserviceHandlers.ping,
        Auth.APPSERVICE,
        body="pingAppservice",
    ),
)

# --- keys and messages to devices ------------------------------------------------------------------------------------
KEYS: tuple[Endpoint, ...] = (
    Endpoint(
        "uploadKeys",
        "POST",
        "/_matrix/client/v3/keys/upload",
        KeyHandlers.upload,
        Auth.GUEST_OK,
        limit="keys",
        body="uploadKeys",
    ),
    Endpoint(
        "queryKeys",
        "POST",
        "/_matrix/client/v3/keys/query",
        KeyHandlers.query,
        Auth.GUEST_OK,
        limit="keys",
        body="queryKeys",
    ),
    Endpoint(
        "claimKeys",
        "POST",
        "/_matrix/client/v3/keys/claim",
        KeyHandlers.claim,
        Auth.GUEST_OK,
        limit="keys",
        body="claimKeys",
    ),
    Endpoint("getKeysChanges", "GET", "/_matrix/client/v3/keys/changes", KeyHandlers.changes, limit="keys"),
    Endpoint(
        "uploadCrossSigningKeys",
        "POST",
        "/_matrix/client/v3/keys/device_signing/upload",
        KeyHandlers.upload_cross_signing,
        limit="keys",
        body="uploadCrossSigningKeys",
        uia=True,
        also=("/_matrix/client/unstable/keys/device_signing/upload",),
    ),
    Endpoint(
        "uploadCrossSigningSignatures",
        "POST",
        "/_matrix/client/v3/keys/signatures/upload",
        KeyHandlers.upload_signatures,
        limit="keys",
        body="uploadCrossSigningSignatures",
        also=("/_matrix/client/unstable/keys/signatures/upload",),
    ),
    Endpoint(
        "sendToDevice",
        "PUT",
        "/_matrix/client/v3/sendToDevice/{eventType}/{txnId}",
        ToDeviceHandlers.send,
        Auth.GUEST_OK,
        limit="ephemeral",
        body="sendToDevice",
        transaction=True,
        any_text=True,
    ),
)

# --- media ----------------------------------------------------------------------------------------------------------
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

# --- relations, threads, hierarchy, summaries, upgrades, timestamps --------------------------------------------------
RELATIONS: tuple[Endpoint, ...] = ()

# --- key backup, pushers, notifications, search, user directory, reports ---------------------------------------------
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
)

# --- simplified sliding sync ------------------------------------------------------------------------------------------
SLIDING_SYNC: tuple[Endpoint, ...] = ()

ENDPOINTS: tuple[Endpoint, ...] = (*ROOMS, *SYNC, *ACCOUNTS, *KEYS, *MEDIA, *RELATIONS, *EXTRAS, *SLIDING_SYNC)
