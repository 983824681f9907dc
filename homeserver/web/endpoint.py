"""An endpoint is one row: everything that the dispatcher does for a request is derived from it."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from enum import Enum
from typing import Any


class Auth(Enum):
    """Who may call an endpoint, and how they prove who they are."""

    NONE = "none"
    OPTIONAL = "optional"  # a user where a token is given; a wrong token is refused
    USER = "user"  # guests are refused with M_GUEST_ACCESS_FORBIDDEN
    GUEST_OK = "guest_ok"
    ADMIN = "admin"  # a user who administers this server
    APPSERVICE = "appservice"  # the token of an application service itself
    FEDERATION = "federation"  # X-Matrix, over the body too


Handler = Callable[..., Awaitable[Any]]

# What the older prefixes of the same endpoints are: clients of every age still use them.
_OLDER_PREFIXES = (
    ("/_matrix/client/v3/", ("/_matrix/client/r0/", "/_matrix/client/api/v1/")),
    ("/_matrix/media/v3/", ("/_matrix/media/r0/", "/_matrix/media/v1/")),
)


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One operation of a Matrix API.

    `operation_id` is the specification's; metrics, logs and schemas go by it. `handler` is a method of a handlers
    class, as the class holds it (`RoomHandlers.create_room`): the dispatcher binds it to the instance that it was
    given. `limit` names a bucket of `rate_limits` in the config; `body` the JSON Schema (under schemas/) that the body
    must meet before the handler runs, "" for any JSON object. None: no JSON body is wanted, and none is read.
    """

    operation_id: str
    method: str
    path: str
    handler: Handler
    auth: Auth = Auth.USER
    limit: str | None = None
    body: str | None = None
    stream: bool = False  # the handler reads the body itself from `request.http.content`
    transaction: bool = False  # idempotent by its txnId
    uia: bool = False  # needs user-interactive authentication
    role: str = "client"  # which processes serve it: client, federation, media…
    also: tuple[str, ...] = ()  # other paths with the same parameters: unstable prefixes
    any_text: bool = False  # strings may hold U+0000 (event content); elsewhere they are refused
    array: bool = False  # the body is a JSON array rather than an object
    may_be_given_up: bool = False  # cancelled when its client goes away, as every GET is
    when_locked: bool = False  # for users whose account is locked too

    @property
    def paths(self) -> tuple[str, ...]:
        """Every path that this row answers at, the older prefixes (r0, api/v1) included."""
        paths = [self.path, *self.also]
        for prefix, older in _OLDER_PREFIXES:
            if self.path.startswith(prefix):
                paths += [old + self.path[len(prefix) :] for old in older]
        return tuple(dict.fromkeys(paths))
