"""Mails about messages that nobody read."""

import re
from collections.abc import AsyncIterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from homeserver.config.outside_sections import Push
from homeserver.config.server_sections import Email
from homeserver.runtime.mailer import MailFailure
from homeserver.services.email_digests import EmailDigests
from storage import email_pushers
from tests.client_api.whole_site import PASSWORD, WholeSite, user, whole_site

ADDRESS = "Bob@mail.test"
PUSHER = {
    "kind": "email",
    "app_id": "m.email",
    "pushkey": ADDRESS,
    "app_display_name": "Mail",
    "device_display_name": ADDRESS,
    "lang": "en",
    "data": {},
}


@dataclass
class Sent:
    recipient: str
    subject: str
    text: str
    html: str
    headers: dict[str, str]


@dataclass
class Mails:
    sent: list[Sent] = field(default_factory=list)
    broken: bool = False

    async def send(self, recipient: str, subject: str, text: str, *, html: str = "", headers: Any = None) -> None:
        if self.broken:
            raise MailFailure
        self.sent.append(Sent(recipient, subject, text, html, headers))


@dataclass
class Post:
    """The site with bob, who wants mails, and a room of alice's that he is in."""

    site: WholeSite
    mails: Mails
    room: str

    @property
    def digests(self) -> EmailDigests:
        digests = self.site.server.extras.digests
        assert digests is not None
        return digests

    async def after(self, seconds: float) -> list[Sent]:
        """What was sent when so much time has passed."""
        before = len(self.mails.sent)
        await self.digests.step()
        self.site.clock.advance(seconds)
        await self.digests.step()
        return self.mails.sent[before:]

    async def read(self, event_id: str) -> None:
        await self.site.ok("POST", f"/rooms/{quote(self.room)}/receipt/m.read/{quote(event_id)}", {}, by="bob")


async def post_office(site: WholeSite) -> Post:
    mails = Mails()
    digests = site.server.extras.digests
    assert digests is not None
    digests.mail = mails
    await site.register("alice")
    await site.register("bob")
    emails = site.server.accounts.emails
    await site.server.base.database.write(lambda tx: emails.give_if_free(tx, user("bob"), ADDRESS))
    await site.ok("POST", "/pushers/set", PUSHER, by="bob")
    await site.ok("PUT", f"/profile/{user('alice')}/displayname", {"displayname": "Alice <i>"})
    room = await site.room("bob", name="Tea & cake")
    await digests.step()
    return Post(site, mails, room)


@pytest.fixture
async def post(database_url: str, tmp_path: Path) -> AsyncIterator[Post]:
    async with whole_site(database_url, tmp_path, email=Email(host="mail.test")) as site:
        yield await post_office(site)


@pytest.fixture
async def light(sqlite_url: str, tmp_path: Path) -> AsyncIterator[Post]:
    async with whole_site(sqlite_url, tmp_path, email=Email(host="mail.test")) as site:
        yield await post_office(site)


async def test_unread_messages_are_mailed_after_a_while(post: Post) -> None:
    await post.site.send(post.room, "Hello <b>\nsecond line")
    assert await post.after(500) == []
    await post.site.send(post.room, "One more")
    (mail,) = await post.after(101)
    assert (mail.recipient, mail.subject) == (ADDRESS, "[hearth.test] 2 unread messages in Tea & cake")
    assert "Alice <i>: Hello <b>\n    second line" in mail.text
    assert "One more" in mail.text
    assert "<b>Alice &lt;i&gt;</b><br>Hello &lt;b&gt;<br>second line" in mail.html
    assert "Tea &amp; cake" in mail.html
    assert f"https://matrix.to/#/{post.room}" in mail.text
    assert mail.headers["List-Unsubscribe-Post"] == "List-Unsubscribe=One-Click"
    assert await post.after(100_000) == []


async def test_what_is_read_in_time_is_not_mailed(post: Post) -> None:
    event_id = await post.site.send(post.room, "Hello")
    assert await post.after(500) == []
    await post.read(event_id)
    assert await post.after(200) == []
    await post.site.send(post.room, "Again")
    (mail,) = await post.after(601)
    assert "Hello" not in mail.text


