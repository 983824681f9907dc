"""What a handler is given: the request with its parameters decoded, its body validated and its sender known."""

from collections.abc import Sequence
from functools import lru_cache
from typing import TYPE_CHECKING, Any, TypeVar, overload
from urllib.parse import unquote_plus

from homeserver.errors import InvalidParam, MissingParam
from homeserver.web.endpoint import Endpoint

if TYPE_CHECKING:
    from aiohttp.web import BaseRequest

    from homeserver.services.sessions import Requester

D = TypeVar("D")
_MAX_PARAMETERS = 1000
_MAX_REMEMBERED = 2000  # characters of a value, of which so many are kept as to fit into a megabyte or two
_BOOLEANS = {"true": True, "false": False}


def _decoded(text: str) -> str:
    if "%" not in text and "+" not in text:
        return text
    return _unquoted(text) if len(text) <= _MAX_REMEMBERED else unquote_plus(text)


@lru_cache(512)
def _unquoted(text: str) -> str:
    """Clients send the same filter with every /sync: decoding it would be a tenth of what answering takes."""
    return unquote_plus(text)


class Query:
    """The query string. Parsed when first asked; a parameter that is given twice counts with its first value."""

    __slots__ = ("_pairs", "_raw")

    def __init__(self, raw: str) -> None:
        self._raw = raw
        self._pairs: list[tuple[str, str]] | None = None

    def all(self, name: str) -> list[str]:
        """Every value of the parameter, in order."""
        return [value for key, value in self.pairs() if key == name]

    @overload
    def str_(self, name: str) -> str | None: ...
    @overload
    def str_(self, name: str, default: D) -> str | D: ...
    def str_(self, name: str, default: Any = None) -> Any:
        """The text of the parameter, or `default`."""
        for key, value in self.pairs():
            if key == name:
                return value
        return default

    def require(self, name: str) -> str:
        """The text of a parameter that must be there; raises MissingParam."""
        value = self.str_(name)
        if value is None:
            raise MissingParam(f"The query parameter {name!r} is missing")
        return value

    @overload
    def int_(self, name: str, *, minimum: int | None = 0, maximum: int | None = None) -> int | None: ...
    @overload
    def int_(self, name: str, default: D, minimum: int | None = 0, maximum: int | None = None) -> int | D: ...
    def int_(self, name: str, default: Any = None, minimum: int | None = 0, maximum: int | None = None) -> Any:
        """A whole number. Under `minimum` it is refused (InvalidParam), over `maximum` it counts as `maximum`."""
        text = self.str_(name)
        if text is None or text == "":
            return default
        digits = text[1:] if text[:1] in "+-" else text
        if not (digits.isascii() and digits.isdigit() and len(digits) <= 18):
            raise InvalidParam(f"The query parameter {name!r} must be an integer")
        number = int(text)
        if minimum is not None and number < minimum:
            raise InvalidParam(f"The query parameter {name!r} must be at least {minimum}")
        return number if maximum is None or number <= maximum else maximum

    @overload
    def bool_(self, name: str) -> bool: ...
    @overload
    def bool_(self, name: str, default: D) -> bool | D: ...
    def bool_(self, name: str, default: Any = False) -> Any:
        """`true` or `false`; anything else raises InvalidParam."""
        text = self.str_(name)
        if text is None:
            return default
        value = _BOOLEANS.get(text)
        if value is None:
            raise InvalidParam(f"The query parameter {name!r} must be true or false")
        return value

    def choice(self, name: str, choices: Sequence[str], default: D = None) -> str | D:
        """One of a few words; another one raises InvalidParam."""
        text = self.str_(name)
        if text is None:
            return default
        if text not in choices:
            raise InvalidParam(f"The query parameter {name!r} must be one of: {', '.join(choices)}")
        return text

    def __contains__(self, name: str) -> bool:
        return any(key == name for key, _ in self.pairs())

    def pairs(self) -> list[tuple[str, str]]:
        """All of it, decoded, in order. Raises InvalidParam where a value holds U+0000 or there are too many."""
        if self._pairs is None:
            raw = self._raw
            if not raw:
                self._pairs = []
            else:
                if raw.count("&") >= _MAX_PARAMETERS:
                    raise InvalidParam("The query string holds too many parameters")
                parts = (part.partition("=") for part in raw.split("&") if part)
                self._pairs = [(_decoded(name), _decoded(value)) for name, _, value in parts]
                if "%00" in raw or "\0" in raw:
                    raise InvalidParam("The query string holds a NUL character")
        return self._pairs


class Request:
    """One request on its way to a handler."""

    __slots__ = (
        "body",
        "client_ip",
        "http",
        "operation",
        "origin",
        "path",
        "query",
        "raw_body",
        "request_id",
        "requester",
        "user_agent",
    )

    operation: Endpoint
    path: dict[str, str]  # percent-decoded
    query: Query
    body: Any  # a dict; a list where the row says so; {} where there is no body
    raw_body: bytes  # the body as it came (decompressed)
    requester: "Requester | None"
    origin: str | None  # federation: the server that signed the request
    request_id: str
    client_ip: str
    user_agent: str
    http: "BaseRequest"

    def __init__(self, operation: Endpoint, path: dict[str, str], query: Query, http: "BaseRequest") -> None:
        self.operation = operation
        self.path = path
        self.query = query
        self.http = http
        self.body = {}
        self.raw_body = b""
        self.requester = None
        self.origin = None
        self.request_id = ""
        self.client_ip = ""
        self.user_agent = ""

    def given(self, name: str, default: D) -> Any | D:
        """A property of the body, or `default` where it is left out, or null, which is the same."""
        value = self.body.get(name)
        return default if value is None else value

    @property
    def user(self) -> "Requester":
        """The requester, where the row's auth kind guarantees that there is one."""
        assert self.requester is not None, self.operation.operation_id
        return self.requester

    @property
    def signed_by(self) -> str:
        """The origin, where the row's auth kind is FEDERATION."""
        assert self.origin is not None, self.operation.operation_id
        return self.origin
