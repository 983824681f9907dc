"""How an option is declared: a dataclass field with its default, a sentence about it, and sometimes a unit."""

from dataclasses import field
from typing import Annotated, Any, cast

# Kinds of values beyond Python's own; the loader knows how each is written in YAML.
Duration = Annotated[float, "duration"]  # seconds; written as 30, "30s", "5m", "2h", "7d"
Size = Annotated[int, "size"]  # bytes; written as 1024, "64K", "50M", "2G" (powers of 1024)
Secret = Annotated[str, "secret"]  # X may also be given as `X_file`, the path of a file that holds it
FilePath = Annotated[str, "path"]  # relative ones count from the folder of the config file


class Required:
    """Stands for the default of an option that has none."""

    def __repr__(self) -> str:
        return "required"


REQUIRED: Any = Required()


def option(
    default: Any = REQUIRED, doc: str = "", *, minimum: float | None = None, shown: Any = None, advanced: bool = False
) -> Any:
    """A field of a section. `shown`: what the example config shows instead of the default; `advanced`: few need it."""
    metadata = {"doc": doc, "minimum": minimum, "shown": shown, "advanced": advanced}
    if isinstance(default, dict):
        mapping = cast("dict[str, Any]", default)
        return field(default_factory=lambda: dict(mapping), metadata=metadata)
    return field(default=default, metadata=metadata)


def section(kind: type, doc: str = "") -> Any:
    """A field of `Config` that is a section of its own."""
    return field(default_factory=kind, metadata={"doc": doc, "minimum": None, "shown": None, "advanced": False})
