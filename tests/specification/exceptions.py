"""Lists of exceptions: a line an entry, `entry  # reason`."""

from pathlib import Path


def listed_in(file: Path) -> dict[str, str]:
    """Entry → reason. An entry may hold a #, though none with a blank on both sides. ValueError: no reason is given."""
    found: dict[str, str] = {}
    for line in file.read_text().splitlines():
        if not line.strip() or line.startswith("#"):
            continue
        entry, _, reason = line.partition(" # ")
        if not reason.strip():
            raise ValueError(f"{file.name}: no reason is given for {entry!r}")
        found[entry.strip()] = reason.strip()
    return found
