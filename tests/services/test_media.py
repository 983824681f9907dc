"""Uploads, ids that wait for theirs, and media of other servers."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from homeserver.errors import (
    CannotOverwriteMedia,
    Forbidden,
    InvalidParam,
    LimitExceeded,
    NotFound,
    NotYetUploaded,
    RemoteTooLarge,
    TooLarge,
)
from storage.media import MediaRow
from storage.tables import media
from tests.services.media_world import ALICE, BOB, ELSEWHERE, HERE, MediaWorld, in_pieces, media_world


@pytest.fixture
async def world(tmp_path: Path, sqlite_url: str) -> AsyncIterator[MediaWorld]:
    async with media_world(
        tmp_path / "media", sqlite_url, max_upload_size=1_000_000, max_pending_uploads=2, remote_lifetime=7 * 86_400
    ) as made:
        yield made


async def quarantine(world: MediaWorld, media_id: str) -> None:
    async def mark(tx: object) -> None:
        await tx.execute(media.update().where(media.c.media_id == media_id).values(quarantined=True))  # type: ignore[attr-defined]

    await world.database.write(mark)


async def test_what_was_uploaded_is_found_as_it_was(world: MediaWorld) -> None:
    data = bytes(range(256)) * 3000
    file = await world.reader.require(HERE, await world.upload(data, "image/x-odd; v=1", "Räuber.bin"))
    assert file.path.read_bytes() == data
    assert (file.size, file.digest) == (len(data), hashlib.sha256(data).hexdigest())
    assert (file.content_type, file.file_name) == ("image/x-odd; v=1", "Räuber.bin")


async def test_same_bytes_are_kept_once(world: MediaWorld) -> None:
    first, second = await world.upload(b"the same", "text/plain"), await world.upload(b"the same", "text/css")
    assert first != second
    assert len(world.stored_files()) == 1
    assert (await world.reader.require(HERE, second)).content_type == "text/css"


async def test_file_over_the_limit_is_refused_and_leaves_nothing(world: MediaWorld) -> None:
    with pytest.raises(TooLarge):
        await world.upload(b"x" * 1_000_001)
    assert world.stored_files() == []
    with pytest.raises(TooLarge):
        world.uploads.check_size(1_000_001)


async def test_upload_that_breaks_off_leaves_nothing(world: MediaWorld) -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"x" * 600_000
        raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        await world.uploads.upload(ALICE, broken(), None, None)
    assert world.stored_files() == []


async def test_unknown_and_quarantined_media_is_not_found(world: MediaWorld) -> None:
    media_id = await world.upload(b"bad")
    await quarantine(world, media_id)
    for wanted in (media_id, "unknown"):
        with pytest.raises(NotFound):
            await world.reader.require(HERE, wanted)


@pytest.mark.parametrize(
    ("server", "media_id"), [(HERE, "../../etc/passwd"), (HERE, ""), ("a/../b", "x"), ("", "x"), (HERE, "a.b")]
)
async def test_ids_that_are_none_are_refused(world: MediaWorld, server: str, media_id: str) -> None:
    with pytest.raises(InvalidParam):
        await world.reader.require(server, media_id)
    assert world.other.asked == []


async def test_created_id_takes_one_upload_of_its_creator(world: MediaWorld) -> None:
    uri, expires_at = await world.uploads.create(ALICE)
    media_id = uri.rpartition("/")[2]
    assert expires_at == world.clock.now_ms() + 86_400_000
    with pytest.raises(Forbidden):
        await world.uploads.upload_to(BOB, HERE, media_id, in_pieces(b"1"), None, None)
    await world.uploads.upload_to(ALICE, HERE, media_id, in_pieces(b"2"), "text/plain", "n")
    with pytest.raises(CannotOverwriteMedia):
        await world.uploads.upload_to(ALICE, HERE, media_id, in_pieces(b"3"), None, None)
    assert (await world.reader.require(HERE, media_id)).path.read_bytes() == b"2"


async def test_of_two_uploads_to_one_id_one_wins(world: MediaWorld) -> None:
    media_id = (await world.uploads.create(ALICE))[0].rpartition("/")[2]
    results = await asyncio.gather(
        *(world.uploads.upload_to(ALICE, HERE, media_id, in_pieces(text), None, None) for text in (b"a", b"b")),
        return_exceptions=True,
    )
    assert sorted(map(type, results), key=str) == sorted([type(None), CannotOverwriteMedia], key=str)


async def test_uploaded_media_and_unknown_ids_take_no_upload(world: MediaWorld) -> None:
    with pytest.raises(CannotOverwriteMedia):
        await world.uploads.check_pending(ALICE, HERE, await world.upload(b"there"))
    for server in (HERE, ELSEWHERE):
        with pytest.raises(NotFound):
            await world.uploads.check_pending(ALICE, server, "unknown")


async def test_created_id_expires(world: MediaWorld) -> None:
    media_id = (await world.uploads.create(ALICE))[0].rpartition("/")[2]
    world.clock.advance(86_400)
    with pytest.raises(NotFound):
        await world.uploads.check_pending(ALICE, HERE, media_id)
    with pytest.raises(NotFound):
        await world.reader.require(HERE, media_id)


async def test_user_has_few_ids_that_wait(world: MediaWorld) -> None:
    await asyncio.gather(world.uploads.create(ALICE), world.uploads.create(ALICE))
    world.clock.advance(60)
    with pytest.raises(LimitExceeded) as refusal:
        await world.uploads.create(ALICE)
    assert refusal.value.retry_after_ms == (86_400 - 60) * 1000
    await world.uploads.create(BOB)
    world.clock.advance(86_400)
    await world.uploads.create(ALICE)


async def test_many_ids_asked_for_at_once_do_not_pass_the_limit(world: MediaWorld) -> None:
    asked = await asyncio.gather(*(world.uploads.create(ALICE) for _ in range(5)), return_exceptions=True)
    assert sum(isinstance(answer, tuple) for answer in asked) == 2


async def test_download_waits_for_the_upload(world: MediaWorld) -> None:
    media_id = (await world.uploads.create(ALICE))[0].rpartition("/")[2]
    waiting = [world.tasks.start("wait", world.reader.require(HERE, media_id)) for _ in range(3)]
    await world.uploads.upload_to(ALICE, HERE, media_id, in_pieces(b"at last"), None, None)
    assert {(await one).size for one in waiting} == {7}


async def test_download_says_that_nothing_was_uploaded_yet(world: MediaWorld) -> None:
    media_id = (await world.uploads.create(ALICE))[0].rpartition("/")[2]
    for timeout_ms in (0, 1):
        with pytest.raises(NotYetUploaded):
            await world.reader.require(HERE, media_id, timeout_ms=timeout_ms)


async def test_remote_media_is_fetched_once_and_kept(world: MediaWorld) -> None:
    world.other.files["cat"] = (b"meow", "audio/ogg", "cat.ogg")
    world.other.gate = asyncio.Event()
    asking = [world.tasks.start("ask", world.reader.require(ELSEWHERE, "cat")) for _ in range(3)]
    await asyncio.sleep(0)
    world.other.gate.set()
    files = [await one for one in asking] + [await world.reader.require(ELSEWHERE, "cat")]
    assert {(file.path.read_bytes(), file.content_type, file.file_name) for file in files} == {
        (b"meow", "audio/ogg", "cat.ogg")
    }
    assert world.other.asked == [f"{ELSEWHERE}/cat"]


async def test_who_looked_before_remote_media_was_fetched_does_not_fetch_it_again(
    world: MediaWorld, monkeypatch: pytest.MonkeyPatch
) -> None:
    world.other.files["cat"] = (b"meow", None, None)
    look, looked, may_go_on = world.reader._row, asyncio.Event(), asyncio.Event()

    async def slowly(server_name: str, media_id: str) -> MediaRow | None:
        monkeypatch.setattr(world.reader, "_row", look)
        row = await look(server_name, media_id)
        looked.set()
        await may_go_on.wait()
        return row

    monkeypatch.setattr(world.reader, "_row", slowly)
    late = world.tasks.start("ask", world.reader.require(ELSEWHERE, "cat"))
    await looked.wait()
    await world.reader.require(ELSEWHERE, "cat")
    may_go_on.set()
    await late
    assert len(world.other.asked) == 1


async def test_remote_media_is_kept_although_who_asked_went_away(world: MediaWorld) -> None:
    world.other.files["cat"] = (b"meow", None, None)
    world.other.gate = asyncio.Event()
    asking = world.tasks.start("ask", world.reader.require(ELSEWHERE, "cat"))
    while not world.other.asked:
        await asyncio.sleep(0)
    asking.cancel()
    world.other.gate.set()
    assert (await world.reader.require(ELSEWHERE, "cat")).content_type == "application/octet-stream"
    assert len(world.other.asked) == 1


async def test_remote_media_that_is_missing_is_asked_for_again(world: MediaWorld) -> None:
    with pytest.raises(NotFound):
        await world.reader.require(ELSEWHERE, "cat")
    world.other.files["cat"] = (b"meow", None, None)
    await world.reader.require(ELSEWHERE, "cat")


async def test_remote_media_is_left_alone_where_that_was_asked_for(world: MediaWorld) -> None:
    world.other.files["cat"] = (b"meow", None, None)
    with pytest.raises(NotFound):
        await world.reader.require(ELSEWHERE, "cat", allow_remote=False)
    assert world.other.asked == []
    await world.reader.require(ELSEWHERE, "cat")
    await world.reader.require(ELSEWHERE, "cat", allow_remote=False)


async def test_large_remote_media_is_refused(world: MediaWorld) -> None:
    world.other.files["film"] = (b"x" * 1_000_001, "video/mp4", None)
    with pytest.raises(RemoteTooLarge):
        await world.reader.require(ELSEWHERE, "film")
    assert world.stored_files() == []


async def test_media_whose_file_is_lost_is_not_found(world: MediaWorld) -> None:
    media_id = await world.upload(b"lost")
    for path in world.stored_files():
        path.unlink()
    with pytest.raises(NotFound):
        await world.reader.require(HERE, media_id)


async def test_remote_media_that_nobody_asks_for_is_forgotten(world: MediaWorld) -> None:
    world.other.files |= {"cat": (b"meow", None, None), "dog": (b"woof", None, None), "same": (b"mine", None, None)}
    for name in world.other.files:
        await world.reader.require(ELSEWHERE, name)
    media_id = await world.upload(b"mine")
    world.clock.advance(4 * 86_400)
    await world.reader.require(ELSEWHERE, "dog")
    while len(world.tasks):
        await asyncio.sleep(0)
    # Files are as old as the machine's clock says, which is far ahead of the frozen one.
    world.clock.advance(4 * 86_400)
    await world.expiry.run()
    with pytest.raises(NotFound):
        await world.reader.require(ELSEWHERE, "cat", allow_remote=False)
    await world.reader.require(ELSEWHERE, "dog", allow_remote=False)
    assert (await world.reader.require(HERE, media_id)).path.read_bytes() == b"mine"


async def test_forgotten_media_leaves_no_file_unless_it_has_another_name(tmp_path: Path, sqlite_url: str) -> None:
    async with media_world(tmp_path / "media", sqlite_url, remote_lifetime=60) as world:
        world.clock.advance(10 * 365 * 86_400)  # ahead of the files' own times
        world.other.files |= {"cat": (b"meow", None, None), "same": (b"mine", None, None)}
        for name in world.other.files:
            await world.reader.require(ELSEWHERE, name)
        await world.upload(b"mine")
        world.clock.advance(7200)
        await world.expiry.run()
        assert [path.read_bytes() for path in world.stored_files()] == [b"mine"]


async def test_ids_that_were_never_used_are_forgotten(world: MediaWorld) -> None:
    media_id = (await world.uploads.create(ALICE))[0].rpartition("/")[2]
    world.clock.advance(2 * 86_400)
    await world.expiry.run()
    with pytest.raises(NotFound, match="created"):
        await world.uploads.check_pending(ALICE, HERE, media_id)
