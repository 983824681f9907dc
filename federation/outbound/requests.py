"""Signed requests to other servers, and what their answers mean. The endpoints themselves are in `client`."""

from collections.abc import Mapping, Sequence
from typing import Any, BinaryIO, Final, cast
from urllib.parse import quote, urlencode

from signedjson.types import SigningKey

from federation.outbound.failures import FederationError
from federation.outbound.reachability import Reachability
from federation.outbound.request_signing import authorization
from federation.outbound.transport import Answer, Transport
from homeserver.core.canonical_json import CanonicalJSONError, decode, encode_lenient
from homeserver.core.server_acl import ServerPatterns

JSON_BYTES: Final = 16 * 1024 * 1024
FEW_VALUES: Final = 500_000
"""So many values of JSON are parsed whatever they are."""
BYTES_A_VALUE: Final = 12
"""Of more values, each must be worth so many bytes. State events have 33; empty objects take thirty times the memory of
what is sent."""
"""Largest JSON answer that is read, where nothing else is said."""

Query = Mapping[str, str | int | bool | Sequence[str] | None]


def path(*segments: str) -> str:
    """A path of segments, each percent-encoded."""
    return "".join("/" + quote(segment, safe="~") for segment in segments)


def target_of(prefix: str, segments: Sequence[str], query: Query | None) -> str:
    """Path and query as they are sent and signed."""
    target = prefix + path(*segments)
    pairs: list[tuple[str, str]] = []
    for name, value in (query or {}).items():
        if isinstance(value, bool):
            pairs.append((name, "true" if value else "false"))
        elif isinstance(value, str | int):
            pairs.append((name, str(value)))
        elif value is not None:
            pairs += [(name, item) for item in value]
    return f"{target}?{urlencode(pairs, quote_via=quote)}" if pairs else target


class SignedRequests:
    """Sends requests as this server, unless the other one is being left alone (`Reachability`)."""

    def __init__(
        self,
        transport: Transport,
        reachability: Reachability,
        server_name: str,
        signing_key: SigningKey,
        *,
        timeout_s: float,
        is_allowed: "Allowed",
    ) -> None:
        self._transport = transport
        self._reachability = reachability
        self._server_name = server_name
        self._key = signing_key
        self._timeout_s = timeout_s
        self._is_allowed = is_allowed

    async def json(
        self,
        destination: str,
        method: str,
        target: str,
        content: dict[str, Any] | bytes | None = None,
        *,
        timeout_factor: float = 1.0,
        max_bytes: int = JSON_BYTES,
        signed: bool = True,
        insistent: bool = False,
    ) -> dict[str, Any]:
        """The JSON object that the server answers with. Raises `FederationError`.

        `content` in bytes is canonical JSON already. `insistent`: try although the server failed lately.
        """
        answer = await self.send(
            destination,
            method,
            target,
            content,
            timeout_factor=timeout_factor,
            max_bytes=max_bytes,
            signed=signed,
            insistent=insistent,
        )
        value = _parsed(answer.body, destination)
        # The oldest endpoints answer [200, {…}].
        if isinstance(value, list) and len(value) == 2 and isinstance(value[1], dict):
            value = value[1]
        if not isinstance(value, dict):
            raise FederationError("malformed", destination, "the answer is not a JSON object")
        return cast("dict[str, Any]", value)

    async def send(
        self,
        destination: str,
        method: str,
        target: str,
        content: dict[str, Any] | bytes | None = None,
        *,
        timeout_factor: float = 1.0,
        max_bytes: int = JSON_BYTES,
        signed: bool = True,
        insistent: bool = False,
        into: BinaryIO | None = None,
    ) -> Answer:
        """As `json`, for an answer of any kind, which may go into a file."""
        self._check_destination(destination, insistent)
        body = encode_lenient(content) if isinstance(content, dict) else content
        headers = {"Accept": "*/*"}
        if signed:
            headers["Authorization"] = authorization(method, target, self._server_name, destination, body, self._key)
        if body is not None:
            headers["Content-Type"] = "application/json"
        try:
            answer = await self._transport.send(
                destination,
                method,
                target,
                headers=headers,
                body=body,
                timeout_s=self._timeout_s * timeout_factor,
                max_bytes=max_bytes,
                into=into,
            )
        except FederationError as error:
            if error.kind in ("unreachable", "timeout"):
                self._reachability.failed(destination)
            raise
        if answer.status in _SUCCESS:
            self._reachability.succeeded(destination)
            return answer
        raise self._failure(destination, answer)

    async def fetch(self, destination: str, url: str, *, max_bytes: int, into: BinaryIO | None = None) -> Answer:
        """GET of an https URL that `destination` refers to. Raises `FederationError`."""
        answer = await self._transport.fetch(url, timeout_s=self._timeout_s, max_bytes=max_bytes, into=into)
        if answer.status not in _SUCCESS:
            raise FederationError("failed", destination, f"the address it refers to answered {answer.status}")
        return answer

    def may_try(self, destination: str) -> bool:
        """Whether the server has not failed lately."""
        return self._reachability.may_try(destination)

    def _check_destination(self, destination: str, insistent: bool) -> None:
        if destination == self._server_name or not self._is_allowed(destination):
            raise FederationError("not_allowed", destination, "requests to this server are not allowed")
        if not insistent and not self._reachability.may_try(destination):
            raise FederationError("backing_off", destination, "the server could not be reached lately")

    def _failure(self, destination: str, answer: Answer) -> FederationError:
        body = _object_of(answer.body)
        errcode = body.get("errcode")
        errcode = errcode if isinstance(errcode, str) else None
        text = body.get("error")
        message = text if isinstance(text, str) else f"answered with status {answer.status}"
        if 400 <= answer.status < 500:
            if answer.status == _TOO_MANY:
                return FederationError("failed", destination, message, errcode=errcode, body=body)
            # Without an errcode it is not a homeserver that answers; and one that will not believe us is no use either.
            if errcode not in (None, "M_UNAUTHORIZED"):
                self._reachability.succeeded(destination)
            return FederationError("refused", destination, message, errcode=errcode, body=body)
        if answer.status >= 500:
            self._reachability.failed(destination)
        return FederationError("failed", destination, message, errcode=errcode, body=body)


class Allowed:
    """Which servers the config lets this one talk with: globs, `allowed` None for all."""

    def __init__(self, allowed: Sequence[str] | None = None, denied: Sequence[str] = ()) -> None:
        self._allowed = None if allowed is None else ServerPatterns(list(allowed))
        self._denied = ServerPatterns(list(denied))

    def __call__(self, server_name: str) -> bool:
        host = server_name.lower()
        bare = host.rpartition(":")[0] if not host.endswith("]") and ":" in host else host
        if any(self._denied.matches(name) for name in (host, bare)):
            return False
        return self._allowed is None or any(self._allowed.matches(name) for name in (host, bare))


_SUCCESS: Final = range(200, 300)
_TOO_MANY: Final = 429


def _parsed(body: bytes, destination: str) -> Any:
    values = body.count(b",") + body.count(b"[") + body.count(b"{")
    if values > FEW_VALUES and values * BYTES_A_VALUE > len(body):
        raise FederationError("malformed", destination, f"the answer is {values} values in {len(body)} bytes")
    try:
        return decode(body)
    except CanonicalJSONError as error:
        raise FederationError("malformed", destination, f"the answer is not JSON: {error}") from None


def _object_of(body: bytes) -> dict[str, Any]:
    try:
        value = decode(body)
    except CanonicalJSONError:
        return {}
    return value if isinstance(value, dict) else {}