async def test_mails_about_a_room_become_rarer_until_it_is_read(light: Post) -> None:
    await light.site.send(light.room, "one")
    assert len(await light.after(601)) == 1
    await light.site.send(light.room, "two")
    assert len(await light.after(601)) == 1  # the shortest pause
    await light.site.send(light.room, "three")
    assert await light.after(2_000) == []
    assert len(await light.after(401)) == 1
    last = await light.site.send(light.room, "four")
    assert await light.after(9_000) == []
    assert len(await light.after(601)) == 1
    await light.read(last)
    await light.site.send(light.room, "five")
    (mail,) = await light.after(601)
    assert "five" in mail.text
    assert "four" not in mail.text


async def test_another_room_does_not_wait_for_the_pause_of_the_first(light: Post) -> None:
    await light.site.send(light.room, "one")
    await light.after(601)
    other = await light.site.room("bob", name="Other")
    await light.site.send(light.room, "two")
    await light.site.send(other, "elsewhere")
    mails = await light.after(605)
    assert ["elsewhere" in mail.text for mail in mails] == [True]


async def test_one_mail_tells_of_several_rooms(light: Post) -> None:
    other = await light.site.room("bob")
    await light.site.send(light.room, "one")
    await light.site.send(other, "elsewhere")
    (mail,) = await light.after(601)
    assert mail.subject == "[hearth.test] 2 unread messages in 2 rooms"
    assert "== Alice <i>" in mail.text  # a room without a name has that of its people


async def test_of_encrypted_messages_nothing_is_told_but_that_they_are_there(light: Post) -> None:
    content = {"algorithm": "m.megolm.v1.aes-sha2", "ciphertext": "xyz", "session_id": "s", "body": "leak"}
    await light.site.send(light.room, content, kind="m.room.encrypted")
    (mail,) = await light.after(601)
    assert "1 message" in mail.text
    assert "leak" not in mail.text + mail.html
    assert "xyz" not in mail.text + mail.html


async def test_operator_may_keep_all_messages_out_of_mails(sqlite_url: str, tmp_path: Path) -> None:
    push = Push(include_content=False)
    async with whole_site(sqlite_url, tmp_path, email=Email(host="mail.test"), push=push) as site:
        post = await post_office(site)
        await site.send(post.room, "secret words")
        (mail,) = await post.after(601)
        assert "secret words" not in mail.text + mail.html


async def test_what_is_taken_back_is_not_mailed(light: Post) -> None:
    event_id = await light.site.send(light.room, "oops")
    await light.after(1)
    await light.site.ok("PUT", f"/rooms/{quote(light.room)}/redact/{quote(event_id)}/1", {})
    assert [mail for mail in await light.after(601) if "oops" in mail.text] == []


async def test_muted_room_is_not_mailed(light: Post) -> None:
    path = f"/pushrules/global/room/{quote(light.room)}"
    await light.site.ok("PUT", path, {"actions": []}, by="bob")
    await light.site.send(light.room, "noise")
    assert await light.after(601) == []


async def test_who_has_left_is_told_nothing_more(light: Post) -> None:
    await light.site.send(light.room, "before")
    await light.after(1)
    await light.site.ok("POST", f"/rooms/{quote(light.room)}/leave", {}, by="bob")
    await light.site.send(light.room, "after")
    assert all("after" not in mail.text for mail in await light.after(601))


async def test_many_messages_are_counted_not_told(light: Post) -> None:
    for number in range(12):
        await light.site.send(light.room, f"message {number};")
    (mail,) = await light.after(601)
    assert "12 unread messages" in mail.subject
    assert "2 more messages" in mail.text
    assert ("message 11;" in mail.text, "message 1;" in mail.text) == (True, False)


async def test_mail_that_cannot_be_sent_is_sent_later(light: Post) -> None:
    light.mails.broken = True
    await light.site.send(light.room, "Hello")
    assert await light.after(601) == []
    light.mails.broken = False
    assert await light.after(800) == []
    assert len(await light.after(101)) == 1


async def test_what_waits_outlasts_a_restart(database_url: str, tmp_path: Path) -> None:
    async with whole_site(database_url, tmp_path, email=Email(host="mail.test")) as site:
        post = await post_office(site)
        await site.send(post.room, "before")
        await post.digests.step()
        await site.send(post.room, "while nobody looked")
        now = site.clock.now_ms()
    async with whole_site(database_url, tmp_path, email=Email(host="mail.test")) as site:
        site.clock.advance((now - site.clock.now_ms()) / 1000 + 601)
        mails = Mails()
        assert site.server.extras.digests is not None
        site.server.extras.digests.mail = mails
        await site.server.extras.digests.step()
        assert ["while nobody looked" in mail.text for mail in mails.sent] == [True]


