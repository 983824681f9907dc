"""Imports go downwards only, as pyproject.toml's import-linter contracts draw it."""

import subprocess
import sys
from pathlib import Path

from tests.architecture.sources import PROJECT


def test_imports_follow_the_layers() -> None:
    program = Path(sys.executable).with_name("lint-imports")
    done = subprocess.run([program, "--no-cache"], cwd=PROJECT, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr
