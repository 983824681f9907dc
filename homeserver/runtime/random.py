"""Randomness as a parameter. Only this file asks for any."""

import hashlib
import secrets
from base64 import urlsafe_b64encode

_LETTERS = "abcdefghijklmnopqrstuvwxyz"
_UPPER = "ABCDEFGHIJKLMNOPQRSTUVWXYZ"
_ALPHANUMERIC = _LETTERS + _UPPER + "0123456789"


class Randomness:
    """Unpredictable values, from the operating system."""

    def bytes(self, count: int) -> bytes:
        """So many random bytes."""
        return secrets.token_bytes(count)

    def below(self, bound: int) -> int:
        """An integer of [0, bound)."""
        return int.from_bytes(self.bytes(16), "big") % bound

    def token(self, count: int = 32) -> str:
        """A URL-safe text that holds `count` random bytes: access tokens, nonces, session ids."""
        return urlsafe_b64encode(self.bytes(count)).rstrip(b"=").decode("ascii")

    def alphanumeric(self, length: int) -> str:
        """So many ASCII letters and digits, about 5.9 bits each."""
        return self._of(_ALPHANUMERIC, length)

    def opaque_id(self) -> str:
        """The opaque part of a room id or of an event id of room versions 1 and 2: 18 letters."""
        return self._of(_LETTERS + _UPPER, 18)

    def device_id(self) -> str:
        """A new device's id: ten upper-case letters, as people have to compare them by eye."""
        return self._of(_UPPER, 10)

    def uniform(self) -> float:
        """A number of [0, 1)."""
        return int.from_bytes(self.bytes(7), "big") / (1 << 56)

    def jitter(self, seconds: float, spread: float = 0.2) -> float:
        """`seconds`, up to `spread` (a part of it) shorter or longer, so that crowds do not come back in step."""
        return seconds * (1 + spread * (2 * self.uniform() - 1))

    def _of(self, alphabet: str, length: int) -> str:
        size = len(alphabet)
        number = int.from_bytes(self.bytes(length + 8), "big")
        letters: list[str] = []
        for _ in range(length):
            number, index = divmod(number, size)
            letters.append(alphabet[index])
        return "".join(letters)


class SeededRandomness(Randomness):
    """For tests: the same values for the same seed, in the same order."""

    def __init__(self, seed: int | str = 0) -> None:
        self._seed = str(seed).encode()
        self._count = 0

    def bytes(self, count: int) -> bytes:
        self._count += 1
        return hashlib.shake_256(self._seed + b":%d" % self._count).digest(count)
