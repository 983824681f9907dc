"""Generated files are current: a page that lags behind the program misleads whoever trusts it."""

import pytest

from tests.architecture.sources import PROJECT
from tools.generate import GENERATED


@pytest.mark.parametrize("name", sorted(GENERATED))
def test_generated_file_is_current(name: str) -> None:
    path = PROJECT / name
    assert path.exists(), f"{name} is missing: run `make generate`"
    assert path.read_text() == GENERATED[name](), f"{name} is out of date: run `make generate`"
