"""E-mail addresses of accounts: proven by a link, used to set a forgotten password."""

import re
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from homeserver.runtime.mailer import MailFailure
from tests.client_api.whole_site import PASSWORD, WholeSite, whole_site

ADDRESS = "alice@mail.test"
SECRET = "secret.of.client"
NOT_SUPPORTED = (400, "M_THREEPID_MEDIUM_NOT_SUPPORTED")


class Mails:
    def __init__(self) -> None:
        self.sent: list[tuple[str, str]] = []
        self.broken = False

    async def send(self, recipient: str, subject: str, text: str) -> None:
        if self.broken:
            raise MailFailure
        self.sent.append((recipient, text))

    def link(self) -> str:
        """The path in the newest mail."""
        found = re.search(r"http://hearth\.test(/\S+)", self.sent[-1][1])
        assert found is not None
        return found[1]


@pytest.fixture
async def site(sqlite_url: str, tmp_path: Path) -> AsyncIterator[WholeSite]:
    async with whole_site(sqlite_url, tmp_path) as running:
        yield running


@pytest.fixture
def mails(site: WholeSite) -> Mails:
    mails = Mails()
    site.server.accounts.emails.mail = mails
    return mails


def wish(address: str = ADDRESS, attempt: int = 1, **more: Any) -> dict[str, Any]:
    return {"client_secret": SECRET, "email": address, "send_attempt": attempt, **more}


async def open_link(site: WholeSite, path: str) -> int:
    async with site.client.get(site.url + path, allow_redirects=False) as response:
        return response.status


async def proven(site: WholeSite, mails: Mails, what: str, address: str = ADDRESS) -> dict[str, str]:
    """The credentials of an address that was proven."""
    answer = await site.ok("POST", f"/{what}/email/requestToken", wish(address), by=None)
    assert await open_link(site, mails.link()) == 200
    return {"sid": answer["sid"], "client_secret": SECRET}


def password_of(name: str) -> dict[str, Any]:
    identifier = {"type": "m.id.user", "user": name}
    return {"auth": {"type": "m.login.password", "identifier": identifier, "password": PASSWORD}}


async def add(site: WholeSite, mails: Mails) -> None:
    await site.register("alice")
    credentials = await proven(site, mails, "account/3pid")
    await site.ok("POST", "/account/3pid/add", credentials | password_of("alice"))


async def test_address_is_added_once_it_is_proven(site: WholeSite, mails: Mails) -> None:
    await site.register("alice")
    answer = await site.ok("POST", "/account/3pid/email/requestToken", wish(" Alice@Mail.test"), by=None)
    credentials = {"sid": answer["sid"], "client_secret": SECRET}
    early = await site.error("POST", "/account/3pid/add", credentials | password_of("alice"))
    assert early == (403, "M_THREEPID_AUTH_FAILED")
    assert await open_link(site, mails.link()) == 200
    status, asked = await site.ask("POST", "/account/3pid/add", credentials)
    assert (status, asked["flows"]) == (401, [{"stages": ["m.login.password"]}])
    await site.ok("POST", "/account/3pid/add", credentials | password_of("alice"))
    (entry,) = (await site.ok("GET", "/account/3pid"))["threepids"]
    assert (entry["medium"], entry["address"]) == ("email", ADDRESS)
    again = await site.error("POST", "/account/3pid/add", credentials | password_of("alice"))
    assert again == (403, "M_THREEPID_AUTH_FAILED")


async def test_address_of_an_account_is_nobody_elses(site: WholeSite, mails: Mails) -> None:
    await add(site, mails)
    for what in ("account/3pid", "register"):
        assert await site.error("POST", f"/{what}/email/requestToken", wish(), by=None) == (400, "M_THREEPID_IN_USE")


async def test_deleted_address_is_free_again(site: WholeSite, mails: Mails) -> None:
    await add(site, mails)
    body = {"medium": "email", "address": ADDRESS}
    assert await site.ok("POST", "/account/3pid/delete", body) == {"id_server_unbind_result": "no-support"}
    assert await site.ok("GET", "/account/3pid") == {"threepids": []}
    await proven(site, mails, "register")


async def test_forgotten_password_is_set_with_a_proven_address(site: WholeSite, mails: Mails) -> None:
    await add(site, mails)
    credentials = await proven(site, mails, "account/password")
    auth = {"type": "m.login.email.identity", "threepid_creds": credentials}
    await site.ok("POST", "/account/password", {"new_password": "something else", "auth": auth}, by=None)
    login = {"type": "m.login.password", "identifier": {"type": "m.id.user", "user": "alice"}}
    assert await site.error("POST", "/login", login | {"password": PASSWORD}, by=None) == (403, "M_FORBIDDEN")
    await site.ok("POST", "/login", login | {"password": "something else"}, by=None)


