"""Skips the comparison with Synapse only where no Synapse is named."""

import os
from collections.abc import Iterator

import pytest

from tests.differential.reference import VARIABLE, Synapse


@pytest.fixture(scope="module")
def synapse() -> Iterator[Synapse]:
    """Synapse's own code, answering questions. Skips where HEARTH_SYNAPSE_PYTHON is not set."""
    python = os.environ.get(VARIABLE)
    if not python:
        pytest.skip(f"{VARIABLE} is not set")
    driver = Synapse(python)
    yield driver
    driver.close()
