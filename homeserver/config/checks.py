"""What no single option can be wrong in by itself: combinations, and things that must exist."""

import os
import re
from ipaddress import ip_address
from urllib.parse import urlsplit

from homeserver.config.sections import Config
from homeserver.config.server_sections import Listener
from homeserver.config.sign_on_checks import check_accounts
from homeserver.config.values import Problem, describe
from homeserver.core.hashes import bytes_of_base64
from homeserver.core.identifiers import is_valid_server_name


def check(config: Config) -> list[Problem]:
    """Every contradiction of a config whose single values are right."""
    problems: list[Problem] = []
    if not is_valid_server_name(config.server.name):
        problems.append(
            Problem("server.name", f"expected a host name with an optional port, found {describe(config.server.name)}")
        )
    if config.server.public_base_url is not None and urlsplit(config.server.public_base_url).scheme not in (
        "http",
        "https",
    ):
        problems.append(Problem("server.public_base_url", "expected a URL that begins with http:// or https://"))
    for number, listener in enumerate(config.listeners):
        problems += _check_listener(listener, f"listeners[{number}]")
        if listener.unix_socket is not None and config.workers > 1:
            problems.append(
                Problem(
                    f"listeners[{number}].unix_socket",
                    f"expected a port: {config.workers} workers share ports, but cannot share a Unix socket",
                )
            )
    if not config.listeners:
        problems.append(Problem("listeners", "expected at least one listener, found an empty list"))
    problems += _check_old_keys(config) + _check_database(config) + _check_files(config) + [*check_accounts(config)]
    return problems


def _check_listener(listener: Listener, path: str) -> list[Problem]:
    problems: list[Problem] = []
    if (listener.port is None) == (listener.unix_socket is None):
        problems.append(Problem(path, "expected either a port or a unix_socket"))
    if listener.port is not None and listener.port > 65_535:
        problems.append(Problem(f"{path}.port", f"expected a port of at most 65535, found {listener.port}"))
    if (listener.tls_certificate is None) != (listener.tls_key is None):
        problems.append(Problem(path, "expected tls_certificate and tls_key together"))
    for name in ("tls_certificate", "tls_key"):
        file = getattr(listener, name)
        if file is not None and not os.access(file, os.R_OK):
            problems.append(Problem(f"{path}.{name}", f"expected a readable file, found none at {file}"))
    for number, address in enumerate(listener.bind):
        try:
            ip_address(address)
        except ValueError:
            if address != "localhost":
                problems.append(Problem(f"{path}.bind[{number}]", f"expected an IP address, found {describe(address)}"))
    if not re.fullmatch(r"[0-7]{3,4}", listener.unix_socket_mode):
        problems.append(
            Problem(f"{path}.unix_socket_mode", f"expected octal digits, found {describe(listener.unix_socket_mode)}")
        )
    return problems


def _check_old_keys(config: Config) -> list[Problem]:
    problems: list[Problem] = []
    for number, old in enumerate(config.server.old_signing_keys):
        if len(bytes_of_base64(old.public_key) or b"") != 32:
            path = f"server.old_signing_keys[{number}].public_key"
            problems.append(Problem(path, f"expected 32 bytes in base64, found {describe(old.public_key)}"))
    return problems


def _check_database(config: Config) -> list[Problem]:
    url = config.database.url
    scheme = url.partition(":")[0]
    problems: list[Problem] = []
    if scheme not in ("sqlite", "postgresql", "postgres"):
        problems.append(
            Problem("database.url", f"expected sqlite:/// or postgresql://, found {describe(scheme + ':')}")
        )
    elif config.workers > 1 and scheme == "sqlite":
        problems.append(
            Problem("workers", f"expected 1, found {config.workers}: several processes need PostgreSQL (database.url)")
        )
    if config.workers > 1 and config.redis.url is None:
        problems.append(
            Problem("workers", f"expected 1, found {config.workers}: several processes need Redis (redis.url)")
        )
    if config.redis.url is not None and urlsplit(config.redis.url).scheme not in ("redis", "rediss", "unix"):
        problems.append(Problem("redis.url", "expected a URL that begins with redis://, rediss:// or unix://"))
    return problems


def _check_files(config: Config) -> list[Problem]:
    problems: list[Problem] = []
    for path, files in (
        ("federation.ca_files", config.federation.ca_files),
        ("appservices.registrations", config.appservices.registrations),
    ):
        for number, file in enumerate(files):
            if not os.access(file, os.R_OK):
                problems.append(Problem(f"{path}[{number}]", f"expected a readable file, found none at {file}"))
    return problems
