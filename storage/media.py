"""The media repository's index: what there is, under which id, and as which file of the media store it is kept."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast

from sqlalchemy import ColumnElement, Select, and_, func, select

from storage.database import Read, Write
from storage.streams import Stream
from storage.tables import media, media_thumbnails


@dataclass(frozen=True, slots=True)
class MediaRow:
    """One media id. Times are ms since the epoch, `size` is in bytes.

    `stored_as`, `sha256` (hex) and `size` are None while the id waits for its upload; `user_id` is None for media of
    other servers.
    """

    origin: str
    media_id: str
    content_type: str | None
    upload_name: str | None
    size: int | None
    sha256: str | None
    created_at: int
    last_access_at: int | None
    user_id: str | None
    quarantined: bool
    stored_as: str | None


@dataclass(frozen=True, slots=True)
class ThumbnailRow:
    """One thumbnail. `width` and `height` are the size it was made for; the picture itself may be smaller."""

    origin: str
    media_id: str
    width: int
    height: int
    method: Literal["crop", "scale"]
    content_type: str
    size: int
    stored_as: str


async def media_of(tx: Read, origin: str, media_id: str) -> MediaRow | None:
    """The media of one id."""
    rows = await _media(tx, _all_media().where(_is(origin, media_id)))
    return rows[0] if rows else None


def put(tx: Write, row: MediaRow) -> None:
    """Keep media that is there, whole; the same id of another server may be written again."""
    tx.upsert(media, **{name: getattr(row, name) for name in MediaRow.__slots__})


async def put_pending(tx: Write, origin: str, media_id: str, user_id: str, now_ms: int) -> None:
    """Keep an id that waits for its upload; the operations after it in the batch see it."""
    values = {"origin": origin, "media_id": media_id, "user_id": user_id, "created_at": now_ms, "quarantined": False}
    await tx.execute(media.insert().values(**values))


async def count_pending(tx: Read, origin: str, user_id: str, since_ms: int) -> int:
    """How many ids that were created after `since_ms` still wait for this user's upload."""
    table = media.c
    statement = select(func.count()).where(
        table.user_id == user_id, table.created_at > since_ms, table.origin == origin, table.stored_as.is_(None)
    )
    return int(await tx.fetch_value(statement) or 0)


async def oldest_pending(tx: Read, origin: str, user_id: str, since_ms: int) -> int | None:
    """When the oldest of these was created."""
    table = media.c
    statement = select(func.min(table.created_at)).where(
        table.user_id == user_id, table.created_at > since_ms, table.origin == origin, table.stored_as.is_(None)
    )
    return cast("int | None", await tx.fetch_value(statement))


async def complete(tx: Write, row: MediaRow) -> bool:
    """Let an id that waits have its upload; False where it has one already, or is gone. Whoever waits is told."""
    values: dict[str, Any] = {
        "content_type": row.content_type,
        "upload_name": row.upload_name,
        "size": row.size,
        "sha256": row.sha256,
        "stored_as": row.stored_as,
        "last_access_at": row.last_access_at,
    }
    where = and_(_is(row.origin, row.media_id), media.c.stored_as.is_(None))
    if not await tx.execute(media.update().where(where).values(**values)):
        return False
    tx.position(Stream.MEDIA, row.media_id)
    return True


def touch(tx: Write, origin: str, media_id: str, now_ms: int) -> None:
    """Note that somebody asked for it."""
    tx.update(media, {"origin": origin, "media_id": media_id}, last_access_at=now_ms)


async def thumbnail_of(
    tx: Read, origin: str, media_id: str, width: int, height: int, method: Literal["crop", "scale"]
) -> ThumbnailRow | None:
    """The thumbnail that was made for this size."""
    table = media_thumbnails.c
    statement = _all_thumbnails().where(
        table.origin == origin,
        table.media_id == media_id,
        table.width == width,
        table.height == height,
        table.method == method,
    )
    row = await tx.fetch_one(statement)
    return None if row is None else ThumbnailRow(*row)


def put_thumbnail(tx: Write, row: ThumbnailRow) -> None:
    """Keep a thumbnail."""
    tx.upsert(media_thumbnails, **{name: getattr(row, name) for name in ThumbnailRow.__slots__})


# --- forgetting


async def unused_ids(tx: Read, origin: str, before_ms: int, limit: int) -> Sequence[MediaRow]:
    """Ids of this server that were created before `before_ms` and never got their upload."""
    table = media.c
    where = and_(table.origin == origin, table.stored_as.is_(None), table.created_at <= before_ms)
    return await _media(tx, _all_media().where(where).limit(limit))


async def unasked_remote(tx: Read, origin: str, before_ms: int, limit: int) -> Sequence[MediaRow]:
    """Media of servers other than `origin` that nobody asked for since `before_ms`. What is quarantined stays so."""
    table = media.c
    last = func.coalesce(table.last_access_at, table.created_at)
    where = and_(table.origin != origin, last < before_ms, table.quarantined.is_(False))
    return await _media(tx, _all_media().where(where).limit(limit))


async def thumbnails_of(tx: Read, origin: str, media_id: str) -> Sequence[ThumbnailRow]:
    """Every thumbnail of one id."""
    table = media_thumbnails.c
    rows = await tx.fetch_all(_all_thumbnails().where(table.origin == origin, table.media_id == media_id))
    return [ThumbnailRow(*row) for row in rows]


async def delete(tx: Write, origin: str, media_id: str, *, unless_asked_since: int | None) -> bool:
    """Forget an id and its thumbnails; False where somebody asked for it, or uploaded to it, in the meantime.

    `unless_asked_since` is ms since the epoch; None for an id that has no upload.
    """
    table = media.c
    if unless_asked_since is None:
        still = table.stored_as.is_(None)
    else:
        still = func.coalesce(table.last_access_at, table.created_at) < unless_asked_since
    if not await tx.execute(media.delete().where(_is(origin, media_id), still)):
        return False
    thumbnails = media_thumbnails.c
    await tx.execute(media_thumbnails.delete().where(thumbnails.origin == origin, thumbnails.media_id == media_id))
    return True


async def is_in_use(tx: Read, stored_as: str) -> bool:
    """Whether any media or thumbnail is kept in this file."""
    found = await tx.fetch_value(select(media.c.media_id).where(media.c.stored_as == stored_as).limit(1))
    if found is None:
        statement = select(media_thumbnails.c.media_id).where(media_thumbnails.c.stored_as == stored_as).limit(1)
        found = await tx.fetch_value(statement)
    return found is not None


def _is(origin: str, media_id: str) -> ColumnElement[bool]:
    return and_(media.c.origin == origin, media.c.media_id == media_id)


def _all_media() -> Select[Any]:
    return select(*(media.c[name] for name in MediaRow.__slots__))


def _all_thumbnails() -> Select[Any]:
    return select(*(media_thumbnails.c[name] for name in ThumbnailRow.__slots__))


async def _media(tx: Read, statement: Select[Any]) -> list[MediaRow]:
    return [MediaRow(*row) for row in await tx.fetch_all(statement)]
