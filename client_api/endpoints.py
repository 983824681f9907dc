"""THE table of client-server endpoints: a row each, from which routing, auth, limits, validation, logs and docs follow.

Operation ids, methods and paths are the specification's (client-server-api). Rows stand in blocks, one per handlers' module.
"""

from homeserver.web.endpoint import Auth, Endpoint  # noqa: F401 (the blocks below use them)

# --- rooms, membership, messages, directory -------------------------------------------------------------------------
ROOMS: tuple[Endpoint, ...] = ()

# --- sync, timeline, ephemeral, account data, push rules ------------------------------------------------------------
SYNC: tuple[Endpoint, ...] = ()

# --- server information, login, accounts, devices, keys, profiles ---------------------------------------------------
ACCOUNTS: tuple[Endpoint, ...] = ()

# --- media ----------------------------------------------------------------------------------------------------------
MEDIA: tuple[Endpoint, ...] = ()

ENDPOINTS: tuple[Endpoint, ...] = (*ROOMS, *SYNC, *ACCOUNTS, *MEDIA)
