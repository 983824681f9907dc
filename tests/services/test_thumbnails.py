"""Thumbnails of real pictures, and of what only looks like one."""

import asyncio
import io
import struct
import zlib
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from homeserver.errors import NotFound, RemoteTooLarge, TooLarge, Unknown
from homeserver.services import thumbnails as thumbnails_module
from homeserver.services.thumbnails import ThumbnailRequest
from tests.services.media_world import ELSEWHERE, HERE, MediaWorld, media_world, opened, picture

RED, BLUE = (255, 0, 0), (0, 0, 255)


@pytest.fixture
async def world(tmp_path: Path, sqlite_url: str) -> AsyncIterator[MediaWorld]:
    async with media_world(tmp_path / "media", sqlite_url, max_pixels=1_000_000) as made:
        yield made


async def thumbnail(world: MediaWorld, data: bytes, width: int, height: int, method: Any = "scale") -> tuple[Any, str]:
    """The opened thumbnail of an upload, and its content type."""
    media_id = await world.upload(data, "application/octet-stream")
    file = await world.thumbnails.require(HERE, media_id, ThumbnailRequest(width, height, method))
    data = file.path.read_bytes()
    assert len(data) == file.size
    return opened(data), file.content_type


def is_near(colour: Any, wanted: tuple[int, int, int]) -> bool:
    return all(abs(one - other) < 12 for one, other in zip(colour[:3], wanted, strict=True))


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP", "BMP"])
async def test_picture_is_scaled_down(world: MediaWorld, kind: str) -> None:
    small, content_type = await thumbnail(world, picture(800, 600, kind), 300, 200)
    form = "PNG" if kind == "PNG" else "JPEG"
    assert (small.size, content_type, small.format) == ((320, 240), f"image/{form.lower()}", form)
    assert is_near(small.getpixel((10, 10)), RED)
    assert is_near(small.getpixel((310, 230)), BLUE)


async def test_crop_fills_the_size_from_the_middle(world: MediaWorld) -> None:
    small, _ = await thumbnail(world, picture(900, 100, "JPEG"), 96, 96, "crop")
    assert small.size == (96, 96)
    assert is_near(small.getpixel((5, 50)), RED)
    assert is_near(small.getpixel((90, 50)), BLUE)


@pytest.mark.parametrize(("mode", "kind"), [("RGBA", "PNG"), ("LA", "PNG"), ("RGBA", "WEBP")])
async def test_transparent_picture_stays_transparent(world: MediaWorld, mode: str, kind: str) -> None:
    small, content_type = await thumbnail(world, picture(400, 300, kind, mode), 32, 32)
    assert (content_type, small.mode) == ("image/png", "RGBA")


@pytest.mark.parametrize(
    ("mode", "kind"), [("L", "JPEG"), ("CMYK", "JPEG"), ("P", "GIF"), ("1", "PNG"), ("I;16", "PNG")]
)
async def test_every_kind_of_pixels_is_understood(world: MediaWorld, mode: str, kind: str) -> None:
    from PIL import Image

    data = picture(400, 300, kind, mode) if mode != "I;16" else b""
    if not data:
        output = io.BytesIO()
        Image.new("I;16", (400, 300), 30_000).save(output, "PNG")
        data = output.getvalue()
    small, _ = await thumbnail(world, data, 32, 32)
    assert small.size == (32, 24)


async def test_camera_held_sideways_gives_an_upright_thumbnail(world: MediaWorld) -> None:
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = 6  # to be turned by 90° clockwise: what is left in the file is on top
    small, _ = await thumbnail(world, picture(800, 600, "JPEG", exif=exif), 320, 240)
    assert small.size == (180, 240)
    assert is_near(small.getpixel((90, 10)), RED)
    assert is_near(small.getpixel((90, 230)), BLUE)
    assert not small.getexif()


@pytest.mark.parametrize("kind", ["JPEG", "PNG", "GIF", "WEBP"])
async def test_small_picture_is_served_as_it_is(world: MediaWorld, kind: str) -> None:
    data = picture(30, 20, kind)
    media_id = await world.upload(data, "text/html")
    file = await world.thumbnails.require(HERE, media_id, ThumbnailRequest(32, 32))
    assert (file.path.read_bytes(), file.content_type) == (data, f"image/{kind.lower()}")
    assert len(world.stored_files()) == 1


async def test_larger_than_every_size_is_the_picture_itself(world: MediaWorld) -> None:
    large, _ = await thumbnail(world, picture(1000, 900, "JPEG"), 900, 900)
    assert large.size == (1000, 900)


@pytest.mark.parametrize("kind", ["GIF", "WEBP", "PNG"])
async def test_thumbnail_of_a_moving_picture_stands_still(world: MediaWorld, kind: str) -> None:
    frames = [opened(picture(30, 30, "PNG", "L")), opened(picture(30, 30))]
    data = picture(30, 30, kind, save_all=True, append_images=frames, duration=100)
    assert opened(data).is_animated
    still, content_type = await thumbnail(world, data, 32, 32)
    assert not getattr(still, "is_animated", False)
    assert still.size == (30, 30)
    assert content_type in ("image/jpeg", "image/png")


def bomb(width: int, height: int) -> bytes:
    """A PNG that says it is huge."""

    def chunk(kind: bytes, data: bytes) -> bytes:
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(bytes(1000))) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("size", [(1001, 1000), (60_000, 60_000)])
async def test_picture_with_too_many_pixels_gets_none(world: MediaWorld, size: tuple[int, int]) -> None:
    with pytest.raises(TooLarge) as refusal:
        await thumbnail(world, bomb(*size), 32, 32)
    assert not isinstance(refusal.value, RemoteTooLarge)
    world.other.files["bomb"] = (bomb(*size), "image/png", None)
    with pytest.raises(RemoteTooLarge):
        await world.thumbnails.require(ELSEWHERE, "bomb", ThumbnailRequest(32, 32))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"just text",
        b"<svg xmlns='http://www.w3.org/2000/svg'/>",
        bomb(100, 100),  # holds too few pixels
        picture(100, 100, "JPEG")[:400],
        picture(100, 100, "PNG")[:60],
        picture(100, 100, "GIF")[:30],
        b"\xff\xd8\xff" + bytes(100),
        picture(50, 50, "TIFF"),
        bomb(0, 10),
    ],
)
async def test_what_is_no_picture_gets_none(world: MediaWorld, data: bytes) -> None:
    with pytest.raises(Unknown):
        await thumbnail(world, data, 32, 32)


async def test_thumbnail_is_made_once_for_all_who_ask(world: MediaWorld, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[Any] = []
    really = thumbnails_module.make_thumbnail

    def counted(*arguments: Any) -> Any:
        made.append(arguments)
        return really(*arguments)

    monkeypatch.setattr(thumbnails_module, "make_thumbnail", counted)
    media_id = await world.upload(picture(400, 300))
    asked = [world.thumbnails.require(HERE, media_id, ThumbnailRequest(width, 90)) for width in (64, 90, 96)]
    files = await asyncio.gather(*asked)
    await world.thumbnails.require(HERE, media_id, ThumbnailRequest(70, 70))
    assert len(made) == 1
    assert len({file.digest for file in files}) == 1


async def test_thumbnail_that_was_lost_is_made_again(world: MediaWorld) -> None:
    media_id = await world.upload(picture(400, 300))
    file = await world.thumbnails.require_local(media_id, ThumbnailRequest(64, 64))
    file.path.unlink()
    assert (await world.thumbnails.require_local(media_id, ThumbnailRequest(64, 64))).path.exists()


async def test_unknown_media_has_no_thumbnail(world: MediaWorld) -> None:
    with pytest.raises(NotFound):
        await world.thumbnails.require_local("unknown", ThumbnailRequest(64, 64))


async def test_picture_that_could_be_transparent_and_is_not_becomes_a_jpeg(world: MediaWorld) -> None:
    image = opened(picture(400, 300)).convert("RGBA")
    output = io.BytesIO()
    image.save(output, "WEBP")
    _, content_type = await thumbnail(world, output.getvalue(), 32, 32)
    assert content_type == "image/jpeg"
