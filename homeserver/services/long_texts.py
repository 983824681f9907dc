"""Texts that are too long for an event: stored whole as media, with their beginning in the event. Nothing is ever cut.

The message becomes a file with a caption (client-server-api §m.file: `body` is one where `filename` is another text),
which every client can show and open; `io.hearth.long_text` says what it was, for clients that know.
"""

import asyncio
from collections.abc import AsyncIterator, Mapping
from typing import Any, Final

from homeserver.errors import MatrixError, TooLarge
from homeserver.services.media import MediaReader
from homeserver.services.media_uploads import MediaUploads

MESSAGE: Final = "m.room.message"
LONG_TEXT: Final = "io.hearth.long_text"
MAX_CHARACTERS: Final = 100_000
"""As many as a text may have."""

_TEXTS: Final = frozenset({"m.text", "m.notice", "m.emote"})
_NEW_CONTENT: Final = "m.new_content"
_PREVIEW: Final = 1_000
_MAX_BYTES: Final = 4 * MAX_CHARACTERS
# What of the content goes into the event besides text is bounded by the event's own limit.
_WORTHWHILE_BYTES: Final = 16_384


class LongTexts:
    """Makes messages short whose text is long."""

    def __init__(self, uploads: MediaUploads) -> None:
        self._uploads = uploads

    async def shortened(self, user_id: str, content: Mapping[str, Any]) -> dict[str, Any] | None:
        """The content to send in the place of one that is too large, its text being stored now; None where it is not
        its text that makes it so. Raises TooLarge for more than `MAX_CHARACTERS`."""
        replacement = content.get(_NEW_CONTENT)
        if isinstance(replacement, Mapping):
            # An edit: what it says now counts, the rest is for clients that know of no edits.
            inner = await self._shortened(user_id, replacement)
            if inner is None:
                return None
            return {**_relation(content), **inner, "body": f"* {inner['body']}", _NEW_CONTENT: inner}
        inner = await self._shortened(user_id, content)
        return None if inner is None else {**_relation(content), **inner}

    async def _shortened(self, user_id: str, content: Mapping[str, Any]) -> dict[str, Any] | None:
        body, kind = content.get("body"), content.get("msgtype")
        if kind not in _TEXTS or not isinstance(body, str):
            return None
        formatted = content.get("formatted_body")
        html = formatted if isinstance(formatted, str) else ""
        if len(body.encode()) + len(html.encode()) < _WORTHWHILE_BYTES:
            return None
        if len(body) > MAX_CHARACTERS:
            raise TooLarge(f"A text may have at most {MAX_CHARACTERS} characters")
        told: dict[str, Any] = {"msgtype": kind, "characters": len(body)}
        url, size = await self._store(user_id, body, "text/plain; charset=utf-8", "message.txt")
        if html:
            told["formatted_url"], _ = await self._store(user_id, html, "text/html; charset=utf-8", "message.html")
            told["format"] = content.get("format")
        left = ("body", "msgtype", "formatted_body", "format", "m.relates_to", _NEW_CONTENT)
        return {
            **{name: value for name, value in content.items() if name not in left},
            "msgtype": "m.file",
            "body": _beginning(body),
            "filename": "message.txt",
            "url": url,
            "info": {"mimetype": "text/plain", "size": size},
            LONG_TEXT: told,
        }

    async def _store(self, user_id: str, text: str, content_type: str, name: str) -> tuple[str, int]:
        data = text.encode()
        return await self._uploads.upload(user_id, _pieces(data), content_type, name), len(data)


class LongTextReader:
    """Reads the texts again that were stored whole."""

    def __init__(self, media: MediaReader) -> None:
        self._media = media

    async def whole(self, content: Mapping[str, Any]) -> str | None:
        """The whole text of a message of this server's (of an edit: the new one); None where there is no more of it
        than its body, or where its media is not there any more."""
        replacement = content.get(_NEW_CONTENT)
        content = replacement if isinstance(replacement, Mapping) else content
        own, url = f"mxc://{self._media.server_name}/", content.get("url")
        if LONG_TEXT not in content or not isinstance(url, str) or not url.startswith(own):
            return None
        try:
            file = await self._media.require_local(url.removeprefix(own), timeout_ms=0)
        except MatrixError:
            return None
        # What a client attached and calls a long text need not be one.
        if not file.content_type.startswith("text/plain") or file.size > _MAX_BYTES:
            return None
        return await asyncio.to_thread(file.path.read_text, encoding="utf-8", errors="replace")


async def _pieces(data: bytes) -> AsyncIterator[bytes]:
    yield data


def _relation(content: Mapping[str, Any]) -> dict[str, Any]:
    relation = content.get("m.relates_to")
    return {} if relation is None else {"m.relates_to": relation}


def _beginning(text: str) -> str:
    """The first words, and a sign that there is more."""
    if len(text) <= _PREVIEW:
        return text
    shown = text[:_PREVIEW]
    words = shown.rsplit(maxsplit=1)[0] if any(letter.isspace() for letter in shown[_PREVIEW // 2 :]) else shown
    return f"{words.rstrip()} …"
