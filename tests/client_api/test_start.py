"""What a server does before it answers anybody."""

from pathlib import Path
from typing import Any

import pytest

from homeserver.web.server import HttpServer
from storage import presence
from tests.client_api.whole_site import whole_site


async def test_who_was_there_before_is_known_before_anybody_can_come(
    sqlite_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    done: list[str] = []
    for owner, name in ((presence, "of_those_present"), (HttpServer, "start")):
        original = getattr(owner, name)

        async def noted(*args: Any, original: Any = original, name: str = name) -> Any:
            done.append(name)
            return await original(*args)

        monkeypatch.setattr(owner, name, noted)
    async with whole_site(sqlite_url, tmp_path):
        assert done == ["of_those_present", "start"]
