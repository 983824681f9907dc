"""Server access control lists: which servers may take part in a room.

Source: https://spec.matrix.org/v1.19/client-server-api/#mroomserver_acl.
"""

import re
from collections.abc import Mapping
from typing import Any, ClassVar

from homeserver.core.globs import Matcher, glob_matcher

_PORT = re.compile(r":[0-9]+\Z", re.ASCII)
_IPV4 = re.compile(r"[0-9]{1,3}(?:\.[0-9]{1,3}){3}", re.ASCII)


class ServerPatterns:
    """A list of globs for server names. Names in full and `*.domain` are set and suffix look-ups: lists get long."""

    __slots__ = ("_exact", "_globs", "_suffixes")

    def __init__(self, patterns: object) -> None:
        folded = [p.lower() for p in patterns if isinstance(p, str)] if isinstance(patterns, list) else []
        self._exact = frozenset(p for p in folded if "*" not in p and "?" not in p)
        self._suffixes = tuple(p[1:] for p in folded if p.startswith("*") and "*" not in p[1:] and "?" not in p)
        self._globs: tuple[Matcher, ...] = tuple(glob_matcher(p) for p in folded if "*" in p[1:] or "?" in p)

    def matches(self, host: str) -> bool:
        """Whether a host in lower case, without its port, is on the list."""
        return host in self._exact or host.endswith(self._suffixes) or any(matches(host) for matches in self._globs)


class ServerAcl:
    """The compiled m.room.server_acl of a room."""

    OPEN: ClassVar["ServerAcl"]
    """Where the room has no such event: every server is allowed."""

    __slots__ = ("_allow", "_deny", "_ip_literals")

    def __init__(self, allow: ServerPatterns, deny: ServerPatterns, ip_literals: bool) -> None:
        self._allow = allow
        self._deny = deny
        self._ip_literals = ip_literals

    @classmethod
    def of(cls, content: Mapping[str, Any] | None) -> "ServerAcl":
        """From the content of the current event, None where there is none. What is malformed counts as absent."""
        if content is None:
            return cls.OPEN
        return cls(
            ServerPatterns(content.get("allow")),
            ServerPatterns(content.get("deny")),
            content.get("allow_ip_literals") is not False,
        )

    def allows(self, server_name: str) -> bool:
        """Whether the server may take part. The port does not matter, nor does case."""
        host = _PORT.sub("", server_name).lower()
        if not self._ip_literals and _is_ip_literal(host):
            return False
        return not self._deny.matches(host) and self._allow.matches(host)


ServerAcl.OPEN = ServerAcl(ServerPatterns(["*"]), ServerPatterns([]), ip_literals=True)


def _is_ip_literal(host: str) -> bool:
    return host.startswith("[") or _IPV4.fullmatch(host) is not None
