"""Mails to an SMTP server of the test's own."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from homeserver.runtime.mailer import Mailer, MailFailure


class SmtpServer:
    """Takes every mail, without TLS."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.port = 0

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"220 test\r\n")
        in_data = False
        while line := (await reader.readline()).decode().rstrip("\r\n"):
            self.lines.append(line)
            if in_data and line != ".":
                continue
            verb = line.upper()
            in_data = verb == "DATA"
            writer.write(b"354 go\r\n" if in_data else b"221 bye\r\n" if verb == "QUIT" else b"250 ok\r\n")
            if verb == "QUIT":
                break
            if in_data:
                while (text := (await reader.readline()).decode().rstrip("\r\n")) != ".":
                    self.lines.append(text)
                in_data = False
                writer.write(b"250 taken\r\n")
        writer.close()


@pytest.fixture
async def smtp() -> AsyncIterator[SmtpServer]:
    found = SmtpServer()
    listener = await asyncio.start_server(found.serve, "127.0.0.1", 0)
    found.port = listener.sockets[0].getsockname()[1]
    yield found
    listener.close()
    await listener.wait_closed()


async def test_mail_arrives(smtp: SmtpServer) -> None:
    mailer = Mailer("127.0.0.1", smtp.port, security="none", sender="Hearth <a@hearth.test>", timeout_s=60)
    await mailer.send("bob@mail.test", "Hello", "Line one\nLine two\n")
    assert "rcpt TO:<bob@mail.test>" in smtp.lines
    assert {"Subject: Hello", "From: Hearth <a@hearth.test>", "Line two"} <= set(smtp.lines)


async def test_encryption_that_was_asked_for_is_never_left_out(smtp: SmtpServer) -> None:
    mailer = Mailer("127.0.0.1", smtp.port, security="starttls", sender="a@hearth.test", timeout_s=60)
    with pytest.raises(MailFailure):
        await mailer.send("bob@mail.test", "Hello", "Text")
    assert not any(line.startswith("rcpt") for line in smtp.lines)


async def test_server_that_is_not_there_is_a_failure() -> None:
    with pytest.raises(MailFailure):
        await Mailer("127.0.0.1", 1, security="none", sender="a@b.c", timeout_s=60).send("d@e.f", "Hello", "Text")
