"""The media index, on both engines."""

from collections.abc import Callable

import pytest

from storage import media as index
from storage.database import Database, Write
from storage.media import MediaRow, ThumbnailRow
from storage.tables import media

HERE, ALICE = "here.test", "@alice:here.test"


def row(media_id: str, origin: str = HERE, stored_as: str | None = "f" * 64, **more: object) -> MediaRow:
    fields = {
        "content_type": "text/plain",
        "upload_name": None,
        "size": 1,
        "sha256": stored_as,
        "created_at": 1000,
        "last_access_at": None,
        "user_id": ALICE if origin == HERE else None,
        "quarantined": False,
    }
    return MediaRow(origin=origin, media_id=media_id, stored_as=stored_as, **(fields | more))  # type: ignore[arg-type]


def thumbnail(media_id: str, stored_as: str) -> ThumbnailRow:
    return ThumbnailRow(HERE, media_id, 32, 32, "crop", "image/png", 5, stored_as)


async def write(database: Database, change: Callable[[Write], object]) -> object:
    async def operation(tx: Write) -> object:
        result = change(tx)
        return await result if hasattr(result, "__await__") else result  # type: ignore[misc]

    return await database.write(operation)


async def test_media_is_read_as_it_was_written(database: Database) -> None:
    await write(database, lambda tx: index.put(tx, row("a", upload_name="Ü.txt", size=1 << 40)))
    async with database.read() as tx:
        assert await index.media_of(tx, HERE, "a") == row("a", upload_name="Ü.txt", size=1 << 40)
        assert await index.media_of(tx, "other.test", "a") is None


async def test_pending_ids_are_counted_by_user_until_they_expire(database: Database) -> None:
    for media_id, user_id, created_at in (("1", ALICE, 10), ("2", ALICE, 20), ("3", "@bob:here.test", 20)):
        await database.write(lambda tx, m=media_id, u=user_id, c=created_at: index.put_pending(tx, HERE, m, u, c))
    await write(database, lambda tx: index.put(tx, row("done")))
    async with database.read() as tx:
        assert await index.count_pending(tx, HERE, ALICE, 0) == 2
        assert await index.count_pending(tx, HERE, ALICE, 10) == 1
        assert await index.oldest_pending(tx, HERE, ALICE, 0) == 10
        assert await index.oldest_pending(tx, HERE, ALICE, 20) is None
        assert [one.media_id for one in await index.unused_ids(tx, HERE, 10, 5)] == ["1"]


async def test_pending_id_is_completed_once_and_keeps_when_it_was_created(database: Database) -> None:
    await write(database, lambda tx: index.put_pending(tx, HERE, "a", ALICE, 10))
    assert await write(database, lambda tx: index.complete(tx, row("a")))
    assert not await write(database, lambda tx: index.complete(tx, row("a", content_type="x/y")))
    assert not await write(database, lambda tx: index.complete(tx, row("unknown")))
    async with database.read() as tx:
        assert await index.media_of(tx, HERE, "a") == row("a", created_at=10)


async def test_thumbnail_is_found_by_the_size_it_was_made_for(database: Database) -> None:
    await write(database, lambda tx: index.put_thumbnail(tx, thumbnail("a", "1" * 64)))
    await write(database, lambda tx: index.put_thumbnail(tx, thumbnail("a", "2" * 64)))
    async with database.read() as tx:
        assert await index.thumbnail_of(tx, HERE, "a", 32, 32, "crop") == thumbnail("a", "2" * 64)
        assert await index.thumbnail_of(tx, HERE, "a", 32, 32, "scale") is None
        assert await index.thumbnails_of(tx, HERE, "a") == [thumbnail("a", "2" * 64)]


async def test_only_remote_media_that_nobody_asked_for_is_listed(database: Database) -> None:
    for one in (
        row("old", "there.test"),
        row("asked", "there.test", last_access_at=5000),
        row("bad", "there.test", quarantined=True),
        row("own"),
    ):
        await write(database, lambda tx, one=one: index.put(tx, one))
    async with database.read() as tx:
        assert [one.media_id for one in await index.unasked_remote(tx, HERE, 2000, 9)] == ["old"]
    await write(database, lambda tx: index.touch(tx, "there.test", "old", 3000))
    assert not await write(database, lambda tx: index.delete(tx, "there.test", "old", unless_asked_since=2000))
    assert await write(database, lambda tx: index.delete(tx, "there.test", "old", unless_asked_since=4000))
    async with database.read() as tx:
        assert await index.media_of(tx, "there.test", "old") is None


async def test_id_that_got_its_upload_is_not_forgotten(database: Database) -> None:
    await write(database, lambda tx: index.put(tx, row("a")))
    assert not await write(database, lambda tx: index.delete(tx, HERE, "a", unless_asked_since=None))


@pytest.mark.parametrize("by", ["media", "thumbnail", "nothing"])
async def test_file_is_in_use_as_long_as_anything_is_kept_in_it(database: Database, by: str) -> None:
    name = "9" * 64
    if by == "media":
        await write(database, lambda tx: index.put(tx, row("a", stored_as=name)))
    elif by == "thumbnail":
        await write(database, lambda tx: index.put_thumbnail(tx, thumbnail("a", name)))
    async with database.read() as tx:
        assert await index.is_in_use(tx, name) == (by != "nothing")


async def test_deleting_media_takes_its_thumbnails_along(database: Database) -> None:
    await write(database, lambda tx: index.put(tx, row("a")))
    await write(database, lambda tx: index.put_thumbnail(tx, thumbnail("a", "1" * 64)))
    assert await write(database, lambda tx: index.delete(tx, HERE, "a", unless_asked_since=9999))
    async with database.read() as tx:
        assert not await tx.fetch_all(media.select())
        assert not await index.thumbnails_of(tx, HERE, "a")
