"""Content types and file names, in and out of headers."""

import pytest

from homeserver.errors import InvalidParam
from homeserver.services.media_names import (
    check_file_name,
    clean_content_type,
    content_disposition,
    file_name_in,
)


@pytest.mark.parametrize(
    "good",
    ["text/plain", "text/plain; charset=utf-8", 'a/b;x="y z"', "image/svg+xml", "application/vnd.ms-x.y;a=b;c=d"],
)
def test_content_type_is_kept_as_it_is(good: str) -> None:
    assert clean_content_type(good) == good


@pytest.mark.parametrize(
    "bad", [None, "", "text", "text/", "a/b\r\nX: y", "a/b; x", "té/xt", "a/" + "b" * 300, "a b/c"]
)
def test_what_is_no_content_type_becomes_octet_stream(bad: str | None) -> None:
    assert clean_content_type(bad) == "application/octet-stream"


@pytest.mark.parametrize("inline", ["image/png", "IMAGE/PNG", "text/plain; charset=utf-8", "audio/x-pn-wav"])
def test_safe_types_are_shown(inline: str) -> None:
    assert content_disposition(inline, None) == "inline"


@pytest.mark.parametrize("attached", ["text/html", "image/svg+xml", "application/pdf", "application/octet-stream", ""])
def test_all_other_types_are_downloaded(attached: str) -> None:
    assert content_disposition(attached, None) == "attachment"


@pytest.mark.parametrize(
    ("name", "header"),
    [
        ("a b;c.txt", 'inline; filename="a b;c.txt"'),
        ('say "\\o/".txt', 'inline; filename="say \\"\\\\o/\\".txt"'),
        ("Ünï.txt", "inline; filename*=utf-8''%C3%9Cn%C3%AF.txt"),
        ("a\r\nb", "inline; filename*=utf-8''a%0D%0Ab"),
    ],
)
def test_file_name_survives_the_header(name: str, header: str) -> None:
    assert content_disposition("text/plain", name) == header
    assert file_name_in(header) == name


@pytest.mark.parametrize(
    ("header", "name"),
    [
        (None, None),
        ("inline", None),
        ("attachment; filename=", None),
        ("attachment; filename=plain.txt", "plain.txt"),
        ("attachment; FILENAME = plain.txt ; x=y", "plain.txt"),
        ("attachment; filename=\"old\"; filename*=UTF-8'en'n%C3%A9w", "néw"),
        ('attachment; filename="a; filename=evil"', "a; filename=evil"),
        ("attachment; filename*=utf-8''%FF%00x", "\N{REPLACEMENT CHARACTER}x"),
        (";" * 5000 + " " * 5000, None),
    ],
)
def test_file_name_of_another_server_is_understood(header: str | None, name: str | None) -> None:
    assert file_name_in(header) == name


def test_overlong_file_name_is_refused() -> None:
    assert check_file_name("") is None
    with pytest.raises(InvalidParam):
        check_file_name("x" * 513)
