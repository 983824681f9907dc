"""What a server that was not told otherwise says of features that it does not have."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from client_api.server_info import ServerInfoHandlers
from homeserver.config import Config
from homeserver.config.server_sections import Server, Support
from homeserver.errors import NotFound
from homeserver.runtime.clock import FrozenClock
from homeserver.web.endpoint import Auth, Endpoint
from homeserver.web.request import Query, Request
from tests.client_api.whole_site import WholeSite, whole_site


@pytest.fixture
async def site(sqlite_url: str, tmp_path: Path) -> AsyncIterator[WholeSite]:
    async with whole_site(sqlite_url, tmp_path) as running:
        yield running


async def test_features_that_are_not_there_are_unrecognized(site: WholeSite) -> None:
    for path in ("/_matrix/client/v1/auth_metadata", "/login/sso/redirect?redirectUrl=x", "/login/sso/redirect/oidc"):
        assert await site.error("GET", path, by=None) == (404, "M_UNRECOGNIZED")


async def test_previews_are_off_by_default_and_need_a_token(site: WholeSite) -> None:
    for path in ("/_matrix/client/v1/media/preview_url", "/_matrix/media/v3/preview_url"):
        assert await site.error("GET", f"{path}?url=http://a.test/") == (404, "M_UNRECOGNIZED")
        assert await site.error("GET", path) == (400, "M_MISSING_PARAM")
        assert await site.error("GET", f"{path}?url=http://a.test/&ts=x") == (400, "M_INVALID_PARAM")
        assert await site.error("GET", path, by=None) == (401, "M_MISSING_TOKEN")


async def test_server_without_bridges_knows_no_networks(site: WholeSite) -> None:
    assert await site.ok("GET", "/thirdparty/protocols") == {}
    for path in ("protocol/irc", "location/irc?a=b", "user/irc", "location?alias=%23a:b", "user?userid=@a:b"):
        assert await site.error("GET", f"/thirdparty/{path}") == (404, "M_NOT_FOUND")
    for path in ("location", "user"):
        assert await site.error("GET", f"/thirdparty/{path}") == (400, "M_MISSING_PARAM")
    assert await site.error("GET", "/thirdparty/protocols", by=None) == (401, "M_MISSING_TOKEN")


def _asked(path: str) -> Request:
    endpoint = Endpoint("x", "GET", path, ServerInfoHandlers.versions, Auth.NONE)
    return Request(endpoint, {}, Query(""), None)  # type: ignore[arg-type]


async def test_operator_says_how_to_be_reached() -> None:
    config = Config(
        server=Server(name="hearth.test", policy_server_key="abc"),
        support=Support(matrix_id="@op:else.test", page="https://hearth.test/help"),
    )
    handlers = ServerInfoHandlers(config, FrozenClock())
    assert await handlers.well_known_support(_asked("/support")) == {
        "contacts": [{"matrix_id": "@op:else.test", "role": "m.role.admin"}],
        "support_page": "https://hearth.test/help",
    }
    assert await handlers.well_known_policy_server(_asked("/policy")) == {"public_keys": {"ed25519": "abc"}}


async def test_operator_who_says_nothing_is_not_found() -> None:
    handlers = ServerInfoHandlers(Config(server=Server(name="hearth.test")), FrozenClock())
    for ask in (handlers.well_known_support, handlers.well_known_policy_server):
        with pytest.raises(NotFound):
            await ask(_asked("/"))
