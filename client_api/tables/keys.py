"""Keys of devices, and messages to devices."""

from client_api.keys import KeyHandlers
from client_api.to_device import ToDeviceHandlers
from homeserver.web.endpoint import Auth, Endpoint

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
