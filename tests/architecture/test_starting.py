"""Starting costs little: half the CPU of it is importing, so what is not needed to serve is imported where it is."""

import ast
import subprocess
import sys

from tests.architecture.sources import PACKAGES, PROJECT, sources

# Each is imported by those who need it, in the function that does: for the other engine or for another way to run, for
# the first request of its kind, for a database of an older version.
NOT_AT_START = (
    "PIL", "aiohttp_socks", "alembic", "asyncpg", "boto3", "jsonschema", "redis", "sqlalchemy.dialects.postgresql",
    "sqlalchemy.ext", "sqlalchemy.orm", "unittest",
)  # fmt: skip
# As of now (508), and what other versions of Python import besides.
AT_MOST_FOREIGN = 560
_SCRIPT = """
import sys
from homeserver.cli_run import import_aiohttp
import_aiohttp()
import uvloop, homeserver.app, storage.dialect.sqlite
print(*sys.modules)
"""


def test_starting_imports_nothing_that_can_wait() -> None:
    done = subprocess.run([sys.executable, "-c", _SCRIPT], cwd=PROJECT, capture_output=True, text=True, check=True)
    imported = done.stdout.split()
    wrong = [name for name in imported if any(f"{name}.".startswith(f"{heavy}.") for heavy in NOT_AT_START)]
    assert not wrong, "import these in the function that needs them"
    foreign = [name for name in imported if name.partition(".")[0] not in PACKAGES]
    assert len(foreign) <= AT_MOST_FOREIGN, "starting imports ever more: import in the function that needs it"


def test_connections_to_the_outside_name_their_tls_context() -> None:
    """`homeserver.runtime.client_tls.import_aiohttp` leaves aiohttp's own context without authorities."""
    wrong = [
        source.at(node)
        for source in sources()
        for node in ast.walk(source.tree)
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Attribute)
        and node.func.attr in WANTED
        and not any(keyword.arg in WANTED[node.func.attr] for keyword in node.keywords)
    ]
    assert not wrong, "give the connector a context (`ssl=`), and the session its connector\n" + "\n".join(wrong)


WANTED = {"TCPConnector": ("ssl",), "ClientSession": ("connector",)}
