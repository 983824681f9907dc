"""Simplified sliding sync."""

from homeserver.web.endpoint import Endpoint

SLIDING_SYNC: tuple[Endpoint, ...] = ()
