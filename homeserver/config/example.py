"""Writes a config with every option, its default and a sentence about it: for the example, and for `hearth init`."""

import json
import re
import textwrap
import types
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import MISSING, Field, fields, is_dataclass
from typing import Annotated, Any, Literal, Union, cast, get_args, get_origin, get_type_hints

from homeserver.config.account_sections import RateLimit
from homeserver.config.option import REQUIRED
from homeserver.config.sections import Config
from homeserver.config.server_sections import Listener

_WIDTH = 110
_UNIT = re.compile(r"[0-9.]+(ms|[smhdKMG])")
_HEAD = """\
# The configuration of Hearth, a Matrix homeserver. Every option is here; the commented out ones show their defaults.
#
# Relative paths count from the folder of this file. Durations are seconds, or 30s, 5m, 2h, 7d; sizes are bytes, or
# 64K, 50M. A secret may be kept in a file of its own: `shared_secret_file: /run/secrets/registration`.
# Environment variables override this file: HEARTH__REGISTRATION__ENABLED=true.
"""


def example_text(
    values: Mapping[str, Mapping[str, Any]] | None = None, listeners: Sequence[Mapping[str, Any]] = ({},)
) -> str:
    """The whole text. `values` (by section and option) are not commented out: `{"server": {"name": "…"}}`; nor is what
    `listeners` say of each listener."""
    values = values or {"server": {"name": "localhost"}}
    lines = [_HEAD.rstrip()]
    hints = get_type_hints(Config, include_extras=True)
    for f in fields(Config):
        hint = hints[f.name]
        if is_dataclass(hint):
            doc = (hint.__doc__ or "").strip()
            lines += ["", *_comment(doc, ""), f"{f.name}:", *_section(hint, dict(values.get(f.name, {})))]
        elif f.name == "listeners":
            lines += ["", *_comment(f.metadata["doc"], ""), "listeners:"]
            for number, chosen in enumerate(listeners):
                lines += _listener(Listener, f, chosen, commented=number == 0)
        else:
            set_ = values.get(f.name, MISSING)
            lines += ["", *_comment(f.metadata["doc"], ""), _line(f, hint, set_, "")]
    return "\n".join(lines) + "\n"


def _section(kind: Any, values: dict[str, Any]) -> Iterator[str]:
    hints = get_type_hints(kind, include_extras=True)
    for f in fields(kind):
        yield from _comment(f"{f.metadata['doc']}{_choices(hints[f.name])}", "  ")
        yield _line(f, hints[f.name], values.get(f.name, MISSING), "  ")


def _listener(kind: Any, listeners: "Field[Any]", chosen: Mapping[str, Any], *, commented: bool) -> Iterator[str]:
    """The default listener with what is `chosen`; its further options, and what all are for, where `commented`."""
    default = _default(listeners)[0]
    hints = get_type_hints(kind, include_extras=True)
    indent = "  - "
    for f in fields(kind):
        if commented:
            yield from _comment(f"{f.metadata['doc']}{_choices(hints[f.name])}", "    ")
        if f.name in ("bind", "port", "kinds") or f.name in chosen:
            yield f"{indent}{f.name}: {_yaml(chosen.get(f.name, getattr(default, f.name)))}"
            indent = "    "
        elif commented:
            yield f"    # {f.name}: {_yaml(_shown(f, hints[f.name]))}"


def _line(f: "Field[Any]", hint: Any, value: Any, indent: str) -> str:
    if value is not MISSING:
        return f"{indent}{f.name}: {_yaml(value)}"
    return f"{indent}# {f.name}: {_yaml(_shown(f, hint))}"


def _shown(f: "Field[Any]", hint: Any) -> Any:
    if f.metadata["shown"] is not None:
        return f.metadata["shown"]
    value = _default(f)
    unit = hint.__metadata__[0] if get_origin(hint) is Annotated else None
    if unit is None and get_origin(hint) in (Union, types.UnionType):
        unit = next((a.__metadata__[0] for a in get_args(hint) if get_origin(a) is Annotated), None)
    if value is None:
        return None
    if unit == "duration":
        return _duration(value)
    return _size(value) if unit == "size" else value


def _default(f: "Field[Any]") -> Any:
    if f.default_factory is not MISSING:
        return f.default_factory()
    return None if f.default is REQUIRED else f.default


def _choices(hint: Any) -> str:
    if get_origin(hint) is tuple:
        hint = get_args(hint)[0]
    return f" One of: {', '.join(get_args(hint))}." if get_origin(hint) is Literal else ""


def _duration(seconds: float) -> str:
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60)):
        if seconds >= size and seconds % size == 0:
            return f"{seconds / size:g}{unit}"
    return f"{seconds:g}s"


def _size(count: int) -> str:
    for unit, size in (("G", 1 << 30), ("M", 1 << 20), ("K", 1 << 10)):
        if count >= size and count % size == 0:
            return f"{count // size}{unit}"
    return str(count)


def _yaml(value: Any) -> str:
    """A value in YAML's flow style."""
    if value is None:
        return "null"
    if isinstance(value, RateLimit):
        return f"{{per_second: {value.per_second:g}, burst: {value.burst}}}"
    if is_dataclass(value):
        return "{" + ", ".join(f"{f.name}: {_yaml(getattr(value, f.name))}" for f in fields(value)) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_yaml, cast("Sequence[Any]", value))) + "]"
    if isinstance(value, str) and value and value[0].isalpha() and all(c.isalnum() or c in "./:_-" for c in value):
        return value if value not in ("off", "on", "yes", "no", "true", "false", "null") else json.dumps(value)
    if isinstance(value, str) and _UNIT.fullmatch(value):
        return value
    return json.dumps(value, ensure_ascii=False)


def _comment(text: str, indent: str) -> list[str]:
    return [f"{indent}# {line}" for line in textwrap.wrap(text, _WIDTH - len(indent))]
