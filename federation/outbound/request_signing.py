"""X-Matrix: requests between servers are signed, body and all (server-server-api §Request Authentication)."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from signedjson.types import SigningKey

from homeserver.core.canonical_json import CanonicalJSONError, encode_lenient, encode_text
from homeserver.core.hashes import bytes_of_base64, unpadded_base64
from homeserver.core.identifiers import is_valid_server_name
from homeserver.core.signatures import ALGORITHM, key_id_of, verify

SCHEME: Final = "X-Matrix"
MAX_HEADER: Final = 4096
# RFC 9110 §5.6.2; older servers send colons (and base64's signs) without quotes too.
_PARAMETER = re.compile(
    r"""[ \t]*(?P<name>[!#$%&'*+.^_`|~0-9A-Za-z-]+)=(?:"(?P<quoted>[^"\\]*(?:\\.[^"\\]*)*)"|"""
    r"""(?P<bare>[!#$%&'*+.^_`|~0-9A-Za-z:/=\[\]-]*))[ \t]*"""
)
_ESCAPED = re.compile(r"\\(.)")


class InvalidAuthorization(ValueError):
    """The Authorization header is not one of X-Matrix, or lacks something."""


@dataclass(frozen=True, slots=True)
class RequestSignature:
    """The parameters of an `Authorization: X-Matrix` header. `destination` is None where an old server left it out."""

    origin: str
    destination: str | None
    key_id: str
    signature: bytes


def signed_message(method: str, target: str, origin: str, destination: str | None, content: bytes | None) -> bytes:
    """The canonical JSON that is signed for a request. `content` is the canonical JSON of its body, None without one.

    `target` is path and query as they are sent. Written by hand, so that a transaction of events that are JSON already
    needs no second pass over them; the keys stand in their canonical order.
    """
    parts = [b'"content":' + content] if content is not None else []
    if destination is not None:
        parts.append(b'"destination":' + encode_text(destination))
    parts += [b'"method":' + encode_text(method), b'"origin":' + encode_text(origin), b'"uri":' + encode_text(target)]
    return b"{" + b",".join(parts) + b"}"


def authorization(
    method: str, target: str, origin: str, destination: str, content: bytes | None, key: SigningKey
) -> str:
    """The value of the Authorization header. `content` as in `signed_message`."""
    signature = unpadded_base64(key.sign(signed_message(method, target, origin, destination, content)).signature)
    return f'{SCHEME} origin="{origin}",destination="{destination}",key="{key_id_of(key)}",sig="{signature}"'


def parse_authorization(header: str) -> RequestSignature:
    """Takes an Authorization header apart. Unknown parameters are ignored. Raises `InvalidAuthorization`."""
    scheme, _, rest = header.strip().partition(" ")
    if scheme.lower() != SCHEME.lower() or len(header) > MAX_HEADER:
        raise InvalidAuthorization("not an X-Matrix authorization")
    parameters = _parameters(rest)
    origin, key_id = parameters.get("origin", ""), parameters.get("key", "")
    if not is_valid_server_name(origin):
        raise InvalidAuthorization("origin is not a server name")
    if not key_id.startswith(ALGORITHM + ":"):
        raise InvalidAuthorization("key is not the id of an ed25519 key")
    signature = bytes_of_base64(parameters.get("sig", ""))
    if not signature:
        raise InvalidAuthorization("sig is not base64")
    return RequestSignature(origin, parameters.get("destination"), key_id, signature)


def _parameters(text: str) -> dict[str, str]:
    found: dict[str, str] = {}
    at = 0
    while at < len(text):
        match = _PARAMETER.match(text, at)
        if match is None:
            raise InvalidAuthorization("the parameters are not name=value pairs")
        quoted = match["quoted"]
        name = match["name"].lower()
        if name in found:
            raise InvalidAuthorization(f"{name} is given twice")
        found[name] = match["bare"] if quoted is None else _ESCAPED.sub(r"\1", quoted) if "\\" in quoted else quoted
        at = match.end()
        if at < len(text):
            if text[at] != ",":
                raise InvalidAuthorization("the parameters are not separated by commas")
            at += 1
    return found


def signature_holds(
    signature: RequestSignature, method: str, target: str, content: Any | None, verify_key: bytes
) -> bool:
    """Whether the request was signed with the key. `content` is the parsed body, None where the request has none."""
    try:
        body = None if content is None else encode_lenient(content)
        message = signed_message(method, target, signature.origin, signature.destination, body)
    except CanonicalJSONError:
        return False
    return verify(message, signature.signature, verify_key)


def require_x_matrix(headers: Mapping[str, str]) -> RequestSignature:
    """The signature in a request's headers; raises `InvalidAuthorization` where there is none."""
    header = headers.get("Authorization")
    if header is None:
        raise InvalidAuthorization("there is no Authorization header")
    return parse_authorization(header)
