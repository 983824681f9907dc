"""Makes bad requests of a row of the endpoint table: everything that a confused or hostile client may send."""

import random
import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

from homeserver.web.endpoint import Endpoint

LONG = "x" * 3000
_STRINGS = [
    "", " ", "\u0000", "\ud7ff", "💥", LONG,
    "!unknown:localhost", "@nobody:localhost", "@nobody", "$none", "#none:localhost",
    "../../etc/passwd", "%00", "m.room.member", "null", "-1", "9" * 40, "a/b", "[::1]:1", "*",
]  # fmt: skip
_NUMBERS = [0, -1, 1, 2**31, 2**53, 2**63, 2**64, -(2**70), 1.5, 1e308]
_SCALARS: list[Any] = [None, True, False, *_NUMBERS, *_STRINGS]
# Words of the API, so that random bodies reach further than the first check.
_WORDS = [
    "type", "content", "state_key", "user_id", "room_id", "event_id", "device_id", "auth", "session",
    "password", "identifier", "user", "kind", "invite", "preset", "name", "visibility", "initial_state",
    "power_level_content_override", "creation_content", "room_version", "room_alias_name", "filter", "timeout",
    "limit", "from", "dir", "since", "membership", "reason", "device_keys", "one_time_keys", "fallback_keys",
    "messages", "keys", "algorithms", "signatures", "rooms", "lists", "actions", "conditions", "pattern", "key",
    "value", "displayname", "avatar_url", "tag", "order", "order_by", "search_term", "txn_id", "pdus", "edus",
    "origin", "servers", "event_ids", "msgtype", "body", "ts", "thread_id", "token", "refresh_token",
    "new_password", "logout_devices", "erase", "master_key", "ranges",
]  # fmt: skip


@dataclass(frozen=True)
class Attempt:
    """One request. `body` is what goes over the wire."""

    method: str
    url: str
    body: bytes | None
    token: str | None


class Mischief:
    """Bad requests, the same for the same seed. `known` are ids that exist, by the name of the path's parameter."""

    def __init__(self, seed: int, known: dict[str, list[str]]) -> None:
        self._random = random.Random(seed)
        self._known = known

    def value(self, depth: int = 3) -> Any:
        """Any JSON value."""
        choice = self._random.random()
        if depth == 0 or choice < 0.5:
            return self._random.choice(_SCALARS)
        if choice < 0.7:
            return [self.value(depth - 1) for _ in range(self._random.randrange(4))]
        return {self._word(): self.value(depth - 1) for _ in range(self._random.randrange(6))}

    def _word(self) -> str:
        words = (*_WORDS, *(k for ids in self._known.values() for k in ids))
        return self._random.choice(words if self._random.random() < 0.9 else _STRINGS)

    def path(self, endpoint: Endpoint) -> str:
        """The row's path with parameters that exist, mostly, or anything at all."""

        def parameter(match: re.Match[str]) -> str:
            known = self._known.get(match[1])
            text = self._random.choice(known if known and self._random.random() < 0.7 else _STRINGS)
            return quote(text, safe="") or "%20"

        path = re.sub(r"\{(\w+)\}", parameter, endpoint.path)
        names = ["limit", "from", "dir", "since", "timeout", "filter", "access_token", "ts", "server_name", "kind"]
        if self._random.random() < 0.5:
            chosen = self._random.sample(names, 2)
            pairs = [f"{n}={quote(str(self._random.choice(_SCALARS)), safe='')}" for n in chosen]
            path += "?" + "&".join(pairs)
        return path

    def attempts(self, endpoint: Endpoint, tokens: list[str | None], dumps: Any) -> Iterator[Attempt]:
        """Requests of one row."""
        broken: list[bytes | None] = [
            None, b"", b"{", b"\xff\xfe", b"[]", b"null", b'"text"', b"1",
            b"[" * 2000, b'{"a":' * 500 + b"1" + b"}" * 500,
            b'{"a": NaN}', b'{"a": "\\ud800"}', b'{"a": "\\u0000"}', b"{}",
        ]  # fmt: skip
        for body in broken:
            yield Attempt(endpoint.method, self.path(endpoint), body, self._random.choice(tokens))
        for _ in range(25):
            body = {self._word(): self.value() for _ in range(self._random.randrange(8))}
            yield Attempt(endpoint.method, self.path(endpoint), dumps(body), self._random.choice(tokens))
