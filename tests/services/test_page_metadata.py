"""Titles, descriptions and pictures of pages, in every encoding, and of pages that are made to be slow."""

import time

import pytest

from homeserver.services.html_tokens import Tag, tokens
from homeserver.services.page_encoding import text_of
from homeserver.services.page_metadata import Metadata, add_oembed, metadata_of_html

URL = "https://example.org/a/page.html"


def properties(page: str) -> dict[str, str]:
    return metadata_of_html(page, URL).properties


def test_open_graph_counts_before_title_and_text() -> None:
    found = metadata_of_html(
        """<head><title>Title</title><meta property="og:title" content="Better &amp; shorter">
        <meta name=description content='Plain'><META PROPERTY="og:description" CONTENT="Rich">
        <meta property="og:type" content="article"><meta property=og:image content=../x.png></head><body>Text</body>""",
        URL,
    )
    assert found.properties == {"og:title": "Better & shorter", "og:description": "Rich", "og:type": "article"}
    assert found.image == "https://example.org/x.png"


def test_page_without_open_graph_gives_title_and_first_words() -> None:
    page = """<title> A
      title </title><style>p {}</style><nav>Menu</nav><h1>Heading</h1><script>if (a < b) "<p>"</script>
      <p>First <b>words</b>.</p><!-- <p>no --><p>More.</p><footer>Legal</footer>
      <img src=/one.gif width=1><img src=/two.gif>"""
    found = metadata_of_html(page, URL)
    assert found.properties == {"og:title": "A title", "og:description": "First words . More."}
    assert found.image == "https://example.org/two.gif"


def test_heading_stands_in_for_a_missing_title() -> None:
    assert properties("<h1>Heading</h1><p>Text")["og:title"] == "Heading"


def test_twitter_card_stands_in_for_open_graph() -> None:
    page = "<meta name=twitter:title content=T><meta name=twitter:image content=/i.png>"
    found = metadata_of_html(page, URL)
    assert (found.properties, found.image) == ({"og:title": "T"}, "https://example.org/i.png")


def test_base_of_page_counts_for_its_pictures() -> None:
    assert metadata_of_html('<base href="//cdn.test/d/"><meta property=og:image content=i.png>', URL).image == (
        "https://cdn.test/d/i.png"
    )


def test_long_text_is_cut_between_words() -> None:
    description = properties("<p>" + "word " * 300)["og:description"]
    assert len(description) <= 501
    assert description.endswith("word…")


def test_page_may_not_name_its_own_mxc_picture_or_size() -> None:
    page = "<meta property=og:image:width content=5><meta property=matrix:image:size content=7><title>T</title>"
    assert properties(page) == {"og:title": "T"}


def test_quoted_greater_than_sign_does_not_end_a_tag() -> None:
    assert properties('<meta property="og:title" content="a > b">')["og:title"] == "a > b"


def test_oembed_fills_in_only_what_is_missing() -> None:
    found = Metadata({"og:title": "Mine"}, None, None)
    add_oembed(found, {"title": "Other", "provider_name": "P", "type": "photo", "url": "/p.jpg"}, URL)
    assert found.properties == {"og:title": "Mine", "og:site_name": "P"}
    assert found.image == "https://example.org/p.jpg"


@pytest.mark.parametrize("answer", [None, [], "x", {"title": 5, "thumbnail_url": []}])
def test_oembed_nonsense_is_passed_over(answer: object) -> None:
    found = Metadata()
    add_oembed(found, answer, URL)
    assert (found.properties, found.image) == ({}, None)


def test_oembed_link_is_found() -> None:
    page = '<link rel=alternate type="application/json+oembed" href="/oembed?u=1&amp;f=json">'
    assert metadata_of_html(page, URL).oembed == "https://example.org/oembed?u=1&f=json"


@pytest.mark.parametrize(
    "page",
    ["<", "<a", "<a ", "<a b", "<a b=", "<a b='", "<!--", "<!-->x", "</", "</a", "<?", "<title>", "<script", "<a =b>"],
)
def test_page_that_ends_anywhere_is_read(page: str) -> None:
    assert all(isinstance(token, str | Tag) for token in tokens(page))


@pytest.mark.parametrize(
    "piece",
    ["<", "<a", "<!--", "</", "<a '", '<a b="', "<script>", "</script", "<a b=c ", "<title>", "<header>", "&amp"],
)
def test_time_to_read_a_page_grows_no_faster_than_its_length(piece: str) -> None:
    page = piece * (400_000 // len(piece))
    began = time.process_time()
    metadata_of_html(page, URL)
    assert time.process_time() - began < 10, "quadratic time would take minutes"


@pytest.mark.parametrize(
    ("body", "charset"),
    [
        ("é".encode("latin-1"), "iso-8859-1"),
        ("é".encode(), None),
        ("é ".encode("cp1252"), None),
        ("é".encode("utf-16"), "utf-8"),
        ("é".encode(), "no-such-charset"),
        ("é".encode(), "hex"),
    ],
)
def test_encoding_is_found_out(body: bytes, charset: str | None) -> None:
    assert text_of(body, charset).strip() == "é"


def test_page_says_its_encoding_itself() -> None:
    assert "тест" in text_of(b'<meta charset="windows-1251">' + "тест".encode("cp1251"), None)
    head = b'<meta http-equiv=content-type content="text/html; charset=shift_jis">'
    assert "日本" in text_of(head + "日本".encode("cp932"), None)


def test_character_that_was_cut_in_two_is_left_out() -> None:
    assert text_of("aé".encode()[:2], None) == "a"
