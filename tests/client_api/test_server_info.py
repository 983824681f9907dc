"""What the server tells of itself."""

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Literal

import pytest

from client_api.server_info import ServerInfoHandlers
from homeserver.config import Config
from homeserver.config.account_sections import Rooms
from homeserver.config.outside_sections import Turn
from homeserver.config.server_sections import Server
from homeserver.runtime.clock import FrozenClock
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.request import Query, Request
from tests.client_api.account_site import AccountSite, account_site


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[AccountSite]:
    async with account_site(tmp_path) as running:
        yield running


async def test_versions_are_told_to_anybody(site: AccountSite) -> None:
    answer = await site.good("GET", "/_matrix/client/versions")
    assert {"r0.6.1", "v1.1", "v1.11"} <= set(answer["versions"])
    assert isinstance(answer["unstable_features"], dict)


@pytest.mark.parametrize("feature", ["org.matrix.e2e_cross_signing", "org.matrix.msc3827.stable"])
async def test_clients_are_told_what_they_do_only_where_they_are_told(site: AccountSite, feature: str) -> None:
    features = (await site.good("GET", "/_matrix/client/versions"))["unstable_features"]
    assert features[feature] is True


@pytest.mark.parametrize(
    ("default", "forced"), [("off", []), ("private", ["private", "trusted_private"]), ("all", None)]
)
async def test_clients_are_told_which_rooms_are_encrypted_in_any_case(
    default: Literal["off", "private", "all"], forced: list[str] | None
) -> None:
    config = Config(server=Server(name="hearth.test"), rooms=Rooms(encryption_default=default))
    row = Endpoint("getVersions", "GET", "/", ServerInfoHandlers.versions, Auth.NONE)
    request = Request(row, {}, Query(""), None)  # type: ignore[arg-type]
    features = (await ServerInfoHandlers(config, FrozenClock()).versions(request))["unstable_features"]
    presets = ["private", "trusted_private", "public"]
    told = [preset for preset in presets if features[f"io.element.e2ee_forced.{preset}"]]
    assert told == (presets if forced is None else forced)


async def test_capabilities(site: AccountSite) -> None:
    token = (await site.register())["access_token"]
    answer = (await site.good("GET", "v3/capabilities", token=token))["capabilities"]
    assert answer["m.room_versions"]["default"] == "12"
    assert answer["m.room_versions"]["available"]["1"] == "stable"
    assert answer["m.change_password"] == {"enabled": True}
    assert await site.refused("GET", "v3/capabilities") == (401, "M_MISSING_TOKEN")


async def test_well_known(site: AccountSite) -> None:
    answer = await site.good("GET", "/.well-known/matrix/client")
    assert answer == {"m.homeserver": {"base_url": "http://hearth.test"}}
    assert await site.refused("GET", "/.well-known/matrix/support") == (404, "M_NOT_FOUND")


async def test_turn_server_is_empty_without_one(site: AccountSite) -> None:
    token = (await site.register())["access_token"]
    assert await site.good("GET", "v3/voip/turnServer", token=token) == {}


async def test_turn_credentials_are_signed_with_the_shared_secret() -> None:
    class Alice:
        user_id = "@alice:hearth.test"

    turn = Turn(uris=("turn:turn.hearth.test",), shared_secret="s")
    handlers = ServerInfoHandlers(Config(server=Server(name="hearth.test"), turn=turn), FrozenClock(1_000_000))
    row = Endpoint("getTurnServer", "GET", "/", ServerInfoHandlers.turn_server, Auth.USER)
    request = Request(row, {}, Query(""), None)  # type: ignore[arg-type]
    request.requester = Alice()  # type: ignore[assignment]
    assert await handlers.turn_server(request) == {
        "username": "87400:@alice:hearth.test",
        "password": "Ky/MOd6rH5l4ojwjmOmYWz1Fl2c=",
        "uris": ["turn:turn.hearth.test"],
        "ttl": 86400,
    }
