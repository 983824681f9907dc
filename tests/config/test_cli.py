"""Claims about the command `hearth`."""

import os
import ssl
import subprocess
import sys
from pathlib import Path

import pytest

from homeserver import cli
from homeserver.cli_run import announcement
from homeserver.config import from_mapping, load

ROOT = Path(__file__).parents[2]
COMMAND = [sys.executable, "-m", "homeserver.cli"]


def hearth(*arguments: str, folder: Path, stdin: str = "") -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, "PYTHONPATH": str(ROOT)}
    return subprocess.run(
        [*COMMAND, *arguments], cwd=folder, env=environment, input=stdin, capture_output=True, text=True, check=False
    )


def test_help_is_quick_since_it_imports_nothing_of_the_server(tmp_path: Path) -> None:
    code = (
        "import sys; from homeserver import cli\n"
        "try: cli.main(['--help'])\nexcept SystemExit: pass\n"
        "heavy = {'aiohttp', 'sqlalchemy', 'yaml', 'nacl', 'asyncio'} & set(sys.modules)\n"
        "sys.exit(repr(heavy) if heavy else 0)"
    )
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")
    for command in ("run", "init", "user", "doctor", "migrate", "generate-config", "config-example"):
        assert command in done.stdout


def test_init_makes_config_key_and_folders_and_never_again(tmp_path: Path) -> None:
    first = hearth("init", "--server-name", "hearth.test", folder=tmp_path)
    assert first.returncode == 0, first.stderr
    key = tmp_path / "data" / "signing.key"
    assert key.stat().st_mode & 0o777 == 0o600
    algorithm, version, seed = key.read_text().split()
    assert (algorithm, version[:2], len(seed)) == ("ed25519", "a_", 43)
    before = {path: path.read_bytes() for path in (key, tmp_path / "hearth.yaml")}
    assert hearth("init", folder=tmp_path).returncode == 0
    assert {path: path.read_bytes() for path in before} == before


def test_init_refuses_another_name_for_a_server_that_has_one(tmp_path: Path) -> None:
    hearth("init", "--server-name", "hearth.test", folder=tmp_path)
    again = hearth("init", "--server-name", "other.test", folder=tmp_path)
    assert again.returncode == cli.EXIT_CONFIG
    assert "can never change" in again.stderr


def test_init_refuses_a_name_that_is_none(tmp_path: Path) -> None:
    assert hearth("init", "--server-name", "not a name", folder=tmp_path).returncode == cli.EXIT_CONFIG
    assert list(tmp_path.iterdir()) == []


def test_run_without_a_config_says_how_to_make_one(tmp_path: Path) -> None:
    done = hearth("run", folder=tmp_path)
    assert done.returncode == cli.EXIT_CONFIG
    assert "hearth init" in done.stderr
    assert "Traceback" not in done.stderr


def test_run_with_a_broken_config_names_every_path(tmp_path: Path) -> None:
    (tmp_path / "hearth.yaml").write_text(
        "server: {name: hearth.test}\nworkers: 2\nmedia: {max_pixels: x}\ncoffee: 1\n"
    )
    done = hearth("run", folder=tmp_path)
    assert done.returncode == cli.EXIT_CONFIG
    assert "media.max_pixels: expected a whole number, found 'x'" in done.stderr
    assert "coffee: there is no such option" in done.stderr


def test_several_workers_on_sqlite_are_refused_in_a_sentence(tmp_path: Path) -> None:
    (tmp_path / "hearth.yaml").write_text("server: {name: hearth.test}\nworkers: 2\n")
    done = hearth("run", folder=tmp_path)
    assert done.returncode == cli.EXIT_CONFIG
    assert "several processes need PostgreSQL" in done.stderr


def test_run_without_a_signing_key_says_how_to_make_one(tmp_path: Path) -> None:
    (tmp_path / "hearth.yaml").write_text("server: {name: hearth.test}\n")
    done = hearth("run", folder=tmp_path)
    assert done.returncode == cli.EXIT_CONFIG
    assert "signing key" in done.stderr


def test_short_password_is_refused_before_anything_is_written(tmp_path: Path) -> None:
    hearth("init", folder=tmp_path)
    done = hearth("user", "add", "alice", "--password-stdin", folder=tmp_path, stdin="short\n")
    assert done.returncode == 1
    assert "at least 8 characters" in done.stderr


def test_user_of_another_server_is_refused(tmp_path: Path) -> None:
    hearth("init", folder=tmp_path)
    done = hearth("user", "add", "@alice:other.test", "--password-stdin", folder=tmp_path, stdin="long enough\n")
    assert "is not of this server" in done.stderr


def test_doctor_finds_what_is_wrong(tmp_path: Path) -> None:
    hearth("init", folder=tmp_path)
    (tmp_path / "data" / "signing.key").chmod(0o644)
    done = hearth("doctor", folder=tmp_path)
    assert done.returncode == 1
    assert "BAD  signing key" in done.stdout
    (tmp_path / "data" / "signing.key").chmod(0o600)
    assert "BAD" not in [line[:3] for line in hearth("doctor", folder=tmp_path).stdout.splitlines() if "key" in line]


def test_announcement_says_where_and_how_to_begin(tmp_path: Path) -> None:
    data = {
        "server": {"name": "hearth.test:8448", "public_base_url": "http://localhost:8008"},
        "listeners": [{"port": 8008}, {"bind": ["::1"], "port": 9000}, {"unix_socket": "/run/x"}],
    }
    text = announcement(from_mapping(data, tmp_path), "my.yaml")
    assert "http://127.0.0.1:8008, for client, federation" in text
    assert "http://[::1]:9000" in text
    assert "unix:/run/x" in text
    assert "hearth user add --config my.yaml --admin NAME" in text
    assert "homeserver URL http://localhost:8008/" in text
    assert "connect to hearth.test:8448 over HTTPS" in text


def test_version_is_printed(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as done:
        cli.main(["--version"])
    assert done.value.code == 0
    assert capsys.readouterr().out.startswith("hearth ")


def test_init_gives_a_server_on_this_machine_what_it_needs_to_federate(tmp_path: Path) -> None:
    arguments = ("--config", "second.yaml", "--server-name", "localhost:8449", "--client-port", "8009")
    made = hearth("init", *arguments, folder=tmp_path)
    assert made.returncode == 0, made.stderr
    config = load(str(tmp_path / "second.yaml"))
    client, federation = config.listeners
    assert (client.port, federation.port, federation.kinds) == (8009, 8449, ("federation",))
    assert config.data_dir == tmp_path / "second-data"
    assert config.federation.allow_private_addresses
    context = ssl.create_default_context(cafile=federation.tls_certificate)
    context.load_cert_chain(federation.tls_certificate, federation.tls_key)


def test_a_public_server_verifies_certificates_and_shuns_private_addresses(tmp_path: Path) -> None:
    hearth("init", "--server-name", "hearth.test", folder=tmp_path)
    config = load(str(tmp_path / "hearth.yaml"))
    assert config.federation.verify_certificates
    assert not config.federation.allow_private_addresses
