"""Relations, threads, hierarchies, summaries, upgrades and timestamps."""

from homeserver.web.endpoint import Endpoint

RELATIONS: tuple[Endpoint, ...] = ()
