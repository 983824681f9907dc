"""Threads that users follow."""

from client_api.thread_subscriptions import ThreadSubscriptionHandlers
from homeserver.web.endpoint import Auth, Endpoint

_SUBSCRIPTION = "/_matrix/client/unstable/io.element.msc4306/rooms/{roomId}/thread/{eventId}/subscription"

# Proposals 4306 and 4308, as their experiments have it.
THREAD_SUBSCRIPTIONS: tuple[Endpoint, ...] = (
    Endpoint("getThreadSubscription", "GET", _SUBSCRIPTION, ThreadSubscriptionHandlers.get, Auth.GUEST_OK),
    Endpoint(
        "subscribeToThread",
        "PUT",
        _SUBSCRIPTION,
        ThreadSubscriptionHandlers.subscribe,
        Auth.GUEST_OK,
        limit="general",
        body="subscribeToThread",
    ),
    Endpoint(
        "unsubscribeFromThread",
        "DELETE",
        _SUBSCRIPTION,
        ThreadSubscriptionHandlers.unsubscribe,
        Auth.GUEST_OK,
        limit="general",
    ),
    Endpoint(
        "getThreadSubscriptions",
        "GET",
        "/_matrix/client/unstable/io.element.msc4308/thread_subscriptions",
        ThreadSubscriptionHandlers.changes,
        Auth.GUEST_OK,
    ),
)
