"""Pushers that mail: people set them for an address of their account, and end them by a link in each mail.

https://spec.matrix.org/v1.19/client-server-api/#post_matrixclientv3pushersset
"""

from collections.abc import Mapping
from typing import Any, Final

import orjson

from homeserver.errors import InvalidParam, MissingParam, NotFound, ThreepidNotFound, TooLarge
from homeserver.runtime.clock import Clock
from homeserver.runtime.random import Randomness
from homeserver.services.email_addresses import EMAIL, canonical_address
from storage import email_pushers as storage
from storage import third_party_ids
from storage.database import Database, Write
from storage.email_pushers import EmailPusherRow
from storage.streams import Stream

EMAIL_PUSHERS_CHANGED: Final = "email pushers:"
"""What comes before the user id in the hints (stream CACHES) about changed pushers."""
_APP_ID: Final = "m.email"
_SHOWN: Final = ("kind", "app_display_name", "device_display_name", "profile_tag", "lang", "data")
_REQUIRED: Final = ("app_display_name", "device_display_name", "lang", "data")
_MAX_BYTES: Final = 16_384
_MAX_OF_USER: Final = 10


class EmailPushers:
    """Reads and sets them. `is_enabled`: this server sends mails, and the operator wants it to send these."""

    def __init__(self, database: Database, clock: Clock, randomness: Randomness, *, is_enabled: bool) -> None:
        self._database = database
        self._clock = clock
        self._randomness = randomness
        self._is_enabled = is_enabled

    async def of_user(self, user_id: str) -> list[dict[str, Any]]:
        """All of a user's, as clients know them."""
        async with self._database.read() as tx:
            rows = await storage.of_user(tx, user_id)
        return [{"app_id": row.app_id, "pushkey": row.pushkey, **orjson.loads(row.pusher)} for row in rows]

    async def set(self, user_id: str, body: Mapping[str, Any]) -> None:
        """Make or change one. Raises MissingParam, InvalidParam, ThreepidNotFound, TooLarge."""
        if not self._is_enabled:
            raise InvalidParam("This server sends no mails about messages")
        missing = [name for name in _REQUIRED if body.get(name) is None]
        if missing:
            raise MissingParam(f"Missing: {', '.join(missing)}")
        if body["app_id"] != _APP_ID:
            raise InvalidParam(f"app_id of a pusher of the kind email is {_APP_ID}")
        address = canonical_address(body["pushkey"])
        pusher = orjson.dumps({name: body[name] for name in _SHOWN if body.get(name) is not None})
        if len(pusher) > _MAX_BYTES:
            raise TooLarge("The pusher is too large")

        async def operation(tx: Write) -> None:
            if await third_party_ids.owner_of(tx, EMAIL, address) != user_id:
                raise ThreepidNotFound("This is no e-mail address of your account")
            present = {row.pushkey: row for row in await storage.of_user(tx, user_id)}
            known = present.get(body["pushkey"])
            if known is None and len(present) >= _MAX_OF_USER:
                raise InvalidParam(f"A user has at most {_MAX_OF_USER} pushers of the kind email")
            token = self._randomness.token(24) if known is None else known.unsubscribe_token
            row = EmailPusherRow(user_id, _APP_ID, body["pushkey"], pusher, self._clock.now_ms(), token)
            storage.put(tx, row)
            tx.position(Stream.CACHES, EMAIL_PUSHERS_CHANGED + user_id)

        await self._database.write(operation)

    async def remove(self, user_id: str, app_id: str, pushkey: str) -> None:
        """Forget one, if it is there."""

        async def operation(tx: Write) -> None:
            if await storage.remove(tx, user_id, pushkey, app_id):
                tx.position(Stream.CACHES, EMAIL_PUSHERS_CHANGED + user_id)

        await self._database.write(operation)

    async def address_of(self, token: str) -> str:
        """The address that an unsubscribe link is about. Raises NotFound."""
        async with self._database.read() as tx:
            row = await storage.by_token(tx, token)
        if row is None:
            raise NotFound("These mails have ended already")
        return row.pushkey

    async def unsubscribe(self, token: str) -> None:
        """End what a link is about; that it has ended already is no error."""
        async with self._database.read() as tx:
            row = await storage.by_token(tx, token)
        if row is not None:
            await self.remove(row.user_id, row.app_id, row.pushkey)


async def forget_address(tx: Write, user_id: str, address: str) -> None:
    """As a part of a write: the account has this address no longer."""
    for row in await storage.of_user(tx, user_id):
        if row.pushkey.strip().casefold() == address:
            await storage.remove(tx, user_id, row.pushkey)
            tx.position(Stream.CACHES, EMAIL_PUSHERS_CHANGED + user_id)


async def forget_user(tx: Write, user_id: str) -> None:
    """As a part of a write: the account is closed."""
    await storage.remove_all(tx, user_id)
    tx.position(Stream.CACHES, EMAIL_PUSHERS_CHANGED + user_id)
