"""E-mail addresses of accounts, and the proof that somebody reads one: a link is sent to it, and opened.

https://spec.matrix.org/v1.19/client-server-api/#adding-account-administrative-contact-information
"""

import hashlib
import hmac
import logging
import re
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import replace
from typing import Any, Final, Literal, Protocol
from urllib.parse import urlencode

from homeserver.errors import (
    InvalidParam,
    MissingParam,
    ThreepidAuthFailed,
    ThreepidInUse,
    ThreepidMediumNotSupported,
    ThreepidNotFound,
    Unauthorized,
    Unknown,
)
from homeserver.runtime.clock import Clock
from homeserver.runtime.mailer import MailFailure
from homeserver.runtime.random import Randomness
from storage import third_party_ids as storage
from storage.database import Database, Read, Write
from storage.third_party_ids import EmailValidation, ThirdPartyId

log = logging.getLogger(__name__)
Purpose = Literal["register", "add", "password"]
EMAIL: Final = "email"
VALIDATE_PATH: Final = "_matrix/client/unstable/email/validate"
_ADDRESS: Final = re.compile(r"[^\s@<>,;:\"()\[\]\\\x00-\x1f]{1,64}@[^\s@<>,;:\"()\[\]\\\x00-\x1f]{1,190}")
_LIFETIME_MS: Final = 24 * 3600 * 1000
_MAX_LINK: Final = 2000
_WHAT: Final = {
    "register": "make an account",
    "add": "add this address to your account",
    "password": "set a new password",
}


class Mail(Protocol):
    """What sends mails."""

    async def send(self, recipient: str, subject: str, text: str) -> None:
        """Raises MailFailure."""
        ...


