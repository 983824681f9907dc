"""The string formats that the schemas use: identifiers of Matrix, checked for their outline.

A request names things that exist, so a look-up decides whether an identifier is real; a format only tells a user id
from a room id and keeps out what no server could have made.

Source: https://spec.matrix.org/v1.19/appendices/#identifier-grammar.
"""

import re
from collections.abc import Callable, Mapping
from typing import Final

MAX_BYTES: Final = 255

_DOMAIN = r"(?:[0-9A-Za-z.-]{1,255}|\[[0-9A-Fa-f:.]{2,45}\])(?::[0-9]{1,5})?"
_USER_ID = re.compile(rf"@[^:\0]*:{_DOMAIN}")
_ROOM_ID = re.compile(r"![^\0]+")
_ROOM_ALIAS = re.compile(rf"#[^:\0]*:{_DOMAIN}")
_EVENT_ID = re.compile(r"\$[^\0]+")
_SERVER_NAME = re.compile(_DOMAIN)
_CLIENT_SECRET = re.compile(r"[0-9a-zA-Z.=_-]{1,255}")


def _matches(pattern: re.Pattern[str]) -> Callable[[object], bool]:
    def is_valid(value: object) -> bool:
        # As JSON Schema has it, a format says nothing about values that are no strings.
        if not isinstance(value, str):
            return True
        return pattern.fullmatch(value) is not None and len(value.encode(errors="replace")) <= MAX_BYTES

    return is_valid


FORMATS: Final[Mapping[str, Callable[[object], bool]]] = {
    "mx-user-id": _matches(_USER_ID),
    "mx-room-id": _matches(_ROOM_ID),
    "mx-room-alias": _matches(_ROOM_ALIAS),
    "mx-event-id": _matches(_EVENT_ID),
    "mx-server-name": _matches(_SERVER_NAME),
    "mx-client-secret": _matches(_CLIENT_SECRET),
}

NAMES: Final[Mapping[str, str]] = {
    "mx-user-id": "a user ID",
    "mx-room-id": "a room ID",
    "mx-room-alias": "a room alias",
    "mx-event-id": "an event ID",
    "mx-server-name": "a server name",
    "mx-client-secret": "a client secret",
}
"""How an error message calls each format."""
