"""`hearth init`: makes what a server needs to start, where it is not there yet. Never overwrites anything."""

import os
from pathlib import Path
from typing import Any

from homeserver.cli import EXIT_CONFIG, fail, load_config
from homeserver.config.example import example_text
from homeserver.core.identifiers import is_valid_server_name
from homeserver.runtime.clock import Clock
from homeserver.runtime.random import Randomness

_CLIENT_PORT = 8008
_FEDERATION_PORT = 8448


def init(config_path: str, server_name: str | None, client_port: int | None = None) -> int:
    """Make the config (for `server_name`), the data folder and the signing key; says what was made.

    A server called localhost, with or without a port, federates with others on this machine: it gets a certificate of
    its own making.
    """
    path = Path(config_path)
    if path.exists():
        print(f"{path} is there already; it stays as it is.")
    else:
        _write_config(path, server_name or "localhost", client_port or _CLIENT_PORT)
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


def _write_config(path: Path, server_name: str, client_port: int) -> None:
    if not is_valid_server_name(server_name):
        fail(f"{server_name!r} is not a server name: a host name with an optional port is wanted.", EXIT_CONFIG)
    host, _, port = server_name.partition(":")
    # A second config in the same folder is another server: their data must not meet.
    data_dir = "data" if path.stem == "hearth" else f"{path.stem}-data"
    server: dict[str, Any] = {"name": server_name, "data_dir": data_dir}
    values: dict[str, dict[str, Any]] = {"server": server}
    listeners: list[dict[str, Any]] = [{"port": client_port}]
    if host == "localhost":
        server["public_base_url"] = f"http://localhost:{client_port}/"
        # Only servers on this machine can find this one, and their certificates are of their own making, too.
        values["federation"] = {"allow_private_addresses": True, "verify_certificates": False}
        certificate, key = f"{data_dir}/localhost.crt", f"{data_dir}/localhost.key"
        listeners[0]["kinds"] = ["client", "metrics"]
        federation = {"port": int(port or _FEDERATION_PORT), "kinds": ["federation"]}
        listeners.append(federation | {"tls_certificate": certificate, "tls_key": key})
        if listeners[0]["port"] == listeners[1]["port"]:
            fail("Clients and other servers need two different ports.", EXIT_CONFIG)
        _write_certificate(path.parent / certificate, path.parent / key)
    path.parent.mkdir(parents=True, exist_ok=True)
    # Secrets may come to be written into it.
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="utf-8") as file:
        file.write(example_text(values, listeners))
    print(f"Made the config {path} for the server {server_name}.")


def _write_certificate(certificate: Path, key: Path) -> None:
    """A certificate of localhost that nobody but the server itself vouches for, valid for ten years."""
    if certificate.exists() and key.exists():
        return
    import datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes, serialization
    from cryptography.hazmat.primitives.asymmetric import ec

    private = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "localhost")])
    now = datetime.datetime.fromtimestamp(Clock().now_ms() // 1000, datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(private.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=3650))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .sign(private, hashes.SHA256())
    )
    certificate.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    certificate.write_bytes(made.public_bytes(serialization.Encoding.PEM))
    with os.fdopen(os.open(key, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "wb") as file:
        file.write(
            private.private_bytes(
                serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
            )
        )
