"""The grammar of server names, user ids, room ids, room aliases and event ids.

Source: https://spec.matrix.org/v1.19/appendices/#identifier-grammar. Checks accept what the specification obliges
servers to accept (historical user ids, opaque room ids); what new identifiers look like is checked separately.
"""

import re
from functools import lru_cache
from ipaddress import AddressValueError, IPv6Address
from typing import Final

MAX_IDENTIFIER_BYTES: Final = 255
"""The longest user id, room id, room alias or event id, in UTF-8 bytes, with its sigil and domain."""

_SERVER_NAME = re.compile(r"(?:\[(?P<ipv6>[0-9A-Fa-f:.]{2,45})\]|(?P<name>[0-9A-Za-z.-]{1,255}))(?::[0-9]{1,5})?")
_IPV4_SHAPE = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}")
_NEW_LOCALPART = re.compile(r"[a-z0-9._=/+-]+")
_HASH_ID = re.compile(r"[A-Za-z0-9_-]{43}")
# Surrogates cannot be written in UTF-8 and NUL cannot be stored by every database.
_FORBIDDEN = re.compile(r"[\x00\ud800-\udfff]")


class InvalidIdentifier(ValueError):
    """A string is not the kind of identifier that was expected."""


@lru_cache(maxsize=4096)
def is_valid_server_name(s: str) -> bool:
    """Whether `s` is `hostname[:port]`: a DNS name, an IPv4 address or an IPv6 address in brackets.

    https://spec.matrix.org/v1.19/appendices/#server-name
    """
    match = _SERVER_NAME.fullmatch(s)
    if match is None:
        return False
    ipv6 = match["ipv6"]
    if ipv6 is not None:
        return _is_ipv6(ipv6)
    name: str = match["name"]
    return _IPV4_SHAPE.fullmatch(name) is None or all(int(part) <= 255 for part in name.split("."))


def _is_ipv6(s: str) -> bool:
    try:
        IPv6Address(s)
    except AddressValueError:
        return False
    return True


def _fits(s: str) -> bool:
    """Whether `s` is free of NUL and surrogates and no longer than an identifier may be."""
    # ASCII without NUL is all but every identifier: it needs neither the scan nor the encoding.
    if s.isascii():
        return len(s) <= MAX_IDENTIFIER_BYTES and "\0" not in s
    return _FORBIDDEN.search(s) is None and len(s.encode()) <= MAX_IDENTIFIER_BYTES


def _has_localpart_and_server(s: str, sigil: str) -> bool:
    colon = s.find(":")
    return s.startswith(sigil) and colon > 0 and _fits(s) and is_valid_server_name(s[colon + 1 :])


def is_valid_user_id(s: str) -> bool:
    """Whether `s` is a user id, historical ones included (any localpart without `:` and NUL, even an empty one).

    https://spec.matrix.org/v1.19/appendices/#user-identifiers
    """
    return _has_localpart_and_server(s, "@")


def is_valid_room_alias(s: str) -> bool:
    """Whether `s` is `#localpart:domain`. https://spec.matrix.org/v1.19/appendices/#room-aliases"""
    return _has_localpart_and_server(s, "#")


def is_valid_room_id(s: str) -> bool:
    """Whether `s` is a room id: `!localpart:domain`, or from room version 12 on `!` and a URL-safe base64 SHA-256.

    https://spec.matrix.org/v1.19/appendices/#room-ids
    """
    if ":" in s:
        return _has_localpart_and_server(s, "!")
    return s.startswith("!") and _HASH_ID.fullmatch(s, 1) is not None


def is_valid_event_id(s: str) -> bool:
    """Whether `s` can be an event id: `$` and at least one more character. What follows depends on the room version.

    https://spec.matrix.org/v1.19/appendices/#event-ids
    """
    return len(s) > 1 and s[0] == "$" and _fits(s)


def is_valid_new_localpart(s: str) -> bool:
    """Whether `s` may be the localpart of a user that is created now. Length is checked with the domain.

    https://spec.matrix.org/v1.19/appendices/#user-identifiers
    """
    return _NEW_LOCALPART.fullmatch(s) is not None


def server_name_of(identifier: str) -> str:
    """What follows the first `:` of `identifier`; raises `InvalidIdentifier` where nothing does."""
    _, colon, server_name = identifier.partition(":")
    if not colon or not server_name:
        raise InvalidIdentifier(f"no server name in {identifier!r}")
    return server_name


def localpart_of(identifier: str) -> str:
    """What stands between the sigil and the first `:` of `identifier`; raises `InvalidIdentifier` without a `:`."""
    localpart, colon, _ = identifier.partition(":")
    if not colon or not localpart:
        raise InvalidIdentifier(f"no localpart in {identifier!r}")
    return localpart[1:]
