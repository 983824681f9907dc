"""Writes $HS_DIR/hearth.yaml, and a signing key where there is none, from the variables of start-homeserver."""

import base64
import json
import os
from pathlib import Path
from typing import Any


def config_from(environment: dict[str, str]) -> dict[str, Any]:
    """The config of a server under test: open to everybody, and content with loopback addresses."""
    folder = Path(environment["HS_DIR"])
    client_port, federation_port = int(environment["HS_CLIENT_PORT"]), int(environment["HS_FED_PORT"])
    database = environment.get("HS_DB") or "sqlite"
    authority = environment.get("HS_CA_CERT")
    return {
        "server": {
            "name": environment["HS_NAME"],
            "public_base_url": f"http://127.0.0.1:{client_port}/",
            "data_dir": str(folder),
            "signing_key": str(folder / "signing.key"),
        },
        "listeners": [
            {"bind": ["127.0.0.1"], "port": client_port, "kinds": ["client", "federation", "metrics"]},
            {
                "bind": ["127.0.0.1"],
                "port": federation_port,
                "kinds": ["client", "federation"],
                "tls_certificate": os.path.abspath(environment["HS_TLS_CERT"]),
                "tls_key": os.path.abspath(environment["HS_TLS_KEY"]),
            },
        ],
        "workers": int(environment.get("HS_WORKERS") or 1),
        "database": {"url": f"sqlite:///{folder / 'hearth.db'}" if database == "sqlite" else database},
        "redis": {"url": environment.get("HS_REDIS") or None},
        "registration": {
            "enabled": True,
            "requires_token": False,
            "allow_guests": True,
            "min_password_length": 6,  # tests use short ones
            "shared_secret": environment.get("HS_SHARED_SECRET") or "complement",
        },
        "passwords": {"memory_kib": 1024, "iterations": 1},  # as cheap as other servers' are made for tests
        "rate_limits": {"enabled": False},
        # Suites want to see that an event that is too large is refused.
        "rooms": {"public_directory_needs_login": False, "long_texts": False},
        "federation": {
            "allow_private_addresses": True,
            "ca_files": [os.path.abspath(authority)] if authority else [],
            "trusted_key_servers": [],
            "device_names": True,
        },
        "appservices": {"registrations": [path for path in environment.get("HS_APPSERVICES", "").split(":") if path]},
        "url_previews": {"enabled": True, "allow_private_addresses": True},
        "push": {"allow_private_addresses": True},
        "logging": {"level": (environment.get("HEARTH_LOG_LEVEL") or "info").lower()},
    }


def merge(target: dict[str, Any], extra: dict[str, Any]) -> None:
    """Put `extra` over `target`, mapping by mapping."""
    for key, value in extra.items():
        if isinstance(value, dict) and isinstance(target.get(key), dict):
            merge(target[key], value)
        else:
            target[key] = value


def write() -> None:
    environment = dict(os.environ)
    folder = Path(environment["HS_DIR"])
    config = config_from(environment)
    if extra := environment.get("HS_EXTRA_CONFIG"):
        import yaml

        merge(config, yaml.safe_load(Path(extra).read_text()) or {})
    (folder / "hearth.yaml").write_text(json.dumps(config, indent=2) + "\n")  # JSON is YAML
    key = Path(config["server"]["signing_key"])
    if not key.exists():
        seed = base64.b64encode(os.urandom(32)).decode().rstrip("=")
        key.touch(mode=0o600)
        key.write_text(f"ed25519 a_{os.urandom(2).hex()} {seed}\n")


if __name__ == "__main__":
    write()
