"""Pushers as clients see and set them.

https://spec.matrix.org/v1.19/client-server-api/#push-notifications
"""

from collections.abc import Mapping
from typing import Any, Final
from urllib.parse import urlsplit

import orjson

from homeserver.errors import InvalidParam, MissingParam, TooLarge
from homeserver.runtime.clock import Clock
from homeserver.services.email_pushers import EmailPushers
from homeserver.services.sessions import Requester
from storage import pushers as storage
from storage.database import Database, Write
from storage.streams import Stream

PUSHERS_CHANGED: Final = "pushers:"
"""What comes before the user id in the hints (stream CACHES) about changed pushers."""
_NOTIFY_PATH: Final = "/_matrix/push/v1/notify"
_MAX_PUSHERS: Final = 200
_MAX_BYTES: Final = 65_536
_REQUIRED: Final = ("app_display_name", "device_display_name", "lang", "data")
_SHOWN: Final = ("kind", "app_display_name", "device_display_name", "profile_tag", "lang", "data")


class Pushers:
    """Reads and sets pushers. `allow_http`: push gateways need not be reached over TLS."""

    def __init__(
        self, database: Database, clock: Clock, *, allow_http: bool, email: EmailPushers | None = None
    ) -> None:
        self._database = database
        self._clock = clock
        self._allow_http = allow_http
        self._email = email

    async def of_user(self, user_id: str) -> list[dict[str, Any]]:
        """All pushers of a user."""
        async with self._database.read() as tx:
            rows = await storage.of_user(tx, user_id)
        found = [{"app_id": row.app_id, "pushkey": row.pushkey, **orjson.loads(row.pusher)} for row in rows]
        return found if self._email is None else found + await self._email.of_user(user_id)

    async def set(self, requester: Requester, body: Mapping[str, Any]) -> None:
        """Create, change or, where `kind` is null, delete a pusher. Raises MissingParam, InvalidParam, TooLarge."""
        app_id, pushkey = body["app_id"], body["pushkey"]
        if not app_id or not pushkey or len(pushkey.encode()) > 512:
            raise InvalidParam("app_id and pushkey must not be empty, and pushkey has at most 512 bytes")
        key = (requester.user_id, app_id, pushkey)
        if body["kind"] is None:
            await self._database.write(lambda tx: remove_pusher(tx, key))
            if self._email is not None:
                await self._email.remove(*key)
            return
        if body["kind"] == "email" and self._email is not None:
            await self._email.set(requester.user_id, body)
            return
        self._check(body)
        pusher = orjson.dumps({name: body[name] for name in _SHOWN if body.get(name) is not None})
        if len(pusher) > _MAX_BYTES:
            raise TooLarge("The pusher is too large")

        async def operation(tx: Write) -> None:
            if not body.get("append", False):
                for other in await storage.users_with(tx, app_id, pushkey):
                    if other != requester.user_id:
                        await remove_pusher(tx, (other, app_id, pushkey))
            present = await storage.of_user(tx, requester.user_id)
            is_new = all(row.key != key for row in present)
            if is_new and len(present) >= _MAX_PUSHERS:
                raise InvalidParam(f"A user has at most {_MAX_PUSHERS} pushers")
            position = tx.position(Stream.CACHES, PUSHERS_CHANGED + requester.user_id)
            storage.put(
                tx,
                key,
                device_id=requester.device_id,
                pusher=pusher,
                changed_at=self._clock.now_ms(),
                position=position if is_new else None,
            )

        await self._database.write(operation)

    def _check(self, body: Mapping[str, Any]) -> None:
        missing = [name for name in _REQUIRED if body.get(name) is None]
        if missing:
            raise MissingParam(f"Missing: {', '.join(missing)}")
        if body["kind"] != "http":
            raise InvalidParam("This server has pushers of the kinds http and email")
        url = body["data"].get("url")
        if url is None:
            raise MissingParam("data.url is missing")
        if not self._is_gateway(url):
            raise InvalidParam(f"data.url must be an HTTPS URL with the path {_NOTIFY_PATH}")
        if body["data"].get("format") not in (None, "event_id_only"):
            raise InvalidParam("data.format can only be event_id_only")

    def _is_gateway(self, url: str) -> bool:
        try:
            parts = urlsplit(url)
            _ = parts.port
        except ValueError:
            return False
        schemes = ("https", "http") if self._allow_http else ("https",)
        return parts.scheme in schemes and bool(parts.hostname) and parts.path == _NOTIFY_PATH and not parts.username


async def remove_pusher(tx: Write, key: tuple[str, str, str]) -> None:
    """As a part of a write: forget a pusher, if it is there, and have whoever sends forget it too."""
    if await storage.remove(tx, key):
        tx.position(Stream.CACHES, PUSHERS_CHANGED + key[0])
