"""Dehydrated devices."""

from client_api.dehydrated_devices import DehydratedDeviceHandlers
from homeserver.web.endpoint import Endpoint

_DEVICE = "/_matrix/client/unstable/org.matrix.msc3814.v1/dehydrated_device"

# Proposal 3814, as its experiment has it.
DEHYDRATED_DEVICES: tuple[Endpoint, ...] = (
    Endpoint("getDehydratedDevice", "GET", _DEVICE, DehydratedDeviceHandlers.get),
    Endpoint(
        "putDehydratedDevice",
        "PUT",
        _DEVICE,
        DehydratedDeviceHandlers.put,
        limit="keys",
        body="putDehydratedDevice",
    ),
    Endpoint("deleteDehydratedDevice", "DELETE", _DEVICE, DehydratedDeviceHandlers.delete, limit="keys"),
    Endpoint(
        "getDehydratedDeviceEvents",
        "GET",
        _DEVICE + "/{deviceId}/events",
        DehydratedDeviceHandlers.events,
        limit="keys",
    ),
    Endpoint(
        "postDehydratedDeviceEvents",
        "POST",
        _DEVICE + "/{deviceId}/events",
        DehydratedDeviceHandlers.events_by_post,
        limit="keys",
        body="postDehydratedDeviceEvents",
    ),
)
