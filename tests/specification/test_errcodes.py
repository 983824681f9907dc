"""The error codes that services may answer with, against those that the specification and its proposals name."""

from collections.abc import Iterator

import pytest

from homeserver.errors import MatrixError
from tests.specification.answers import UNSTABLE, errcodes


def _all_below(kind: type[MatrixError]) -> Iterator[type[MatrixError]]:
    for below in kind.__subclasses__():
        yield below
        yield from _all_below(below)


@pytest.mark.parametrize("kind", [*_all_below(MatrixError)], ids=lambda kind: kind.__name__)
def test_error_code_is_known_and_explained(kind: type[MatrixError]) -> None:
    assert kind.errcode in errcodes() or UNSTABLE.fullmatch(kind.errcode)
    assert len(kind.default_message.split()) > 1
