"""THE table of server-server endpoints: a row each, from which routing, auth, limits, validation, logs and docs follow.

Operation ids, methods and paths are the specification's (server-server-api).
"""

from dataclasses import replace

from federation.inbound.devices import DeviceHandlers
from federation.inbound.events import EventHandlers
from federation.inbound.keys import KeyHandlers
from federation.inbound.media import MediaHandlers
from federation.inbound.membership import MembershipHandlers
from federation.inbound.openid import OpenIdHandlers
from federation.inbound.policy import PolicyHandlers
from federation.inbound.queries import QueryHandlers
from federation.inbound.rooms import RoomHandlers
from federation.inbound.server import ServerHandlers
from federation.inbound.third_party_invites import ThirdPartyInviteHandlers
from federation.inbound.transactions import TransactionHandlers
from homeserver.web.endpoint import Auth, Endpoint, Handler

V1 = "/_matrix/federation/v1"
V2 = "/_matrix/federation/v2"
KEYS = "/_matrix/key/v2"
POLICY = "/_matrix/policy/v1"


def _signed(operation_id: str, method: str, path: str, handler: Handler, body: str | None = None) -> Endpoint:
    """A row for another server that has signed its request."""
    return Endpoint(operation_id, method, path, handler, auth=Auth.FEDERATION, body=body, role="federation")


def _events(operation_id: str, method: str, path: str, handler: Handler, body: str) -> Endpoint:
    """A row for events: they may hold any text."""
    return replace(_signed(operation_id, method, path, handler, body), any_text=True)


def _limited(row: Endpoint) -> Endpoint:
    """A row that the specification wants to be limited."""
    return replace(row, limit="federation")


def _open(operation_id: str, method: str, path: str, handler: Handler, body: str | None = None) -> Endpoint:
    """A row for anybody."""
    return Endpoint(operation_id, method, path, handler, auth=Auth.NONE, body=body, role="federation")


