"""Sends e-mail through one SMTP server. Each message has a connection of its own, in a thread."""

import asyncio
import smtplib
import ssl
from collections.abc import Mapping
from email.message import EmailMessage
from email.utils import formatdate
from typing import Literal


class MailFailure(Exception):
    """The mail was not taken."""


class Mailer:
    """`security`: encrypted from the beginning (`tls`), after a greeting (`starttls`, required), or never (`none`)."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        security: Literal["none", "starttls", "tls"],
        sender: str,
        user: str | None = None,
        password: str | None = None,
        timeout_s: float = 20,
    ) -> None:
        self._host = host
        self._port = port
        self._security = security
        self._sender = sender
        self._user = user
        self._password = password
        self._timeout_s = timeout_s

    async def send(
        self,
        recipient: str,
        subject: str,
        text: str,
        *,
        html: str | None = None,
        headers: Mapping[str, str] | None = None,
    ) -> None:
        """Send a mail of plain text, and the same as HTML where that is given. Raises MailFailure."""
        message = EmailMessage()
        message["From"], message["To"], message["Subject"] = self._sender, recipient, " ".join(subject.split())
        message["Date"] = formatdate(usegmt=True)
        message["Auto-Submitted"] = "auto-generated"
        for name, value in (headers or {}).items():
            message[name] = value
        message.set_content(text)
        if html is not None:
            message.add_alternative(html, subtype="html")
        try:
            await asyncio.to_thread(self._deliver, message)
        except (smtplib.SMTPException, OSError, ValueError) as error:
            raise MailFailure(type(error).__name__) from error

    def _deliver(self, message: EmailMessage) -> None:
        context = ssl.create_default_context()
        if self._security == "tls":
            client: smtplib.SMTP = smtplib.SMTP_SSL(self._host, self._port, timeout=self._timeout_s, context=context)
        else:
            client = smtplib.SMTP(self._host, self._port, timeout=self._timeout_s)
        with client:
            if self._security == "starttls":
                client.starttls(context=context)
            if self._user is not None:
                client.login(self._user, self._password or "")
            client.send_message(message)