async def test_proof_for_adding_sets_no_password(site: WholeSite, mails: Mails) -> None:
    await add(site, mails)
    await site.ok("POST", "/account/3pid/delete", {"medium": "email", "address": ADDRESS})
    credentials = await proven(site, mails, "account/3pid")
    auth = {"type": "m.login.email.identity", "threepid_creds": credentials}
    assert await site.error("POST", "/account/password", {"new_password": "something else", "auth": auth}, by=None) == (
        401,
        "M_THREEPID_AUTH_FAILED",
    )


async def test_unknown_address_resets_no_password(site: WholeSite, mails: Mails) -> None:
    _, code = await site.error("POST", "/account/password/email/requestToken", wish(), by=None)
    assert code == "M_THREEPID_NOT_FOUND"
    assert mails.sent == []


async def test_same_attempt_sends_one_mail(site: WholeSite, mails: Mails) -> None:
    path = "/register/email/requestToken"
    first = await site.ok("POST", path, wish(), by=None)
    assert await site.ok("POST", path, wish(), by=None) == first
    assert len(mails.sent) == 1
    assert await site.ok("POST", path, wish(attempt=2), by=None) == first
    assert len(mails.sent) == 2


async def test_link_with_a_wrong_token_proves_nothing(site: WholeSite, mails: Mails) -> None:
    await site.ok("POST", "/register/email/requestToken", wish(), by=None)
    assert await open_link(site, mails.link() + "x") == 401
    site.clock.advance(25 * 3600)
    assert await open_link(site, mails.link()) == 401


async def test_opened_link_leads_back_to_the_client(site: WholeSite, mails: Mails) -> None:
    path = "/register/email/requestToken"
    await site.ok("POST", path, wish(next_link="https://app.test/#/done"), by=None)
    assert await open_link(site, mails.link()) == 302
    assert await site.error("POST", path, wish(next_link="javascript:x"), by=None) == (400, "M_INVALID_PARAM")


@pytest.mark.parametrize("address", ["", "alice", "a b@c.d", "a@b@c", "a\r\nBcc: x@y", "<a@b.c>"])
async def test_what_is_no_address_is_refused(site: WholeSite, mails: Mails, address: str) -> None:
    path = "/register/email/requestToken"
    assert await site.error("POST", path, wish(address), by=None) == (400, "M_INVALID_PARAM")
    assert mails.sent == []


async def test_closed_account_has_no_address(site: WholeSite, mails: Mails) -> None:
    await add(site, mails)
    await site.ok("POST", "/account/deactivate", password_of("alice"))
    await proven(site, mails, "register")


async def test_mail_that_cannot_be_sent_is_an_error(site: WholeSite, mails: Mails) -> None:
    mails.broken = True
    assert await site.error("POST", "/register/email/requestToken", wish(), by=None) == (400, "M_UNKNOWN")


async def test_server_without_mail_or_text_messages_says_so(site: WholeSite) -> None:
    number = {"client_secret": SECRET, "country": "GB", "phone_number": "07700900001", "send_attempt": 1}
    for what in ("register", "account/3pid", "account/password"):
        assert await site.error("POST", f"/{what}/email/requestToken", wish(), by=None) == NOT_SUPPORTED
        assert await site.error("POST", f"/{what}/msisdn/requestToken", number, by=None) == NOT_SUPPORTED


async def test_no_identity_server_is_asked(site: WholeSite) -> None:
    identity = {"id_server": "id.test", "id_access_token": "x", "client_secret": SECRET, "sid": "1"}
    assert await site.error("POST", "/account/3pid/bind", identity) == (400, "M_SERVER_NOT_TRUSTED")
    body = {"medium": "email", "address": ADDRESS}
    assert await site.ok("POST", "/account/3pid/unbind", body) == {"id_server_unbind_result": "no-support"}
    status = await site.error("POST", "/account/3pid", {"three_pid_creds": identity})
    assert status == (403, "M_THREEPID_AUTH_FAILED")


async def test_registering_may_need_a_proven_address_which_the_account_then_has(
    site: WholeSite, mails: Mails, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(site.server.accounts.registration, "_flows", [["m.login.email.identity"]])
    body = {"username": "carol", "password": PASSWORD}
    assert await site.error("POST", "/register", body | {"auth": {"type": "m.login.dummy"}}, by=None) == (
        401,
        "M_UNRECOGNIZED",
    )
    credentials = await proven(site, mails, "register", "carol@mail.test")
    auth = {"type": "m.login.email.identity", "threepid_creds": credentials}
    answer = await site.ok("POST", "/register", body | {"auth": auth}, by=None)
    site.tokens["carol"] = answer["access_token"]
    (entry,) = (await site.ok("GET", "/account/3pid", by="carol"))["threepids"]
    assert entry["address"] == "carol@mail.test"


async def test_suspended_user_keeps_the_address(site: WholeSite, mails: Mails) -> None:
    await add(site, mails)
    await site.server.accounts.accounts.put_suspended("@alice:hearth.test", True)
    body = {"medium": "email", "address": ADDRESS}
    assert await site.error("POST", "/account/3pid/delete", body) == (403, "M_USER_SUSPENDED")
