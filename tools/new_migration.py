"""Writes the script that takes the tables of the newest migration to those in storage/tables.

    python -m tools.new_migration "Rooms of notices"      # or make migration; read the script before you use it
"""

import subprocess
import sys
from pathlib import Path

from sqlalchemy import create_engine

from storage.migrations import HEAD
from storage.migrations.run import upgrade, write_revision

MIGRATIONS = Path(__file__).parent.parent / "storage/migrations"


def main() -> None:
    """Write it, and have the code expect it."""
    revision = f"{int(HEAD) + 1:04}"
    with create_engine("sqlite://").connect() as connection:
        upgrade(connection)
        write_revision(connection, revision, sys.argv[1])
    (script,) = (MIGRATIONS / "versions").glob(f"{revision}_*.py")
    lines = [line for line in script.read_text().splitlines() if "###" not in line]
    script.write_text("\n".join(lines) + "\n")
    subprocess.run([sys.executable, "-m", "ruff", "format", "-q", script], check=True)
    head = MIGRATIONS / "__init__.py"
    head.write_text(head.read_text().replace(f'"{HEAD}"', f'"{revision}"'))
    print(f"Read {script}: what is renamed, and what becomes of the rows, it cannot know.")


if __name__ == "__main__":
    main()
