"""From plain data (what YAML gives) to typed sections, collecting every problem rather than stopping at the first."""

import difflib
import re
import types
from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, fields, is_dataclass
from pathlib import Path
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from homeserver.config.option import REQUIRED

_DURATION = re.compile(r"(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w|)")
_SECONDS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86_400.0, "w": 604_800.0}
_SIZE = re.compile(r"(\d+)\s*([KMG]?)(?:i?B)?", re.IGNORECASE)
_FACTORS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30}


@dataclass(frozen=True, slots=True)
class Problem:
    """Something wrong at one path of the config, such as `listeners[0].port`."""

    path: str
    message: str

    def __str__(self) -> str:
        return f"{self.path}: {self.message}"


@dataclass(frozen=True, slots=True)
class EnvironmentText:
    """The value of an environment variable: text where a text is wanted, YAML where anything else is."""

    text: str

    def parsed(self) -> object:
        """The value as YAML; the text itself where it is not YAML."""
        import yaml

        try:
            return yaml.safe_load(self.text)
        except yaml.YAMLError:
            return self.text


class Bad(Exception):
    """A single value is not what was expected."""

    def __init__(self, expected: str) -> None:
        self.expected = expected


def describe(value: object) -> str:
    """A value as people would write it, short: nothing that could be a secret is longer than this shows."""
    if value is None:
        return "nothing"
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, list):
        return "a list"
    text = repr(value)
    return text if len(text) <= 60 else text[:57] + "…"


class Reader:
    """Reads one config: `folder` is what relative paths count from."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.problems: list[Problem] = []

    def problem(self, path: str, message: str) -> None:
        """Note that something is wrong there."""
        self.problems.append(Problem(path, message))

    def section(self, kind: type, data: object, path: str) -> Any:
        """An instance of a section's class; None where something required was missing or data is no mapping."""
        if data is None:
            data = {}
        if not isinstance(data, Mapping):
            self.problem(path or "the file", f"expected a mapping of options, found {describe(data)}")
            return None
        hints = get_type_hints(kind, include_extras=True)
        known = {f.name: f for f in fields(kind)}
        secrets = {f"{name}_file": name for name in known if _is_secret(hints[name])}
        values: dict[str, Any] = {}
        incomplete = False
        for key, value in cast("Mapping[str, Any]", data).items():
            where = f"{path}.{key}" if path else str(key)
            if key in secrets:
                values[secrets[key]] = self._secret_file(value, where, f"{path}.{secrets[key]}", secrets[key] in data)
            elif key not in known:
                self._unknown(str(key), where, [*known, *secrets])
            elif value is not None or _may_be_none(hints[key]):
                values[key] = self.value(hints[key], value, where)
                self._check_minimum(values[key], known[key].metadata.get("minimum"), where)
        for name, f in known.items():
            if name not in values and f.default is REQUIRED and f.default_factory is MISSING:
                self.problem(
                    f"{path}.{name}" if path else name, "expected a value, as it has no default; found nothing"
                )
                incomplete = True
        return None if incomplete else kind(**values)

    def value(self, hint: Any, value: object, path: str) -> Any:
        """The value as its type wants it; notes a problem, and gives None, where it is something else."""
        if isinstance(value, EnvironmentText):
            value = value.text if _is_text(hint) else value.parsed()
        if is_dataclass(hint):
            return self.section(hint, value, path)  # type: ignore[arg-type]
        origin, arguments = get_origin(hint), get_args(hint)
        if origin in (Union, types.UnionType):
            if value is None:
                return None
            return self.value(next(a for a in arguments if a is not type(None)), value, path)
        if origin is tuple:
            return self._list(arguments[0], value, path)
        if origin is dict:
            return self._mapping(arguments[1], value, path)
        try:
            return self._scalar(hint, origin, arguments, value)
        except Bad as bad:
            shown = "something else" if _is_secret(hint) else describe(value)
            self.problem(path, f"expected {bad.expected}, found {shown}")
            return None

    def _list(self, item: Any, value: object, path: str) -> tuple[Any, ...]:
        if isinstance(value, str) and not is_dataclass(item):
            value = [value]  # a single one may stand for a list of one
        if not isinstance(value, (list, tuple)):
            self.problem(path, f"expected a list, found {describe(value)}")
            return ()
        entries = cast("Sequence[Any]", value)
        return tuple(self.value(item, entry, f"{path}[{i}]") for i, entry in enumerate(entries))

    def _mapping(self, item: Any, value: object, path: str) -> dict[str, Any]:
        if not isinstance(value, Mapping):
            self.problem(path, f"expected a mapping, found {describe(value)}")
            return {}
        entries = cast("Mapping[str, Any]", value)
        return {key: self.value(item, entry, f"{path}.{key}") for key, entry in entries.items()}

    def _scalar(self, hint: Any, origin: Any, arguments: tuple[Any, ...], value: object) -> Any:
        if origin is Annotated:
            return self._united(arguments[1], value)
        if origin is Literal:
            if value is False and "off" in arguments:
                return "off"  # YAML reads a bare off as false
            if value not in arguments:
                raise Bad("one of " + ", ".join(map(str, arguments)))
            return value
        if hint is bool:
            if not isinstance(value, bool):
                raise Bad("true or false")
            return value
        if hint is int:
            if not isinstance(value, int) or isinstance(value, bool):
                raise Bad("a whole number")
            return value
        if hint is float:
            if not isinstance(value, (int, float)) or isinstance(value, bool):
                raise Bad("a number")
            return float(value)
        return _text(value)

    def _united(self, unit: str, value: object) -> Any:
        if unit == "duration":
            return parse_duration(value)
        if unit == "size":
            return parse_size(value)
        if unit == "path":
            return str(self.folder / _text(value)) if value != "" else ""
        return _text(value)

    def _check_minimum(self, value: Any, minimum: float | None, path: str) -> None:
        if minimum is not None and isinstance(value, (int, float)) and value < minimum:
            self.problem(path, f"expected at least {minimum:g}, found {value:g}")

    def _secret_file(self, value: object, where: str, secret: str, both: bool) -> str | None:
        if isinstance(value, EnvironmentText):
            value = value.text
        if both:
            self.problem(where, f"{secret} is given too: give one of the two")
            return None
        if not isinstance(value, str):
            self.problem(where, f"expected the path of a file, found {describe(value)}")
            return None
        try:
            return (self.folder / value).read_text(encoding="utf-8").strip()
        except (OSError, UnicodeDecodeError) as error:
            self.problem(where, f"expected a readable file at {value}, found: {_reason(error)}")
            return None

    def _unknown(self, key: str, where: str, known: list[str]) -> None:
        close = difflib.get_close_matches(key, known, n=1)
        hint = f"did you mean {close[0]}?" if close else f"there are: {', '.join(known)}"
        self.problem(where, f"there is no such option; {hint}")


