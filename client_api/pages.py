"""Pages for people in browsers: small, without scripts of anybody else, every text escaped."""

import hashlib
from base64 import b64encode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from functools import wraps
from html import escape
from typing import Any, Final, TypeVar
from urllib.parse import parse_qsl

from homeserver.errors import (
    BadGateway,
    Forbidden,
    InvalidParam,
    LimitExceeded,
    MatrixError,
    NotFound,
    TooLarge,
    Unauthorized,
    Unrecognized,
)
from homeserver.web.request import Request
from homeserver.web.responses import Raw, Redirect

S = TypeVar("S")
_MAX_FORM: Final = 16_384
_STYLE: Final = (
    "body{font:16px/1.5 system-ui,sans-serif;max-width:32em;margin:4em auto;padding:0 1em;color:#222;background:#fff}"
    "h1{font-size:1.3em}input[type=text],input[type=email],input[type=password]{width:100%;padding:.5em;box-sizing:"
    "border-box;font:inherit}button{font:inherit;padding:.5em 1.2em;border:0;border-radius:.3em;"
    "background:#2a5db0;color:#fff;cursor:pointer;text-decoration:none;}"
    ".error{color:#a40000}code{overflow-wrap:anywhere}@media(prefers-color-scheme:dark){body{color:#ddd;"
    "background:#181818}.error{color:#ff8080}a{color:#8ab4ff}}"
)
# What tells a client that a stage is completed (client-server-api §Fallback).
_DONE: Final = (
    "if(window.onAuthDone){window.onAuthDone()}"
    'else if(window.opener&&window.opener.postMessage){window.opener.postMessage("authDone","*")}'
)


def _source(text: str) -> str:
    return f"'sha256-{b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


_POLICY: Final = (
    f"default-src 'none'; base-uri 'none'; frame-ancestors 'none'; style-src {_source(_STYLE)}; script-src "
)
_HEADERS: Final = {
    "Cache-Control": "no-store",
    "Referrer-Policy": "no-referrer",
    "X-Content-Type-Options": "nosniff",
    "X-Frame-Options": "DENY",
}


def page(
    title: str, *parts: str, script: str | None = None, sources: str | None = None, status_name: str = "ok"
) -> Raw:
    """A whole page. `parts` are HTML: of texts make them with `paragraph` and the like.

    `script` runs when the page is there; `sources` is a whole policy of scripts and frames in its place.
    """
    scripts = sources if sources is not None else (_source(script) if script else "'none'")
    body = (
        '<!doctype html><html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style><h1>{escape(title)}</h1>{''.join(parts)}"
        + (f"<script>{script}</script>" if script else "")
    )
    headers = {**_HEADERS, "Content-Security-Policy": _POLICY + scripts}
    return Raw(body.encode(errors="replace"), "text/html; charset=utf-8", headers, status_name)


def stage_done() -> Raw:
    """A stage of user-interactive authentication is completed."""
    return page("Thank you", paragraph("You can close this page and go on where you came from."), script=_DONE)


def paragraph(text: str, *, is_error: bool = False) -> str:
    """A paragraph of plain text."""
    attributes = ' class="error" role="alert"' if is_error else ""
    return f"<p{attributes}>{escape(text)}</p>"


def form(action: str, button: str, *inside: str, hidden: Mapping[str, str] | None = None) -> str:
    """A form that is sent to `action` (POST)."""
    fields = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">' for name, value in (hidden or {}).items()
    )
    return (
        f'<form method="post" action="{escape(action)}">{fields}{"".join(inside)}'
        f"<p><button>{escape(button)}</button></p></form>"
    )


def field(name: str, label: str, *, kind: str = "text", value: str = "", autocomplete: str = "off") -> str:
    """A labelled input."""
    return (
        f'<p><label>{escape(label)}<br><input type="{kind}" name="{escape(name)}" value="{escape(value)}" required '
        f'autocapitalize="none" autocomplete="{escape(autocomplete)}"></label></p>'
    )


def link(url: str, text: str) -> str:
    """A link, to http(s) or to a path only; the text alone where the URL is of another kind."""
    if not url.startswith(("https://", "http://", "/", "?")):
        return escape(text)
    return f'<a href="{escape(url)}" rel="noreferrer">{escape(text)}</a>'


def listed(items: Sequence[str]) -> str:
    """A list of pieces of HTML."""
    return f"<ul>{''.join(f'<li>{item}</li>' for item in items)}</ul>"


async def read_form(request: Request) -> dict[str, str]:
    """The fields of a form that was sent. Raises TooLarge, InvalidParam."""
    body = bytearray()
    async for piece in request.http.content.iter_chunked(_MAX_FORM):
        body += piece
        if len(body) > _MAX_FORM:
            raise TooLarge("The form is too large")
    try:
        fields = dict(parse_qsl(body.decode(), keep_blank_values=True, max_num_fields=50, errors="strict"))
    except ValueError:  # not UTF-8, or too many fields
        raise InvalidParam("The form cannot be read") from None
    if any("\0" in value for value in fields.values()):
        raise InvalidParam("The form holds a NUL character")
    return fields


def for_people(handler: Callable[[S, Request], Awaitable[Raw | Redirect]]) -> Callable[[S, Request], Awaitable[Any]]:
    """Have refusals shown as pages rather than as JSON; that there is no such endpoint stays as it is."""

    @wraps(handler)
    async def answered(self: S, request: Request) -> Any:
        try:
            return await handler(self, request)
        except Unrecognized:
            raise
        except MatrixError as error:
            return refusal(error)

    return answered


def refusal(error: MatrixError) -> Raw:
    """A page that says why something cannot be."""
    return page("This did not work", paragraph(error.message, is_error=True), status_name=_status_name(error))


def _status_name(error: MatrixError) -> str:
    for kind, name in (
        (NotFound, "not_found"),
        (Unauthorized, "unauthorized"),
        (Forbidden, "forbidden"),
        (BadGateway, "bad_gateway"),
        (LimitExceeded, "unavailable"),
    ):
        if isinstance(error, kind):
            return name
    return "bad_request"
