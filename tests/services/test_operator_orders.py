"""What the operator can order, and what is refused with a sentence."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest

from homeserver.config.account_sections import Registration
from homeserver.errors import Forbidden, InvalidParam, MatrixError, MissingParam, NotFound, Unrecognized, WeakPassword
from homeserver.services.operator_orders import OperatorOrders
from tests.client_api.whole_site import PASSWORD, WholeSite, user, whole_site


@pytest.fixture
async def site(database_url: str, tmp_path: Path) -> AsyncIterator[WholeSite]:
    async with whole_site(database_url, tmp_path) as running:
        yield running


@pytest.fixture
def orders(site: WholeSite) -> OperatorOrders:
    return site.server.operator


async def test_tokens(orders: OperatorOrders, site: WholeSite) -> None:
    made = await orders.perform("token add", {"uses": 2, "lasts_s": 60.0})
    assert made["expires_at"] == site.clock.now_ms() + 60_000
    await orders.perform("token add", {"token": "sesame"})
    listed = await orders.perform("token list", {})
    assert {token["token"] for token in listed} == {"sesame", made["token"]}
    await orders.perform("token revoke", {"token": "sesame"})
    assert len(await orders.perform("token list", {})) == 1


async def test_flags_are_seen_at_once_by_who_is_logged_in(orders: OperatorOrders, site: WholeSite) -> None:
    await site.register("alice")
    await site.ok("GET", "/account/whoami")
    await orders.perform("user lock", {"user": "alice", "value": True})
    assert await site.error("GET", "/account/whoami") == (401, "M_USER_LOCKED")
    await orders.perform("user lock", {"user": user("alice"), "value": False})
    await orders.perform("user suspend", {"user": "alice", "value": True})
    assert await site.error("POST", "/createRoom", {}) == (403, "M_USER_SUSPENDED")
    await orders.perform("user suspend", {"user": "alice", "value": False})
    await orders.perform("user admin", {"user": "alice", "value": True})
    await site.ok("GET", f"/admin/whois/{user('bob')}")


async def test_closed_account_can_still_be_erased(orders: OperatorOrders, site: WholeSite) -> None:
    await site.register("alice")
    await orders.perform("user deactivate", {"user": "alice"})
    await orders.perform("user deactivate", {"user": "alice", "erase": True})
    shown = await orders.perform("user show", {"user": "alice"})
    assert (shown["erased"], shown["has_password"], shown["devices"]) == (True, False, [])
    with pytest.raises(Forbidden):
        await orders.perform("user deactivate", {"user": "alice", "erase": True})


async def test_new_password_logs_out_unless_devices_are_to_stay(orders: OperatorOrders, site: WholeSite) -> None:
    await site.register("alice")
    await orders.perform("user reset-password", {"user": "alice", "password": "another one", "keep_devices": True})
    await site.ok("GET", "/account/whoami")
    await orders.perform("user reset-password", {"user": "alice", "password": PASSWORD})
    assert await site.error("GET", "/account/whoami") == (401, "M_UNKNOWN_TOKEN")
    await site.login("alice", "alice")


async def test_accounts_are_listed_in_pages(orders: OperatorOrders, site: WholeSite) -> None:
    for name in ("carol", "alice", "bob"):
        await site.register(name)
    first = await orders.perform("user list", {"limit": 2})
    rest = await orders.perform("user list", {"after": first[-1]["user_id"]})
    assert [one["user_id"] for one in first + rest] == [user("alice"), user("bob"), user("carol")]
    assert all("password_hash" not in one for one in first)


async def test_reports_are_read_in_pages(orders: OperatorOrders, site: WholeSite) -> None:
    room = await site.room()
    for reason in ("one", "two"):
        await site.ok("POST", f"/rooms/{room}/report", {"reason": reason})
    (newest,) = await orders.perform("reports", {"limit": 1})
    (older,) = await orders.perform("reports", {"before": newest["report_id"]})
    assert (newest["reason"], older["reason"]) == ("two", "one")


async def test_one_user_is_told_something(orders: OperatorOrders, site: WholeSite) -> None:
    await site.register("alice")
    event_id = (await orders.perform("user notify", {"user": "alice", "text": "hello"}))["event_id"]
    (room_id,) = (await site.ok("GET", "/sync"))["rooms"]["invite"]
    await site.ok("POST", f"/join/{quote(room_id)}", {})
    event = await site.ok("GET", f"/rooms/{quote(room_id)}/event/{quote(event_id)}")
    assert event["content"] == {"msgtype": "m.text", "body": "hello"}


async def test_all_people_are_told_in_steps(database_url: str, tmp_path: Path) -> None:
    registration = Registration(enabled=True, requires_token=False, allow_guests=True)
    async with whole_site(database_url, tmp_path, registration=registration) as site:
        for name in ("alice", "bob", "carol"):
            await site.register(name)
        await site.ok("POST", "/register?kind=guest", {}, by=None)
        await site.server.operator.perform("user deactivate", {"user": "carol"})
        steps: list[dict[str, Any]] = [{"told": 0, "failed": {}, "last": None}]
        while steps[-1]["last"] is not None or len(steps) == 1:
            arguments = {"text": "hello", "limit": 2, "after": steps[-1]["last"]}
            steps.append(await site.server.operator.perform("user notify-all", arguments))
        assert (sum(step["told"] for step in steps), len(steps)) == (2, 4)
        assert not any(step["failed"] for step in steps)
        for name in ("alice", "bob"):
            assert len((await site.ok("GET", "/sync", by=name))["rooms"]["invite"]) == 1


@pytest.mark.parametrize(
    ("order", "arguments", "refusal"),
    [
        ("dance", {}, Unrecognized),
        ("token add", {"token": "a b"}, InvalidParam),
        ("token add", {"token": "x" * 65}, InvalidParam),
        ("token add", {"uses": 0}, InvalidParam),
        ("token revoke", {"token": "none"}, NotFound),
        ("token revoke", {}, MissingParam),
        ("user lock", {"user": "nobody"}, NotFound),
        ("user lock", {"user": "@alice:elsewhere.test"}, InvalidParam),
        ("user suspend", {"user": "nobody"}, NotFound),
        ("user admin", {"user": "nobody"}, NotFound),
        ("user deactivate", {"user": "nobody"}, NotFound),
        ("user show", {"user": "nobody"}, NotFound),
        ("user notify", {"user": "nobody", "text": "hello"}, NotFound),
        ("user notify", {"user": "alice", "text": ""}, MissingParam),
        ("user notify-all", {}, MissingParam),
        ("user reset-password", {"user": "alice"}, MissingParam),
        ("user reset-password", {"user": "alice", "password": "x"}, WeakPassword),
        ("user reset-password", {"user": "nobody", "password": PASSWORD}, NotFound),
    ],
)
async def test_what_cannot_be_done_is_refused(
    sqlite_url: str, tmp_path: Path, order: str, arguments: dict[str, Any], refusal: type[MatrixError]
) -> None:
    async with whole_site(sqlite_url, tmp_path) as site:
        await site.register("alice")
        with pytest.raises(refusal):
            await site.server.operator.perform(order, arguments)


async def test_token_is_made_once(orders: OperatorOrders) -> None:
    await orders.perform("token add", {"token": "sesame"})
    with pytest.raises(InvalidParam):
        await orders.perform("token add", {"token": "sesame"})