class EmailAddresses:
    """`mail` is None where the operator has configured no SMTP server: then no address can be proven."""

    def __init__(
        self,
        database: Database,
        mail: Mail | None,
        clock: Clock,
        randomness: Randomness,
        *,
        server_name: str,
        public_base_url: str,
    ) -> None:
        self._database = database
        self.mail = mail
        self._clock = clock
        self._randomness = randomness
        self._server_name = server_name
        self._base_url = public_base_url
        # Set where mails about messages go to these addresses.
        self.on_removed: Callable[[Write, str, str], Awaitable[None]] | None = None

    @property
    def is_enabled(self) -> bool:
        """Whether mails are sent."""
        return self.mail is not None

    async def request_token(self, purpose: Purpose, body: Mapping[str, Any]) -> str:
        """Send a link to the address; returns the id of the proof. The same `send_attempt` sends no second mail.

        Raises ThreepidMediumNotSupported, InvalidParam, ThreepidInUse, ThreepidNotFound, Unknown (not sent).
        """
        if self.mail is None:
            raise ThreepidMediumNotSupported("This server does not send e-mail")
        address, next_link = canonical_address(body["email"]), body.get("next_link")
        if next_link is not None and (len(next_link) > _MAX_LINK or not next_link.startswith(("https://", "http://"))):
            raise InvalidParam("next_link must be an http or https URL")
        async with self._database.read() as tx:
            await self._check_owner(tx, purpose, address)
            found = await storage.validation_for(tx, purpose, address, body["client_secret"])
        now = self._clock.now_ms()
        if found is not None and found.created_at + _LIFETIME_MS > now and found.send_attempt >= body["send_attempt"]:
            return found.session_id
        token = self._randomness.token(32)
        validation = EmailValidation(
            self._randomness.alphanumeric(24),
            purpose,
            address,
            body["client_secret"],
            body["send_attempt"],
            _hash(token),
            next_link,
            now,
            None,
        )
        if found is not None and found.created_at + _LIFETIME_MS > now:
            validation = replace(validation, session_id=found.session_id, validated_at=found.validated_at)

        async def operation(tx: Write) -> None:
            await storage.forget_validations(tx, now - _LIFETIME_MS)
            storage.put_validation(tx, validation)

        await self._database.write(operation)
        await self._send(self.mail, validation, token)
        return validation.session_id

    async def validate(self, session_id: str, client_secret: str, token: str) -> str | None:
        """The link was opened; returns where to go next. Raises Unauthorized."""
        async with self._database.read() as tx:
            found = await storage.validation_of(tx, session_id, client_secret)
        now = self._clock.now_ms()
        if (
            found is None
            or found.created_at + _LIFETIME_MS < now
            or not hmac.compare_digest(found.token_hash, _hash(token))
        ):
            raise Unauthorized("The link is not valid, or has expired")
        token_hash = found.token_hash
        await self._database.write(lambda tx: storage.mark_validated(tx, session_id, token_hash, now))
        return found.next_link

    async def prove(self, purpose: Purpose, credentials: Any) -> tuple[str, str]:
        """(address, session id) of a proof that is complete. Raises MissingParam, ThreepidAuthFailed."""
        found = await self._proof(purpose, credentials)
        return found.address, found.session_id

    async def add(self, user_id: str, credentials: Any) -> None:
        """Give the account the address that was proven. Raises MissingParam, ThreepidAuthFailed, ThreepidInUse."""
        found = await self._proof("add", credentials)
        await self._database.write(lambda tx: self.claim(tx, user_id, found.address, found.session_id))

    async def claim(self, tx: Write, user_id: str, address: str, session_id: str) -> None:
        """As a part of a write: use a proof up. Raises ThreepidAuthFailed, ThreepidInUse."""
        if not await storage.take_validation(tx, session_id):
            raise ThreepidAuthFailed("This proof has been used already")
        owner = await storage.owner_of(tx, EMAIL, address)
        if owner is not None and owner != user_id:
            raise ThreepidInUse
        if owner is None:
            now = self._clock.now_ms()
            await storage.add(tx, ThirdPartyId(EMAIL, address, user_id, now, now))

    async def give_if_free(self, tx: Write, user_id: str, address: str) -> None:
        """As a part of a write: an address that somebody else has verified, where it is one and nobody has it."""
        try:
            address = canonical_address(address)
        except InvalidParam:
            return
        if await storage.owner_of(tx, EMAIL, address) is None:
            now = self._clock.now_ms()
            await storage.add(tx, ThirdPartyId(EMAIL, address, user_id, now, now))

    async def owner_of(self, address: str) -> str | None:
        """Whose address it is. Raises InvalidParam."""
        folded = canonical_address(address)
        async with self._database.read() as tx:
            return await storage.owner_of(tx, EMAIL, folded)

    async def remove(self, user_id: str, medium: str, address: str) -> None:
        """Take an address from the account; that it was not there is no error."""
        if medium == EMAIL:
            address = address.strip().casefold()

        async def operation(tx: Write) -> None:
            if await storage.remove(tx, user_id, medium, address) and self.on_removed is not None:
                await self.on_removed(tx, user_id, address)

        await self._database.write(operation)

    async def of_user(self, user_id: str) -> list[ThirdPartyId]:
        """The account's addresses."""
        async with self._database.read() as tx:
            return await storage.of_user(tx, user_id)

    async def take_owner(self, address: str, session_id: str) -> str:
        """The user whose address it is, for one use of a proof. Raises ThreepidAuthFailed, ThreepidNotFound."""

        async def operation(tx: Write) -> str:
            if not await storage.take_validation(tx, session_id):
                raise ThreepidAuthFailed("This proof has been used already")
            owner = await storage.owner_of(tx, EMAIL, address)
            if owner is None:
                raise ThreepidNotFound
            return owner

        return await self._database.write(operation)

    async def _proof(self, purpose: Purpose, credentials: Any) -> EmailValidation:
        if not isinstance(credentials, Mapping):
            raise MissingParam("The credentials of the address are missing")
        session_id, secret = credentials.get("sid"), credentials.get("client_secret")
        if not isinstance(session_id, str) or not isinstance(secret, str):
            raise MissingParam("sid and client_secret are needed")
        async with self._database.read() as tx:
            found = await storage.validation_of(tx, session_id, secret)
        if found is None or found.purpose != purpose or found.validated_at is None:
            raise ThreepidAuthFailed("The link in the mail was not opened yet")
        if found.created_at + _LIFETIME_MS < self._clock.now_ms():
            raise ThreepidAuthFailed("This took too long: ask for another mail")
        return found

    async def _check_owner(self, tx: Read, purpose: Purpose, address: str) -> None:
        owner = await storage.owner_of(tx, EMAIL, address)
        if purpose == "password" and owner is None:
            raise ThreepidNotFound
        if purpose != "password" and owner is not None:
            raise ThreepidInUse

    async def _send(self, mail: Mail, validation: EmailValidation, token: str) -> None:
        query = {"sid": validation.session_id, "client_secret": validation.client_secret, "token": token}
        text = (
            f"Somebody, perhaps you, wants to {_WHAT[validation.purpose]} on {self._server_name}.\n\n"
            f"If it was you, open this link:\n\n{self._base_url}{VALIDATE_PATH}?{urlencode(query)}\n\n"
            "If it was not, do nothing: without the link nothing happens.\n"
        )
        try:
            await mail.send(validation.address, f"Your e-mail address on {self._server_name}", text)
        except MailFailure as error:
            log.warning("a mail could not be sent: %s", error)
            raise Unknown("The mail could not be sent") from error


def canonical_address(address: str) -> str:
    """The form that addresses are compared in. Raises InvalidParam."""
    folded = address.strip().casefold()
    if _ADDRESS.fullmatch(folded) is None:
        raise InvalidParam("This is not an e-mail address")
    return folded


def _hash(token: str) -> bytes:
    return hashlib.sha256(token.encode()).digest()