def parse_duration(value: object) -> float:
    """Seconds of 30, 0.5, "30s", "5m", "2h", "7d"; raises Bad."""
    if isinstance(value, (int, float)) and not isinstance(value, bool) and value >= 0:
        return float(value)
    match = _DURATION.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise Bad("a duration such as 30s, 5m, 2h or 7d")
    return float(match[1]) * _SECONDS[match[2]]


def parse_size(value: object) -> int:
    """Bytes of 1024, "64K", "50M", "2G"; raises Bad."""
    if isinstance(value, int) and not isinstance(value, bool) and value >= 0:
        return value
    match = _SIZE.fullmatch(value.strip()) if isinstance(value, str) else None
    if match is None:
        raise Bad("a size such as 64K, 50M or 2G")
    return int(match[1]) * _FACTORS[match[2].upper()]


def _text(value: object) -> str:
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return str(value)  # a bare number in YAML, where a text was meant: a password, a port in a name
    if not isinstance(value, str):
        raise Bad("a text")
    return value


def _reason(error: OSError | UnicodeDecodeError) -> str:
    return (error.strerror or str(error)) if isinstance(error, OSError) else "it is not UTF-8 text"


def _is_secret(hint: Any) -> bool:
    if get_origin(hint) is Annotated:
        return "secret" in hint.__metadata__
    return any(_is_secret(argument) for argument in get_args(hint) if get_origin(hint) in (Union, types.UnionType))


def _is_text(hint: Any) -> bool:
    if get_origin(hint) in (Union, types.UnionType):
        return any(_is_text(argument) for argument in get_args(hint))
    return hint is str or get_args(hint)[:1] == (str,)


def _may_be_none(hint: Any) -> bool:
    return type(None) in get_args(hint)
