"""Simplified sliding sync."""

from client_api.sliding_sync import SlidingSyncHandlers
from homeserver.web.endpoint import Auth, Endpoint

SLIDING_SYNC: tuple[Endpoint, ...] = (
    # Proposal 4186, as it is proposed and as its experiment has it.
    Endpoint(
        "slidingSync",
        "POST",
        "/_matrix/client/v4/sync",
        SlidingSyncHandlers.sliding_sync,
        Auth.GUEST_OK,
        body="slidingSync",
        may_be_given_up=True,
    ),
    Endpoint(
        "simplifiedSlidingSync",
        "POST",
        "/_matrix/client/unstable/org.matrix.simplified_msc3575/sync",
        SlidingSyncHandlers.simplified_sliding_sync,
        Auth.GUEST_OK,
        body="simplifiedSlidingSync",
        may_be_given_up=True,
    ),
)
