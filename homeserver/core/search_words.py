"""The words of a text as full-text search knows them: of what is searched, and of what is searched for.

Both engines index these words rather than the text, so they find the same. Case, width and the accents of Latin, Greek
and Cyrillic letters make no difference; scripts that put no spaces between words (Chinese, Japanese) count every
character as a word, and several in a row as a phrase.
"""

import re
import unicodedata
from collections.abc import Iterator, Sequence
from itertools import islice
from typing import Final

MAX_LETTERS: Final = 100_000
"""So many of a text are indexed: PostgreSQL takes no row whose words need a MiB, at the worst eight bytes a letter."""
MAX_TERMS: Final = 32
_MAX_WORD: Final = 64
_ACCENTS: Final = re.compile("[\u0300-\u036f]")
_CJK: Final = "\u3040-\u30ff\u31f0-\u31ff\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\uff66-\uff9f\U00020000-\U0003ffff"
Term = tuple[str, ...]
"""A word, or several that must follow each other."""


def _marks() -> str:
    """The signs of other scripts that stand within words, but that the regular expressions do not count as letters."""
    codes = [*range(0x370, 0x3000), *range(0xA600, 0xAC00), *range(0xFB00, 0xFE70)]
    return "".join(c for c in map(chr, codes) if unicodedata.category(c).startswith("M"))


_WORD: Final = re.compile(rf"[{_CJK}]|(?:(?![{_CJK}])[^\W_]|[{re.escape(_marks())}])+")
_ASCII_WORD: Final = re.compile("[a-z0-9]+")
_CHUNK: Final = re.compile(r'"([^"]*)"|(\S+)')


def words_of(text: str) -> list[str]:
    """The words of a text in order, repeated ones too; of at most `MAX_LETTERS`."""
    if len(text) <= MAX_LETTERS and text.isascii():
        return [word[:_MAX_WORD] for word in _ASCII_WORD.findall(text.lower())]
    found: list[str] = []
    left = MAX_LETTERS
    for word in _words(text):
        left -= len(word)
        if left < 0:
            break
        found.append(word)
    return found


def terms_of(search_term: str) -> list[Term]:
    """What a text must hold to be found, all of it: words, and phrases where they stand in quotes or have no spaces."""
    terms: list[Term] = []
    for quoted, plain in _CHUNK.findall(search_term):
        term = tuple(islice(_words(quoted or plain), MAX_TERMS))
        if term and term not in terms:
            terms.append(term)
    return terms[:MAX_TERMS]


def highlights_of(terms: Sequence[Term]) -> list[str]:
    """The words to show as found."""
    found: list[str] = []
    for term in terms:
        found += ["".join(term)] if all(re.fullmatch(f"[{_CJK}]", word) for word in term) else term
    return list(dict.fromkeys(found))


def begin_with(words: Sequence[str], terms: Sequence[Term]) -> bool:
    """Whether every word of the terms is the beginning of one of the words."""
    return all(any(word.startswith(wanted) for word in words) for term in terms for wanted in term)


def _words(text: str) -> Iterator[str]:
    if text.isascii():
        pattern, plain = _ASCII_WORD, text.lower()
    else:
        pattern, plain = _WORD, _plain(text)
    for match in pattern.finditer(plain):
        yield match.group()[:_MAX_WORD]


def _plain(text: str) -> str:
    folded = unicodedata.normalize("NFD", unicodedata.normalize("NFKC", text).casefold())
    return unicodedata.normalize("NFC", _ACCENTS.sub("", folded))