# --- setting and ending it


async def test_pusher_is_listed_changed_and_deleted(post: Post) -> None:
    site = post.site
    assert await site.ok("GET", "/pushers", by="bob") == {"pushers": [PUSHER]}
    await site.ok("POST", "/pushers/set", {**PUSHER, "lang": "de"}, by="bob")
    assert [p["lang"] for p in (await site.ok("GET", "/pushers", by="bob"))["pushers"]] == ["de"]
    await site.ok("POST", "/pushers/set", {**PUSHER, "kind": None}, by="bob")
    assert await site.ok("GET", "/pushers", by="bob") == {"pushers": []}
    await site.send(post.room, "Hello")
    assert await post.after(601) == []


@pytest.mark.parametrize(
    ("changes", "errcode"),
    [
        ({"pushkey": "alice@mail.test"}, "M_THREEPID_NOT_FOUND"),
        ({"pushkey": "nobody"}, "M_INVALID_PARAM"),
        ({"app_id": "other"}, "M_INVALID_PARAM"),
        ({"data": None}, "M_MISSING_PARAM"),
        ({"data": {"x": "y" * 20_000}}, "M_TOO_LARGE"),
    ],
)
async def test_pusher_that_cannot_be_is_refused(light: Post, changes: dict[str, Any], errcode: str) -> None:
    assert (await light.site.error("POST", "/pushers/set", PUSHER | changes, by="bob"))[1] == errcode
    assert (await light.site.error("POST", "/pushers/set", PUSHER, by="alice"))[1] == "M_THREEPID_NOT_FOUND"


async def test_pushers_that_could_not_be_read_are_read_the_next_time(
    light: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    await light.site.ok("POST", "/pushers/set", PUSHER | {"kind": None}, by="bob")
    await light.digests.step()
    await light.site.ok("POST", "/pushers/set", PUSHER, by="bob")
    with monkeypatch.context() as failing:
        failing.delattr(email_pushers, "users")
        with pytest.raises(AttributeError):
            await light.digests.step()
    await light.site.send(light.room, "Hello")
    assert len(await light.after(601)) == 1


async def test_server_that_sends_no_mails_says_so(sqlite_url: str, tmp_path: Path) -> None:
    async with whole_site(sqlite_url, tmp_path) as site:
        assert await site.error("POST", "/pushers/set", PUSHER) == (400, "M_INVALID_PARAM")


async def test_link_in_a_mail_ends_them_once_it_is_confirmed(light: Post) -> None:
    await light.site.send(light.room, "Hello")
    (mail,) = await light.after(601)
    link = re.search(r"http://hearth\.test(/\S+)", mail.text)
    assert link is not None
    assert mail.headers["List-Unsubscribe"] == f"<http://hearth.test{link[1]}>"
    url = light.site.url + link[1]
    async with light.site.client.get(url) as response:
        assert (response.status, ADDRESS in await response.text()) == (200, True)
    assert len((await light.site.ok("GET", "/pushers", by="bob"))["pushers"]) == 1
    for _ in range(2):
        async with light.site.client.post(url, data={"List-Unsubscribe": "One-Click"}) as response:
            assert response.status == 200
    assert await light.site.ok("GET", "/pushers", by="bob") == {"pushers": []}
    async with light.site.client.get(url) as response:
        assert response.status == 404


async def test_address_that_is_given_up_gets_no_mails(light: Post) -> None:
    await light.site.ok("POST", "/account/3pid/delete", {"medium": "email", "address": ADDRESS}, by="bob")
    assert await light.site.ok("GET", "/pushers", by="bob") == {"pushers": []}


async def test_closed_account_gets_no_mails(light: Post) -> None:
    await light.site.send(light.room, "Hello")
    await light.after(1)
    identifier = {"type": "m.id.user", "user": "bob"}
    auth = {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}
    await light.site.ok("POST", "/account/deactivate", {"auth": auth}, by="bob")
    assert await light.after(601) == []
