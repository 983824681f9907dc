"""Names and texts that help: no drawers for anything, one version of the specification, nothing of one machine."""

import os
import re
from pathlib import Path

import pytest

from tests.architecture.sources import PROJECT, sources

EMPTY_WORDS = {"utils", "util", "helpers", "helper", "manager", "common", "misc", "base"}
SPECIFICATION_VERSION = "v1.19"
SPECIFICATION_LINK = re.compile(r"spec\.matrix\.org/([^/\s\"'`)]+)")
TEXT_SUFFIXES = {".py", ".md", ".toml", ".yaml", ".yml", ".json", ".txt", ".sh", ".lock", ".ini", ".mako", ""}
SKIPPED_FOLDERS = {
    ".git", ".venv", ".cache", "__pycache__", ".pytest_cache", ".ruff_cache", ".hypothesis", "data", "node_modules",
}  # fmt: skip
OF_ONE_MACHINE = re.compile(r"(?<![\w.])/work/|(?<![\w.])/root/|index-url|files\.pythonhosted\.org|pypi\.org/simple")


def texts() -> list[Path]:
    """Every text file of the project."""
    found: list[Path] = []
    for folder, folders, files in os.walk(PROJECT):
        folders[:] = [name for name in folders if name not in SKIPPED_FOLDERS and not name.startswith(".venv")]
        found += [Path(folder, name) for name in files if Path(name).suffix in TEXT_SUFFIXES]
    return found


def test_modules_have_telling_names() -> None:
    wrong = [source.path for source in sources() if EMPTY_WORDS & set(Path(source.path).stem.split("_"))]
    assert not wrong, f"a module's name says what is in it, and one of {sorted(EMPTY_WORDS)} does not: {wrong}"


def test_every_link_names_the_same_version_of_the_specification() -> None:
    wrong = [
        f"{path.relative_to(PROJECT)}: {version}"
        for path in texts()
        for version in SPECIFICATION_LINK.findall(path.read_text(errors="replace"))
        if version != SPECIFICATION_VERSION
    ]
    assert not wrong, f"links to the specification name {SPECIFICATION_VERSION}\n" + "\n".join(wrong)


@pytest.mark.parametrize("place", ["pyproject.toml", "requirements.lock", "requirements-dev.lock", "Makefile"])
def test_nothing_depends_on_one_machine(place: str) -> None:
    assert not OF_ONE_MACHINE.findall((PROJECT / place).read_text()), f"{place} must work on any machine"
