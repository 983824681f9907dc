"""Media of other servers: read as they come, to the disk, within the limit."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import BinaryIO

import pytest

from federation.outbound.failures import FederationError
from federation.outbound.media_parts import MAX_HEAD, InvalidParts, parse
from federation.outbound.transport import Answer
from homeserver.errors import BadGateway, NotFound, RemoteTooLarge
from homeserver.services.media_store import MediaStore
from homeserver.services.remote_media import FederationMedia
from tests.federation.hearth import Hearth
from tests.federation.network import Network, Sent

TYPE = {"content-type": "multipart/mixed; boundary=b"}
HEAD = b"--b\r\nContent-Type: application/json\r\n\r\n{}\r\n--b\r\nContent-Type: image/png\r\n"
Answering = Callable[[Sent], Awaitable[Answer | None]]


def answering(*answers: Answer | FederationError) -> Answering:
    left = list(answers)

    async def answer(sent: Sent) -> Answer | None:
        if "/media/" not in sent.target and sent.destination != "cdn":
            return None
        following = left.pop(0)
        if isinstance(following, FederationError):
            raise following
        return following

    return answer


@pytest.fixture
def media(hs1: Hearth, tmp_path: Path) -> FederationMedia:
    return FederationMedia(hs1.outside.client, MediaStore(tmp_path / "media").spool)


async def downloaded(media: FederationMedia, max_bytes: int = 10_000_000) -> tuple[bytes, str | None, str | None]:
    file = await media.download("hs2", "m", timeout_ms=1000, max_bytes=max_bytes)
    return b"".join([piece async for piece in file.pieces]), file.content_type, file.file_name


@pytest.mark.parametrize(
    "content", [b"", b"x", b"\r\n--b", bytes(range(256)) * 4000], ids=["empty", "short", "like an end", "1 MB"]
)
async def test_the_file_is_the_second_part(media: FederationMedia, network: Network, content: bytes) -> None:
    body = HEAD + b'Content-Disposition: inline; filename="a.png"\r\n\r\n' + content + b"\r\n--b--\r\n"
    network.interferences.append(answering(Answer(200, TYPE, body)))
    assert await downloaded(media) == (content, "image/png", "a.png")


async def test_it_may_lie_elsewhere(media: FederationMedia, network: Network) -> None:
    body = b"--b\r\n\r\n{}\r\n--b\r\nLocation: https://cdn/file\r\n\r\n\r\n--b--"
    network.interferences.append(
        answering(Answer(200, TYPE, body), Answer(200, {"content-type": "text/plain"}, b"there"))
    )
    assert await downloaded(media) == (b"there", "text/plain", None)


async def test_or_be_had_from_the_older_endpoint_only(media: FederationMedia, network: Network) -> None:
    network.interferences.append(
        answering(
            Answer(404, {}, b'{"errcode":"M_UNRECOGNIZED","error":"?"}'),
            Answer(200, {"content-type": "text/plain"}, b"old"),
        )
    )
    assert await downloaded(media) == (b"old", "text/plain", None)


async def test_what_is_over_the_limit_is_refused(media: FederationMedia, network: Network) -> None:
    whole = HEAD + b"\r\n" + b"x" * 101 + b"\r\n--b--"
    too_long = HEAD + b"\r\n" + b"x" * (MAX_HEAD + 101) + b"\r\n--b--"
    network.interferences.append(answering(Answer(200, TYPE, whole), Answer(200, TYPE, too_long)))
    for _ in range(2):
        with pytest.raises(RemoteTooLarge):
            await downloaded(media, 100)


async def test_a_refusal_and_nonsense_are_told_apart(media: FederationMedia, network: Network) -> None:
    network.interferences.append(
        answering(Answer(404, {}, b'{"errcode":"M_NOT_FOUND","error":"no"}'), Answer(200, TYPE, b"nothing"))
    )
    with pytest.raises(NotFound):
        await downloaded(media)
    with pytest.raises(BadGateway):
        await downloaded(media)


@pytest.mark.parametrize("body", [b"", HEAD, HEAD + b"\r\nno end", b"--b\r\n\r\n{}\r\n--b--"])
def test_what_is_not_two_whole_parts_is_no_media(body: bytes, tmp_path: Path) -> None:
    path = tmp_path / "answer"
    path.write_bytes(body)
    file: BinaryIO
    with path.open("rb") as file, pytest.raises(InvalidParts):
        parse(TYPE["content-type"], file)
