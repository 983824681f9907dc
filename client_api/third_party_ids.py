"""E-mail addresses of accounts (client-server-api §Adding Account Administrative Contact Information).

This server asks no identity server, and sends no text messages.
"""

from typing import Any

from homeserver.errors import ServerNotTrusted, ThreepidMediumNotSupported
from homeserver.services.email_addresses import EmailAddresses
from homeserver.services.suspension import refuse_suspended
from homeserver.services.uia import PASSWORDS, InteractiveAuth
from homeserver.web.request import Request
from homeserver.web.responses import Raw, Redirect

_DONE = (
    b"<!doctype html><meta charset=utf-8><title>Thank you</title>"
    b"<p>Your e-mail address is confirmed. You can close this page and go on where you came from."
)


class ThirdPartyIdHandlers:
    """Asking for a mail, opening the link in it, and what it is good for."""

    def __init__(self, emails: EmailAddresses, uia: InteractiveAuth) -> None:
        self._emails = emails
        self._uia = uia

    async def request_email_to_register(self, request: Request) -> dict[str, Any]:
        return {"sid": await self._emails.request_token("register", request.body)}

    async def request_email_to_add(self, request: Request) -> dict[str, Any]:
        return {"sid": await self._emails.request_token("add", request.body)}

    async def request_email_to_reset_password(self, request: Request) -> dict[str, Any]:
        return {"sid": await self._emails.request_token("password", request.body)}

    async def request_text_message(self, request: Request) -> dict[str, Any]:
        raise ThreepidMediumNotSupported("This server does not send text messages")

    async def validate(self, request: Request) -> Raw | Redirect:
        query = request.query
        next_link = await self._emails.validate(
            query.require("sid"), query.require("client_secret"), query.require("token")
        )
        headers = {"Referrer-Policy": "no-referrer", "Content-Security-Policy": "default-src 'none'"}
        return Redirect(next_link) if next_link else Raw(_DONE, "text/html; charset=utf-8", headers)

    async def listed(self, request: Request) -> dict[str, Any]:
        found = await self._emails.of_user(request.user.user_id)
        return {
            "threepids": [
                {
                    "medium": entry.medium,
                    "address": entry.address,
                    "validated_at": entry.validated_at,
                    "added_at": entry.added_at,
                }
                for entry in found
            ]
        }

    async def add(self, request: Request) -> dict[str, Any]:
        user_id = request.user.user_id
        await self._uia.require("add 3pid", request.body, [[PASSWORDS]], user_id=user_id)
        await self._emails.add(user_id, request.body)
        return {}

    async def add_with_identity_server(self, request: Request) -> dict[str, Any]:
        """The older way; the proof comes from this server all the same."""
        await self._emails.add(request.user.user_id, request.body["three_pid_creds"])
        return {}

    async def bind(self, request: Request) -> dict[str, Any]:
        raise ServerNotTrusted("This server works with no identity server")

    async def unbind(self, request: Request) -> dict[str, Any]:
        return {"id_server_unbind_result": "no-support"}

    async def delete(self, request: Request) -> dict[str, Any]:
        refuse_suspended(request.user)
        await self._emails.remove(request.user.user_id, request.body["medium"], request.body["address"])
        return {"id_server_unbind_result": "no-support"}
