"""A whole server and what stands beside it: bridges, web pages, and whom it points to."""

import json
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from homeserver.config.outside_sections import Appservices, Federation, UrlPreviews
from homeserver.config.server_sections import Server, Support
from tests.client_api.neighbour import Neighbour, neighbour_site
from tests.client_api.whole_site import SERVER_NAME, WholeSite, whole_site

BRIDGE = """
id: bridge
url: {url}
as_token: as_token_of_the_bridge
hs_token: hs_token
sender_localpart: bridgebot
protocols: [irc]
namespaces:
  users: [{{exclusive: true, regex: "@irc_.*"}}]
  aliases: [{{exclusive: true, regex: "#irc_.*"}}]
"""
THIRDPARTY = "/_matrix/app/v1/thirdparty"
WELL_KNOWN = ("client", "server", "support", "policy_server")
PAGE = b'<html><head><title>A page</title><meta property="og:title" content="The page"></head><body>Text</body></html>'


@pytest.fixture
async def neighbour() -> AsyncIterator[Neighbour]:
    async with neighbour_site() as running:
        yield running


async def as_bridge(site: WholeSite, method: str, path: str, body: Any = None) -> Any:
    site.tokens["bridge"] = "as_token_of_the_bridge"
    return await site.ok(method, path, body, by="bridge")


async def test_bridges_are_pinged_and_asked_about_their_networks(
    sqlite_url: str, tmp_path: Path, neighbour: Neighbour
) -> None:
    registration = tmp_path / "bridge.yaml"
    registration.write_text(BRIDGE.format(url=neighbour.url))
    protocol = {
        "user_fields": ["nick"], "location_fields": ["channel"], "icon": "mxc://hearth.test/irc",
        "field_types": {"nick": {"regexp": ".*", "placeholder": "nick"}},
        "instances": [{"desc": "A network", "fields": {}, "network_id": "a"}],
    }  # fmt: skip
    location = {"alias": f"#irc_a:{SERVER_NAME}", "protocol": "irc", "fields": {"channel": "#a"}}
    person = {"userid": f"@irc_a:{SERVER_NAME}", "protocol": "irc", "fields": {"nick": "a"}}
    for path, answer in {
        "/_matrix/app/v1/ping": {},
        f"{THIRDPARTY}/protocol/irc": protocol,
        f"{THIRDPARTY}/location/irc?channel=a": [location],
        f"{THIRDPARTY}/location?alias=%23irc_a:{SERVER_NAME}": [location],
        f"{THIRDPARTY}/user/irc?nick=a": [person],
        f"{THIRDPARTY}/user?userid=@irc_a:{SERVER_NAME}": [person],
    }.items():
        neighbour.answers[path] = ("application/json", json.dumps(answer).encode())
    async with whole_site(
        sqlite_url, tmp_path, appservices=Appservices(registrations=(str(registration),))
    ) as site:
        pong = await as_bridge(site, "POST", "/_matrix/client/v1/appservice/bridge/ping", {"transaction_id": "1"})
        assert pong["duration_ms"] >= 0
        assert (await site.ok("GET", "/thirdparty/protocols"))["irc"]["instances"][0]["desc"] == "A network"
        assert (await site.ok("GET", "/thirdparty/protocol/irc"))["user_fields"] == ["nick"]
        assert await site.ok("GET", "/thirdparty/location/irc?channel=a") == [location]
        assert await site.ok("GET", f"/thirdparty/location?alias=%23irc_a:{SERVER_NAME}") == [location]
        assert await site.ok("GET", "/thirdparty/user/irc?nick=a") == [person]
        assert await site.ok("GET", f"/thirdparty/user?userid=@irc_a:{SERVER_NAME}") == [person]


async def test_pages_are_previewed(sqlite_url: str, tmp_path: Path, neighbour: Neighbour) -> None:
    neighbour.answers["/page"] = ("text/html", PAGE)
    async with whole_site(
        sqlite_url, tmp_path, url_previews=UrlPreviews(enabled=True, allow_private_addresses=True)
    ) as site:
        for prefix in ("/_matrix/client/v1/media", "/_matrix/media/v3"):
            preview = await site.ok("GET", f"{prefix}/preview_url?url={neighbour.url}/page")
            assert preview["og:title"] == "The page"


async def test_server_that_has_them_tells_its_addresses(sqlite_url: str, tmp_path: Path) -> None:
    server = Server(
        name=SERVER_NAME, public_base_url="http://hearth.test/", data_dir=str(tmp_path), policy_server_key="abc"
    )
    support = Support(matrix_id="@admin:elsewhere.test", page="https://help.test/")
    async with whole_site(
        sqlite_url, tmp_path, server=server, support=support, federation=Federation(well_known_server="a.test:443")
    ) as site:
        told = {name: await site.ok("GET", f"/.well-known/matrix/{name}", by=None) for name in WELL_KNOWN}
    assert told["server"] == {"m.server": "a.test:443"}
    assert told["policy_server"] == {"public_keys": {"ed25519": "abc"}}
    assert told["support"]["contacts"] == [{"matrix_id": "@admin:elsewhere.test", "role": "m.role.admin"}]
