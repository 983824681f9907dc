"""Passwords: hashed with Argon2id on threads, since each takes a good part of the time that a login may take."""

import asyncio
from concurrent.futures import ThreadPoolExecutor

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError

from homeserver.config.account_sections import Passwords as PasswordsConfig
from homeserver.errors import InvalidParam, WeakPassword

MAX_LENGTH = 512


class Passwords:
    """Makes and checks hashes. `threads` bounds how many are under way at once, each with its own memory."""

    def __init__(self, config: PasswordsConfig, *, min_length: int = 8, threads: int = 2) -> None:
        self._min_length = min_length
        self._hasher = PasswordHasher(
            time_cost=config.iterations, memory_cost=config.memory_kib, parallelism=config.lanes
        )
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix="passwords")
        self._nobodys: str | None = None

    def require_strong(self, password: str) -> None:
        """Raises WeakPassword where it is too short, InvalidParam where it is too long."""
        if len(password) < self._min_length:
            raise WeakPassword(f"The password needs at least {self._min_length} characters")
        if len(password) > MAX_LENGTH:
            raise InvalidParam(f"The password has more than {MAX_LENGTH} characters")

    async def hash(self, password: str) -> str:
        """What is stored of a password."""
        return await asyncio.get_running_loop().run_in_executor(self._threads, self._hasher.hash, _bytes(password))

    async def is_right(self, password_hash: str | None, password: str) -> bool:
        """Whether the password is the one that was hashed; without a hash it takes as long to say no."""
        if self._nobodys is None:
            self._nobodys = await self.hash("nobody's")
        if len(password) > MAX_LENGTH:
            return False
        right = await asyncio.get_running_loop().run_in_executor(
            self._threads, self._verify, password_hash or self._nobodys, _bytes(password)
        )
        return right and password_hash is not None

    def is_outdated(self, password_hash: str) -> bool:
        """Whether it was made with another cost than is configured now."""
        return self._hasher.check_needs_rehash(password_hash)

    def close(self) -> None:
        """Stop the threads."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _verify(self, password_hash: str, password: bytes) -> bool:
        try:
            return self._hasher.verify(password_hash, password)
        except (VerificationError, InvalidHashError):
            return False


def _bytes(password: str) -> bytes:
    return password.encode(errors="surrogatepass")
