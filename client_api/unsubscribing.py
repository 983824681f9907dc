"""The link in mails about messages that ends them."""

from client_api.pages import for_people, form, page, paragraph, read_form
from homeserver.services.email_digests import UNSUBSCRIBE_PATH
from homeserver.services.email_pushers import EmailPushers
from homeserver.web.request import Request
from homeserver.web.responses import Raw


class UnsubscribeHandlers:
    """Opening the link only asks: programs that look through mails open links too."""

    def __init__(self, pushers: EmailPushers) -> None:
        self._pushers = pushers

    @for_people
    async def ask(self, request: Request) -> Raw:
        token = request.query.require("token")
        address = await self._pushers.address_of(token)
        return page(
            "No more mails about messages?",
            paragraph(f"{address} gets mails about what was not read. You can turn them on again in your client."),
            form(f"/{UNSUBSCRIBE_PATH}", "No more of these mails", hidden={"token": token}),
        )

    @for_people
    async def unsubscribe(self, request: Request) -> Raw:
        """From the page, or at once by a mail program (RFC 8058), which keeps the token in the URL."""
        fields = await read_form(request)
        await self._pushers.unsubscribe(fields.get("token") or request.query.require("token"))
        return page("Done", paragraph("There will be no more of these mails."))
