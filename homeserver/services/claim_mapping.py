"""From what an identity provider says of somebody to what an account here is called.

https://spec.matrix.org/v1.19/appendices/#mapping-from-other-character-sets
"""

import re
from collections.abc import Mapping
from typing import Any, Final, cast

_PLACE: Final = re.compile(r"\{([^{}]+)\}")
_KEPT: Final = frozenset(b"abcdefghijklmnopqrstuvwxyz0123456789._/+-")
_MAX_TEXT: Final = 1_000


def filled_in(template: str, claims: Mapping[str, Any]) -> str | None:
    """The template with claims in the place of their names; None where one of them is missing or is no text.

    `{name}` is a claim, `{address.country}` one inside of it; a claim whose own name has dots comes first.
    """
    places = {place: claim_of(claims, place.strip()) for place in _PLACE.findall(template)}
    if any(text is None for text in places.values()):
        return None
    return _PLACE.sub(lambda match: places[match[1]] or "", template).strip()[:_MAX_TEXT]


def claim_of(claims: Mapping[str, Any], path: str) -> str | None:
    """One claim as text; None where it is not there, or is a list or an object."""
    value: Any = claims.get(path)
    if value is None:
        value = claims
        for name in path.split("."):
            value = cast("Mapping[str, Any]", value).get(name) if isinstance(value, Mapping) else None
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value) if isinstance(value, str | int) and value != "" else None


def has_claim(claims: Mapping[str, Any], path: str, wanted: str) -> bool:
    """Whether a claim has this value, or is a list that holds it."""
    value: Any = claims.get(path)
    if isinstance(value, list):
        return wanted in cast("list[Any]", value)
    return claim_of(claims, path) == wanted


def localpart_from(text: str) -> str:
    """The localpart that stands for any text: small letters; what may not be in one as `=` and hexadecimal digits."""
    lower = "".join(c.lower() if c.isascii() else c for c in text)
    return "".join(chr(b) if b in _KEPT else f"={b:02x}" for b in lower.encode(errors="replace"))
