"""`hearth init`: makes what a server needs to start, where it is not there yet. Never overwrites anything."""

import os
from pathlib import Path

from homeserver.cli import EXIT_CONFIG, fail, load_config
from homeserver.config.example import example_text
from homeserver.core.identifiers import is_valid_server_name
from homeserver.runtime.random import Randomness


def init(config_path: str, server_name: str | None) -> int:
    """Make the config (for `server_name`), the data folder and the signing key; says what was made."""
    path = Path(config_path)
    if path.exists():
        print(f"{path} is there already; it stays as it is.")
    else:
        _write_config(path, server_name or "localhost")
    config = load_config(config_path)
    if server_name is not None and config.server.name != server_name:
        fail(f"{path} is for {config.server.name}, not {server_name}: a server's name can never change.", EXIT_CONFIG)
    for folder in (config.data_dir, Path(config.media.path)):
        if not folder.exists():
            folder.mkdir(parents=True, mode=0o700)
            print(f"Made the folder {folder}.")
    key_path = Path(config.server.signing_key)
    if key_path.exists():
        print(f"{key_path} is there already; it stays as it is.")
    else:
        write_signing_key(key_path, Randomness())
        print(f"Made the signing key {key_path}. Keep a copy: whoever has it can speak for {config.server.name}.")
    return 0


def write_signing_key(path: Path, random: Randomness) -> None:
    """A new Ed25519 key in signedjson's format, readable for its owner only. FileExistsError where there is one."""
    from signedjson.key import write_signing_keys

    from homeserver.core.signatures import generate_signing_key

    key = generate_signing_key(f"a_{random.alphanumeric(6)}", random.bytes(32))
    path.parent.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        write_signing_keys(file, [key])
        file.flush()
        os.fsync(file.fileno())


def _write_config(path: Path, server_name: str) -> None:
    if not is_valid_server_name(server_name):
        fail(f"{server_name!r} is not a server name: a host name with an optional port is wanted.", EXIT_CONFIG)
    values = {"name": server_name}
    if server_name.partition(":")[0] == "localhost":
        values["public_base_url"] = "http://localhost:8008/"
    path.parent.mkdir(parents=True, exist_ok=True)
    # Secrets may come to be written into it.
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(example_text({"server": values}))
    print(f"Made the config {path} for the server {server_name}.")
