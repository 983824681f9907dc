"""`hearth user add`."""

import getpass
import sys

from homeserver.cli import fail
from homeserver.cli_operator import order
from homeserver.config import Config


def add(config: Config, name: str, admin: bool, password_stdin: bool) -> int:
    """Make an account. `name` is a user name, or a whole user id of this server."""
    localpart = _localpart(config, name)
    password = sys.stdin.readline().rstrip("\r\n") if password_stdin else ask_password()
    if len(password) < config.registration.min_password_length:
        fail(f"The password needs at least {config.registration.min_password_length} characters.")
    order(config, "user add", {"user": localpart, "password": password, "admin": admin})
    print(f"Made @{localpart}:{config.server.name}{', who administers this server' if admin else ''}.")
    return 0


def _localpart(config: Config, name: str) -> str:
    if name.startswith("@"):
        localpart, colon, server = name[1:].partition(":")
        if colon and server != config.server.name:
            fail(f"{name} is not of this server, which is {config.server.name}.")
        name = localpart
    return name


def ask_password() -> str:
    """Twice, at the terminal."""
    if not sys.stdin.isatty():
        fail("There is no terminal to ask for the password at: use --password-stdin.")
    password = getpass.getpass("Password: ")
    if getpass.getpass("Again: ") != password:
        fail("The two passwords differ.")
    return password
