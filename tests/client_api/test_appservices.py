"""Endpoints for application services."""

from pathlib import Path

from tests.client_api.account_site import account_site

AS_TOKEN = "as_token_of_the_bridge"


async def test_ping_is_refused_without_a_url_and_to_users(tmp_path: Path) -> None:
    async with account_site(tmp_path) as site:
        alice = (await site.register("alice"))["access_token"]
        path = "v1/appservice/bridge/ping"
        assert await site.refused("POST", path, {}, token=AS_TOKEN) == (400, "M_URL_NOT_SET")
        assert await site.refused("POST", "v1/appservice/x/ping", {}, token=AS_TOKEN) == (403, "M_FORBIDDEN")
        assert await site.refused("POST", path, {}, token=alice) == (403, "M_FORBIDDEN")
