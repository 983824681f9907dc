"""Writes the files that follow from the program: `make generate`. A test fails where one of them is not current.

`config.example.yaml` comes from the sections in homeserver/config, `docs/endpoints.md` from the endpoint tables, the
map in `docs/ARCHITECTURE.md` from the modules' docstrings.
"""

import ast
from collections.abc import Callable, Iterable
from pathlib import Path

PROJECT = Path(__file__).resolve().parents[1]
PACKAGES = ("schemas", "homeserver", "storage", "federation", "client_api")
MAP_BEGIN, MAP_END = "<!-- module map: made by `make generate` -->", "<!-- end of the module map -->"


def example_config() -> str:
    """Every option with its default and what it is for."""
    from homeserver.config.example import example_text

    return example_text()


def endpoint_pages() -> str:
    """Every endpoint of both tables, in the order of the paths."""
    from client_api.endpoints import ENDPOINTS as CLIENT_ENDPOINTS
    from federation.inbound.endpoints import ENDPOINTS as FEDERATION_ENDPOINTS

    parts = [
        "# Endpoints\n",
        "Made from the endpoint tables by `make generate`. Client paths of `v3` answer at `r0` too, for older clients.",
    ]
    for title, rows in (("Clients", CLIENT_ENDPOINTS), ("Other servers", FEDERATION_ENDPOINTS)):
        parts += [f"\n## {title}\n", "| method | path | operation | who | limit |", "|---|---|---|---|---|"]
        for row in sorted(rows, key=lambda row: (row.path, row.method)):
            who = row.auth.value.replace("_", " ")
            parts.append(f"| {row.method} | `{row.path}` | {row.operation_id} | {who} | {row.limit or ''} |")
    return "\n".join(parts) + "\n"


def architecture_page() -> str:
    """docs/ARCHITECTURE.md with its module map brought up to date."""
    page = (PROJECT / "docs/ARCHITECTURE.md").read_text()
    before, _, rest = page.partition(MAP_BEGIN)
    _, _, after = rest.partition(MAP_END)
    return f"{before}{MAP_BEGIN}\n{module_map()}{MAP_END}{after}"


def module_map() -> str:
    """Each folder of the packages with its modules, and the first sentence of each."""
    parts: list[str] = []
    for package in PACKAGES:
        for folder in folders_of(PROJECT / package):
            modules = sorted(path for path in folder.glob("*.py") if path.name != "__init__.py")
            name = folder.relative_to(PROJECT).as_posix()
            summary = first_sentence(folder / "__init__.py")
            parts.append(f"\n**{name}/**" + (f": {summary}" if summary else "") + "\n")
            parts += map_lines(modules)
    return "\n".join(parts) + "\n\n"


def map_lines(modules: Iterable[Path]) -> list[str]:
    """A list item for each module."""
    return [f"- `{path.name}`: {first_sentence(path)}" for path in modules]


def folders_of(package: Path) -> list[Path]:
    """The package and every folder in it that holds modules, migrations aside: each of them is a step, not a place."""
    found = {path.parent for path in package.rglob("*.py")}
    return sorted(folder for folder in found if "versions" not in folder.parts)


def first_sentence(module: Path) -> str:
    """The first sentence of a module's docstring; empty where it has none."""
    if not module.exists():
        return ""
    text = ast.get_docstring(ast.parse(module.read_text())) or ""
    paragraph = " ".join(text.split("\n\n")[0].split())
    sentence, stop, _ = paragraph.partition(". ")
    return sentence + ("." if stop else "")


GENERATED: dict[str, Callable[[], str]] = {
    "config.example.yaml": example_config,
    "docs/endpoints.md": endpoint_pages,
    "docs/ARCHITECTURE.md": architecture_page,
}


def main() -> None:
    for name, content in GENERATED.items():
        (PROJECT / name).write_text(content())
        print(name)


if __name__ == "__main__":
    main()
