"""Loads a config: YAML file, then environment variables over it, then checks. Says everything that is wrong at once."""

import os
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from homeserver.config.checks import check
from homeserver.config.sections import Config
from homeserver.config.values import EnvironmentText, Problem, Reader

ENVIRONMENT_PREFIX = "HEARTH__"


class ConfigError(Exception):
    """The config cannot be used. `problems` names each path with what was expected there and what was found."""

    def __init__(self, problems: list[Problem], source: str) -> None:
        self.problems = problems
        self.source = source
        count = "1 problem" if len(problems) == 1 else f"{len(problems)} problems"
        super().__init__(f"{count} in {source}:\n" + "\n".join(f"  {problem}" for problem in problems))


def load(path: str | Path, environment: Mapping[str, str] | None = None) -> Config:
    """The config of a YAML file. `environment` (the process's own where None) overrides: HEARTH__SECTION__OPTION=value.

    Raises ConfigError.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([Problem("the file", f"cannot be read: {error}")], str(path)) from None
    return from_mapping(
        _parse(text, str(path)), path.resolve().parent, os.environ if environment is None else environment, str(path)
    )


def from_mapping(
    data: object, folder: str | Path = ".", environment: Mapping[str, str] | None = None, source: str = "the config"
) -> Config:
    """The config of plain data, as YAML would give it; relative paths count from `folder`. Raises ConfigError."""
    reader = Reader(Path(folder).resolve())
    data = _overridden(data, environment or {})
    config: Config | None = reader.section(Config, data, "")
    if config is None or reader.problems:
        raise ConfigError(reader.problems, source)
    config = _completed(config, reader.folder)
    if problems := check(config):
        raise ConfigError(problems, source)
    return config


def _parse(text: str, source: str) -> Any:
    import yaml

    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        return yaml.load(text, Loader=loader)  # noqa: S506 (the C edition of the safe loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        where = f"line {mark.line + 1}, column {mark.column + 1}" if mark else "the file"
        what = getattr(error, "problem", None) or "it cannot be parsed"
        raise ConfigError([Problem(where, f"expected YAML, found: {what}")], source) from None


def _overridden(data: object, environment: Mapping[str, str]) -> object:
    """`data` with what HEARTH__… variables say put over it."""
    changes = {key: value for key, value in environment.items() if key.startswith(ENVIRONMENT_PREFIX)}
    if not changes or not isinstance(data, Mapping | None):
        return data
    result: dict[str, Any] = dict(cast("Mapping[str, Any]", data or {}))
    for key, text in sorted(changes.items()):
        *parents, name = key[len(ENVIRONMENT_PREFIX) :].lower().split("__")
        target = result
        for parent in parents:
            inner = target.get(parent)
            copy: dict[str, Any] = dict(cast("Mapping[str, Any]", inner)) if isinstance(inner, Mapping) else {}
            target[parent] = copy
            target = copy
        target[name] = EnvironmentText(text)
    return result


def _completed(config: Config, folder: Path) -> Config:
    """Fills in the paths whose defaults depend on others."""
    data_dir = folder / config.server.data_dir
    server = replace(
        config.server,
        data_dir=str(data_dir),
        signing_key=config.server.signing_key or str(data_dir / "signing.key"),
    )
    media = replace(config.media, path=config.media.path or str(data_dir / "media"))
    url = config.database.url or f"sqlite:///{data_dir / 'hearth.db'}"
    if url.startswith("sqlite:///"):
        url = f"sqlite:///{folder / url.removeprefix('sqlite:///')}"
    return replace(config, server=server, media=media, database=replace(config.database, url=url))
