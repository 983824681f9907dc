"""The files of the media repository on disk, each named by the SHA-256 of what is in it: the same bytes are kept once.

A file is written beside the others, made durable, and then renamed, so that under its name it is always whole. All
the work on files is done in threads, in large pieces.
"""

import asyncio
import hashlib
import os
import re
import tempfile
from collections.abc import AsyncIterator, Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO, Final, cast

from homeserver.errors import TooLarge

_PIECE: Final = 512 * 1024
_NAME = re.compile(r"[0-9a-f]{64}")


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file in the store: its name there (the SHA-256 of its bytes, hex), and its size in bytes."""

    name: str
    size: int


class MediaStore:
    """Files below one folder, two levels deep: `ab/cd/abcd…`. Processes may share the folder."""

    def __init__(self, root: Path) -> None:
        self._root = root
        self._incoming = root / "incoming"

    def path_of(self, name: str) -> Path:
        """Where a file is. ValueError for what is not a name of the store's."""
        if _NAME.fullmatch(name) is None:
            raise ValueError("this is not the name of a stored file")
        return self._root / name[:2] / name[2:4] / name

    async def receive(self, pieces: AsyncIterator[bytes], limit: int) -> StoredFile:
        """Keep what comes. Raises TooLarge as soon as it is over `limit` bytes; then nothing of it stays."""
        draft = await asyncio.to_thread(_Draft, self._incoming)
        try:
            async for batch in _batches(pieces, limit):
                await draft.add(batch)
            return await draft.keep(self)
        finally:
            await draft.discard()

    async def spool(self) -> BinaryIO:
        """An unnamed file on the disk where the media are, gone once it is closed: for what is not media yet."""
        return await asyncio.to_thread(_spool, self._incoming)

    async def keep(self, data: bytes) -> StoredFile:
        """Keep something small."""

        async def once() -> AsyncIterator[bytes]:
            yield data

        return await self.receive(once(), len(data))

    async def remove(self, name: str, *, unless_newer_than: float) -> None:
        """Remove a file that nothing refers to, unless it was kept (again) since: seconds since the epoch."""
        await asyncio.to_thread(_remove, self.path_of(name), unless_newer_than)

    async def remove_unfinished(self, *, unless_newer_than: float) -> None:
        """Remove what was left by uploads whose process was killed."""
        await asyncio.to_thread(_remove_drafts, self._incoming, unless_newer_than)


def _spool(folder: Path) -> BinaryIO:
    folder.mkdir(mode=0o750, parents=True, exist_ok=True)
    return cast("BinaryIO", tempfile.TemporaryFile(dir=folder))


class _Draft:
    """A file that is being written. The next piece may be read while a thread still hashes and writes the last."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir(mode=0o750, parents=True, exist_ok=True)
        descriptor, path = tempfile.mkstemp(dir=folder)
        self._file: BinaryIO = os.fdopen(descriptor, "wb", buffering=0)
        self._path = Path(path)
        self._hash = hashlib.sha256()
        self._size = 0
        self._writing: asyncio.Future[Any] | None = None

    async def add(self, batch: list[bytes]) -> None:
        """Hash and write, once what was given before has been."""
        await self._settle()
        self._start(self._write, batch)

    async def keep(self, store: MediaStore) -> StoredFile:
        """Make it durable under its name."""
        await self._settle()
        self._start(self._keep, store)
        await self._settle()
        return StoredFile(self._hash.hexdigest(), self._size)

    async def discard(self) -> None:
        """Remove what was not kept."""
        try:
            with suppress(OSError):
                await self._settle()
        finally:
            writing = self._writing
            if writing is None or writing.done():
                self._remove()
            else:  # cancelled again: a thread cannot be stopped, and must not find its file closed
                writing.add_done_callback(lambda _: self._remove())

    def _start(self, work: Callable[[Any], None], argument: Any) -> None:
        self._writing = asyncio.get_running_loop().run_in_executor(None, work, argument)

    async def _settle(self) -> None:
        # Shielded, so that being cancelled does not make the future look done before the thread is.
        if self._writing is not None:
            await asyncio.shield(self._writing)

    def _write(self, batch: list[bytes]) -> None:
        for piece in batch:
            self._hash.update(piece)
            self._size += len(piece)
            rest = memoryview(piece)
            while rest:
                rest = rest[self._file.write(rest) :]

    def _keep(self, store: MediaStore) -> None:
        os.fsync(self._file.fileno())
        self._file.close()
        path = store.path_of(self._hash.hexdigest())
        _make_folder(path.parent)
        # A file of the same bytes is replaced rather than left, so that its age says when it was last kept.
        self._path.replace(path)
        _sync_folder(path.parent)

    def _remove(self) -> None:
        self._file.close()
        self._path.unlink(missing_ok=True)


async def _batches(pieces: AsyncIterator[bytes], limit: int) -> AsyncIterator[list[bytes]]:
    """The pieces, several at a time: a thread's work must be worth the way to it."""
    batch: list[bytes] = []
    waiting = total = 0
    async for piece in pieces:
        waiting += len(piece)
        total += len(piece)
        if total > limit:
            raise TooLarge(f"Files may be at most {limit} bytes large")
        batch.append(piece)
        if waiting >= _PIECE:
            yield batch
            batch, waiting = [], 0
    if batch:
        yield batch


def _make_folder(folder: Path) -> None:
    """Make a folder, durably, with those above it."""
    if folder.is_dir():
        return
    _make_folder(folder.parent)
    with suppress(FileExistsError):
        folder.mkdir(mode=0o750)
    _sync_folder(folder.parent)


def _sync_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove(path: Path, unless_newer_than: float) -> None:
    with suppress(FileNotFoundError):
        if path.stat().st_mtime <= unless_newer_than:
            path.unlink()


def _remove_drafts(folder: Path, unless_newer_than: float) -> None:
    if folder.is_dir():
        for path in folder.iterdir():
            _remove(path, unless_newer_than)
