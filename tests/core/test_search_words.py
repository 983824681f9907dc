"""Words of full-text search."""

import pytest

from homeserver.core.search_words import MAX_LETTERS, MAX_TERMS, begin_with, highlights_of, terms_of, words_of


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("Hello, World!", ["hello", "world"]),
        ("Ärger über Zoë", ["arger", "uber", "zoe"]),
        ("STRASSE Straße", ["strasse", "strasse"]),
        ("snake_case foo-bar a.b", ["snake", "case", "foo", "bar", "a", "b"]),
        ("ｆｕｌｌ ｗｉｄｔｈ", ["full", "width"]),
        ("日本語 text", ["日", "本", "語", "text"]),
        ("हिन्दी", ["हिन्दी"]),
        ("1e5 v2.0", ["1e5", "v2", "0"]),
        ("", []),
        ("!?…", []),
    ],
)
def test_words_are_told_apart_and_folded(text: str, words: list[str]) -> None:
    assert words_of(text) == words


def test_terms_are_words_and_phrases() -> None:
    assert terms_of('big "red Fox" jumps jumps') == [("big",), ("red", "fox"), ("jumps",)]
    assert terms_of("foo-bar 日本") == [("foo", "bar"), ("日", "本")]
    assert terms_of('"') == terms_of('"" !') == []
    assert terms_of('unclosed "quote') == [("unclosed",), ("quote",)]


def test_found_words_are_highlighted() -> None:
    assert highlights_of(terms_of('"red fox" fox 日本')) == ["red", "fox", "日本"]


def test_long_texts_and_questions_are_cut_off() -> None:
    assert len(words_of("ab " * 100_000)) == MAX_LETTERS // 2
    assert words_of("x" * 1000) == ["x" * 64]
    assert len(terms_of(" ".join(map(str, range(1000))))) == MAX_TERMS


def test_beginnings_of_words_are_enough_for_names() -> None:
    assert begin_with(["alice", "cooper"], terms_of("coo ali"))
    assert not begin_with(["alice", "cooper"], terms_of("alice x"))
