"""THE table of client-server endpoints: a row each, from which routing, auth, limits, validation, logs and docs follow.

The rows stand in client_api/tables, a file for each heading of the specification; operation ids, methods and paths are
the specification's (client-server-api).
"""

from client_api.tables.accounts import ACCOUNTS
from client_api.tables.dehydrated_devices import DEHYDRATED_DEVICES
from client_api.tables.delayed_events import DELAYED_EVENTS
from client_api.tables.extras import EXTRAS
from client_api.tables.features import FEATURES
from client_api.tables.keys import KEYS
from client_api.tables.media import MEDIA
from client_api.tables.operator import OPERATOR
from client_api.tables.relations import RELATIONS
from client_api.tables.rooms import ROOMS
from client_api.tables.server_notices import SERVER_NOTICES
from client_api.tables.sign_on import SIGN_ON
from client_api.tables.sliding_sync import SLIDING_SYNC
from client_api.tables.sockets import SOCKETS
from client_api.tables.sync import SYNC
from client_api.tables.third_party_ids import THIRD_PARTY_IDS
from client_api.tables.thread_subscriptions import THREAD_SUBSCRIPTIONS
from homeserver.web.endpoint import Endpoint

ENDPOINTS: tuple[Endpoint, ...] = (
    *ROOMS,
    *SYNC,
    *ACCOUNTS,
    *KEYS,
    *MEDIA,
    *DEHYDRATED_DEVICES,
    *DELAYED_EVENTS,
    *THREAD_SUBSCRIPTIONS,
    *RELATIONS,
    *EXTRAS,
    *SLIDING_SYNC,
    *FEATURES,
    *THIRD_PARTY_IDS,
    *SOCKETS,
    *SIGN_ON,
    *OPERATOR,
    *SERVER_NOTICES,
)
