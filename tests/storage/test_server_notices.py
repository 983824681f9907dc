"""Which room users hear from the server in, as rows."""

import pytest

from storage import server_notices
from storage.database import Database
from storage.server_notices import AnotherRoom

ALICE = "@alice:hearth.test"


async def test_user_gets_one_room_and_only_who_knows_it_replaces_it(database: Database) -> None:
    async def put(room_id: str, replaces: str | None) -> None:
        await database.write(lambda tx: server_notices.put(tx, ALICE, room_id, replaces=replaces))

    await put("!one", None)
    for replaced in (None, "!other"):
        with pytest.raises(AnotherRoom):
            await put("!two", replaced)
    async with database.read() as tx:
        assert await server_notices.room_of(tx, ALICE) == "!one"
    await put("!two", "!one")
    async with database.read() as tx:
        assert await server_notices.room_of(tx, ALICE) == "!two"
        assert await server_notices.room_of(tx, "@bob:hearth.test") is None