ENDPOINTS: tuple[Endpoint, ...] = (
    # --- the server and its keys
    _open("getWellKnown", "GET", "/.well-known/matrix/server", ServerHandlers.get_well_known),
    _open("getVersion", "GET", f"{V1}/version", ServerHandlers.get_version),
    _open("getServerKey", "GET", f"{KEYS}/server", KeyHandlers.get_server_key),
    _open("perspectivesKeyQuery", "GET", f"{KEYS}/query/{{serverName}}", KeyHandlers.query_server),
    _open(
        "bulkPerspectivesKeyQuery", "POST", f"{KEYS}/query", KeyHandlers.query_servers, "bulkPerspectivesKeyQuery"
    ),
    # --- transactions
    _events("sendTransaction", "PUT", f"{V1}/send/{{txnId}}", TransactionHandlers.send, "sendTransaction"),
    # --- joining, leaving, knocking, inviting
    _signed("makeJoin", "GET", f"{V1}/make_join/{{roomId}}/{{userId}}", MembershipHandlers.make_join),
    _events("sendJoinV2", "PUT", f"{V2}/send_join/{{roomId}}/{{eventId}}", MembershipHandlers.send_join, "sendJoinV2"),
    _events(
        "sendJoinV1", "PUT", f"{V1}/send_join/{{roomId}}/{{eventId}}", MembershipHandlers.send_join_v1, "sendJoinV1"
    ),
    _signed("makeLeave", "GET", f"{V1}/make_leave/{{roomId}}/{{userId}}", MembershipHandlers.make_leave),
    _events(
        "sendLeaveV2", "PUT", f"{V2}/send_leave/{{roomId}}/{{eventId}}", MembershipHandlers.send_leave, "sendLeaveV2"
    ),
    _events(
        "sendLeaveV1", "PUT", f"{V1}/send_leave/{{roomId}}/{{eventId}}", MembershipHandlers.send_leave_v1, "sendLeaveV1"
    ),
    _signed("makeKnock", "GET", f"{V1}/make_knock/{{roomId}}/{{userId}}", MembershipHandlers.make_knock),
    _events("sendKnock", "PUT", f"{V1}/send_knock/{{roomId}}/{{eventId}}", MembershipHandlers.send_knock, "sendKnock"),
    _events("sendInviteV1", "PUT", f"{V1}/invite/{{roomId}}/{{eventId}}", MembershipHandlers.invite_v1, "sendInviteV1"),
    _events("sendInviteV2", "PUT", f"{V2}/invite/{{roomId}}/{{eventId}}", MembershipHandlers.invite, "sendInviteV2"),
    _events(
        "exchangeThirdPartyInvite",
        "PUT",
        f"{V1}/exchange_third_party_invite/{{roomId}}",
        ThirdPartyInviteHandlers.exchange,
        "exchangeThirdPartyInvite",
    ),
    _open(
        "onBindThirdPartyIdentifier",
        "PUT",
        f"{V1}/3pid/onbind",
        ThirdPartyInviteHandlers.bound,
        "onBindThirdPartyIdentifier",
    ),
    # --- events
    _signed("getEvent", "GET", f"{V1}/event/{{eventId}}", EventHandlers.get_event),
    _signed("getRoomState", "GET", f"{V1}/state/{{roomId}}", EventHandlers.get_state),
    _signed("getRoomStateIds", "GET", f"{V1}/state_ids/{{roomId}}", EventHandlers.get_state_ids),
    _signed("getEventAuth", "GET", f"{V1}/event_auth/{{roomId}}/{{eventId}}", EventHandlers.get_event_auth),
    _signed("backfillRoom", "GET", f"{V1}/backfill/{{roomId}}", EventHandlers.backfill),
    _signed(
        "getMissingPreviousEvents",
        "POST",
        f"{V1}/get_missing_events/{{roomId}}",
        EventHandlers.get_missing_events,
        "getMissingPreviousEvents",
    ),
    # --- rooms seen from outside
    _signed("getEventByTimestamp", "GET", f"{V1}/timestamp_to_event/{{roomId}}", RoomHandlers.timestamp_to_event),
    _signed("getSpaceHierarchy", "GET", f"{V1}/hierarchy/{{roomId}}", RoomHandlers.hierarchy),
    _limited(_events("askPolicyServerToSign", "POST", f"{POLICY}/sign", PolicyHandlers.sign, "askPolicyServerToSign")),
    # --- queries
    _signed("queryRoomDirectory", "GET", f"{V1}/query/directory", QueryHandlers.directory),
    _signed("queryProfile", "GET", f"{V1}/query/profile", QueryHandlers.profile),
    _signed("queryInfo", "GET", f"{V1}/query/{{queryType}}", QueryHandlers.unknown),
    _signed("getPublicRooms", "GET", f"{V1}/publicRooms", QueryHandlers.get_public_rooms),
    _signed("queryPublicRooms", "POST", f"{V1}/publicRooms", QueryHandlers.query_public_rooms, "queryPublicRooms"),
    _open("exchangeOpenIdToken", "GET", f"{V1}/openid/userinfo", OpenIdHandlers.userinfo),
    # --- devices and keys of users
    _signed("getUserDevices", "GET", f"{V1}/user/devices/{{userId}}", DeviceHandlers.get_devices),
    _signed(
        "queryUserEncryptionKeys",
        "POST",
        f"{V1}/user/keys/query",
        DeviceHandlers.query_keys,
        "queryUserEncryptionKeys",
    ),
    _signed(
        "claimUserEncryptionKeys",
        "POST",
        f"{V1}/user/keys/claim",
        DeviceHandlers.claim_keys,
        "claimUserEncryptionKeys",
    ),
    # --- media
    _limited(_signed("getContent", "GET", f"{V1}/media/download/{{mediaId}}", MediaHandlers.download)),
    _limited(_signed("getContentThumbnail", "GET", f"{V1}/media/thumbnail/{{mediaId}}", MediaHandlers.thumbnail)),
)
