"""Writes migration 0001 anew from storage/tables. Only until the first release: then tables change by new scripts."""

import subprocess
import sys
from pathlib import Path

from sqlalchemy import create_engine

from storage.migrations.run import write_revision

VERSIONS = Path(__file__).parent.parent / "storage/migrations/versions"
SEEDS = """
    # The rows that every database has.
    op.execute("INSERT INTO stream_position (id, value) VALUES (1, 0), (2, 0)")
    op.execute("INSERT INTO id_blocks (kind, next) VALUES ('all', 0)")
    make_full_text_indexes(op.get_bind())
"""


def main() -> None:
    """Replace the script."""
    for old in VERSIONS.glob("0001_*.py"):
        old.unlink()
    with create_engine("sqlite://").connect() as connection:
        write_revision(connection, "0001", "The first tables")
    (script,) = VERSIONS.glob("0001_*.py")
    lines = [line for line in script.read_text().splitlines() if "###" not in line]
    imports = lines.index("from alembic import op") + 1
    lines[imports:imports] = ["", "from storage.dialect import make_full_text_indexes"]
    script.write_text("\n".join(lines) + SEEDS)
    subprocess.run([sys.executable, "-m", "ruff", "format", "-q", script], check=True)


if __name__ == "__main__":
    main()
