"""`hearth user …`, `hearth token …`, `hearth reports`: orders for the running server, done here where none runs."""

import argparse
import json
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from signedjson.types import SigningKey

    from homeserver.config import Config
    from homeserver.config.server_sections import Listener

MakeCommand = Callable[[Any, str, str, object], argparse.ArgumentParser]
_TIMEOUT_S = 60.0
_NOTICES_AT_ONCE = 100


def add_commands(commands: Any, user_commands: Any, command: MakeCommand) -> None:
    """The subcommands. `command` adds one to a group."""
    for name, text in (
        ("list", "list accounts, in the order of their names"),
        ("show", "show an account with its devices"),
        ("lock", "lock an account: it keeps everything, and can do nothing"),
        ("unlock", "unlock an account"),
        ("suspend", "suspend an account: it can read and leave, and say nothing"),
        ("unsuspend", "end the suspension of an account"),
        ("promote", "let a user administer this server"),
        ("demote", "let a user administer this server no longer"),
        ("deactivate", "close an account for good: it leaves all rooms, and its name is never free again"),
        ("reset-password", "set a password, and log all devices out"),
    ):
        parser = command(user_commands, name, text, _user)
        parser.set_defaults(what=name)
        parser.add_argument("--json", action="store_true", help="answer in JSON")
        if name == "list":
            parser.add_argument("--after", metavar="USER", help="go on after this user id")
            parser.add_argument("--limit", metavar="COUNT", type=_positive, default=100)
        else:
            parser.add_argument("name", metavar="NAME", help="user name, such as alice")
        if name == "deactivate":
            parser.add_argument("--erase", action="store_true", help="others should forget what the user said, too")
        if name == "reset-password":
            parser.add_argument("--password-stdin", action="store_true", help="read the password from standard input")
            parser.add_argument("--keep-devices", action="store_true", help="log nothing out")

    notify = command(user_commands, "notify", "tell a user something, in the name of this server", _notify)
    notify.add_argument("name", metavar="NAME", nargs="?", help="user name, such as alice")
    notify.add_argument("text", metavar="TEXT", nargs="?", help="what to tell; default: read from standard input")
    notify.add_argument("--all", action="store_true", help="tell everybody who has an account, instead of NAME")
    notify.add_argument("--after", metavar="USER", help="with --all: go on after this user id")
    notify.add_argument("--json", action="store_true", help="answer in JSON")

    token = commands.add_parser("token", help="registration tokens", description="Tokens that let people register.")
    tokens = token.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add = command(tokens, "add", "make a registration token", _token)
    add.add_argument("--token", metavar="TEXT", help="the token itself; default: one is made up")
    add.add_argument("--uses", metavar="COUNT", type=_positive, help="how often it can be used; default: always")
    add.add_argument("--lasts", metavar="TIME", help="how long, such as 12h or 7d; default: for ever")
    revoke = command(tokens, "revoke", "end a registration token", _token)
    revoke.add_argument("token", metavar="TOKEN")
    every = command(tokens, "list", "list all tokens", _token)
    for name, parser in (("add", add), ("list", every), ("revoke", revoke)):
        parser.set_defaults(what=name)
        parser.add_argument("--json", action="store_true", help="answer in JSON")

    reports = command(commands, "reports", "read what users reported, the newest first", _reports)
    reports.add_argument("--limit", metavar="COUNT", type=_positive, default=20)
    reports.add_argument("--before", metavar="NUMBER", type=_positive, help="those before this report")
    reports.add_argument("--json", action="store_true", help="answer in JSON")


# --- commands


def _user(arguments: argparse.Namespace) -> int:
    from homeserver.cli import load_config
    from homeserver.cli_user import ask_password

    what: str = arguments.what
    config = load_config(arguments.config)
    if what == "list":
        found = order(config, "user list", {"after": arguments.after, "limit": arguments.limit})
        return _print(arguments, found, [_account_line(user) for user in found] or ["There are no accounts."])
    wish: dict[str, Any] = {"user": arguments.name}
    if what == "show":
        found = order(config, "user show", wish)
        return _print(arguments, found, _account_lines(found))
    switches = {
        "lock": ("lock", True),
        "unlock": ("lock", False),
        "suspend": ("suspend", True),
        "unsuspend": ("suspend", False),
        "promote": ("admin", True),
        "demote": ("admin", False),
    }
    if what in switches:
        name, wish["value"] = switches[what]
    elif what == "deactivate":
        name, wish["erase"] = what, arguments.erase
    else:
        name, wish["keep_devices"] = what, arguments.keep_devices
        wish["password"] = sys.stdin.readline().rstrip("\r\n") if arguments.password_stdin else ask_password()
    found = order(config, f"user {name}", wish)
    return _print(arguments, found, [f"Done: {what} {arguments.name}."])


def _notify(arguments: argparse.Namespace) -> int:
    from homeserver.cli import fail, load_config

    config = load_config(arguments.config)
    name, text = arguments.name, arguments.text
    if arguments.all:
        if text is not None:
            fail("Name a user, or use --all.")
        name, text = None, name
    elif name is None:
        fail("Whom? Name a user, or use --all.")
    if text is None:
        text = sys.stdin.read().strip()
    if arguments.all:
        return _notify_all(arguments, config, text)
    found = order(config, "user notify", {"user": name, "text": text})
    return _print(arguments, found, [f"Told {name}."])


def _notify_all(arguments: argparse.Namespace, config: "Config", text: str) -> int:
    """In steps, with a line for each: where it is broken off, the last one names the user to go on after."""
    told, failed, last = 0, dict[str, str](), arguments.after
    while True:
        found = order(config, "user notify-all", {"text": text, "after": last, "limit": _NOTICES_AT_ONCE})
        told, failed, last = told + found["told"], failed | found["failed"], found["last"]
        if last is None:
            break
        print(f"Told {told}, up to {last}.", file=sys.stderr)
    lines = [f"Told {told}.", *(f"Not {user_id}: {why}" for user_id, why in failed.items())]
    return _print(arguments, {"told": told, "failed": failed}, lines) or (1 if failed else 0)


def _token(arguments: argparse.Namespace) -> int:
    from homeserver.cli import fail, load_config

    config = load_config(arguments.config)
    if arguments.what == "list":
        found = order(config, "token list", {})
        return _print(arguments, found, [_token_line(token) for token in found] or ["There are no tokens."])
    if arguments.what == "revoke":
        return _print(arguments, order(config, "token revoke", {"token": arguments.token}), ["Revoked."])
    lasts_s = None
    if arguments.lasts is not None:
        from homeserver.config.values import Bad, parse_duration

        try:
            lasts_s = parse_duration(arguments.lasts)
        except Bad as bad:
            fail(f"--lasts: expected {bad.expected}")
    wish = {"token": arguments.token, "uses": arguments.uses, "lasts_s": lasts_s}
    found = order(config, "token add", wish)
    return _print(arguments, found, [found["token"]])


def _reports(arguments: argparse.Namespace) -> int:
    from homeserver.cli import load_config

    wish = {"limit": arguments.limit, "before": arguments.before}
    found = order(load_config(arguments.config), "reports", wish)
    lines = [line for report in found for line in _report_lines(report)]
    return _print(arguments, found, lines or ["There are no reports."])


# --- giving orders


def order(config: "Config", name: str, arguments: dict[str, Any]) -> Any:
    """Have the running server do it, whose caches then know of it; do it here where no server runs."""
    import asyncio

    from homeserver.cli import fail
    from homeserver.errors import MatrixError

    try:
        return asyncio.run(_give(config, name, arguments))
    except MatrixError as error:
        fail(error.message)
    except OSError as error:
        fail(str(error.strerror or error))


async def _give(config: "Config", name: str, arguments: dict[str, Any]) -> Any:
    for listener in config.listeners:
        if "client" in listener.kinds and await _answers(listener):
            return await _ask(config, listener, name, arguments)
    from homeserver.app import perform_order

    return await perform_order(config, name, arguments)


async def _answers(listener: "Listener") -> bool:
    """Whether somebody listens there."""
    import asyncio

    try:
        if listener.unix_socket is not None:
            _, writer = await asyncio.open_unix_connection(listener.unix_socket)
        else:
            _, writer = await asyncio.open_connection(_host(listener), listener.port)
    except OSError:
        return False
    writer.close()
    return True


async def _ask(config: "Config", listener: "Listener", name: str, arguments: dict[str, Any]) -> Any:
    import aiohttp

    from homeserver.cli import fail
    from homeserver.runtime.clock import Clock
    from homeserver.runtime.random import Randomness
    from homeserver.services.operator_access import OperatorAccess

    clock = Clock()
    access = OperatorAccess(_signing_key(config.server.signing_key), clock, config.server.name)
    nonce = Randomness().token(18)
    body = json.dumps({"order": name, "arguments": arguments, "at": clock.now_ms(), "nonce": nonce}).encode()
    connector: aiohttp.BaseConnector
    if listener.unix_socket is not None:
        connector = aiohttp.UnixConnector(listener.unix_socket)
    else:
        connector = aiohttp.TCPConnector(ssl=False)  # a certificate is not for the address on this machine
    scheme = "http" if listener.tls_certificate is None else "https"
    place = "localhost" if listener.unix_socket is not None else f"{_in_url(_host(listener))}:{listener.port}"
    headers = {"Authorization": access.authorization(body), "Content-Type": "application/json"}
    timeout = aiohttp.ClientTimeout(total=_TIMEOUT_S)
    try:
        async with (
            aiohttp.ClientSession(connector=connector, timeout=timeout) as session,
            session.post(f"{scheme}://{place}/_hearth/operator", data=body, headers=headers) as response,
        ):
            answer = await response.json(content_type=None)
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:
        fail(f"The server at {place} did not answer as it should: {type(error).__name__}")
    if not isinstance(answer, dict) or "result" not in answer:
        fail(str(answer.get("error", "")) if isinstance(answer, dict) else "The server gave no answer")
    return answer["result"]


def _signing_key(path: str) -> "SigningKey":
    from signedjson.key import read_signing_keys

    with open(path, encoding="ascii") as stream:
        return read_signing_keys(stream)[0]


def _host(listener: "Listener") -> str:
    host = listener.bind[0]
    return {"0.0.0.0": "127.0.0.1", "::": "::1"}.get(host, host)  # noqa: S104 (what is bound, not bound here)


def _in_url(host: str) -> str:
    return f"[{host}]" if ":" in host else host


# --- showing answers


def _print(arguments: argparse.Namespace, found: Any, lines: list[str]) -> int:
    print(json.dumps(found, indent=2) if arguments.json else "\n".join(lines))
    return 0


def _account_line(user: dict[str, Any]) -> str:
    words = ["admin"] if user["is_admin"] else []
    words += [name for name in ("deactivated", "erased", "locked", "suspended", "is_guest") if user[name]]
    return " ".join([user["user_id"], *(f"[{word.removeprefix('is_')}]" for word in words)])


def _account_lines(user: dict[str, Any]) -> list[str]:
    lines = [_account_line(user), f"  made {_time(user['created_at'])}"]
    lines.append(f"  {'has a password' if user['has_password'] else 'has no password'}")
    lines += [f"  e-mail {address}" for address in user["addresses"]]
    for device in user["devices"]:
        name = f" {device['name']!r}" if device["name"] else ""
        lines.append(f"  device {device['device_id']}{name}, last seen {_time(device['last_seen_at'])}")
    return lines


def _token_line(token: dict[str, Any]) -> str:
    allowed = "any number of" if token["uses_allowed"] is None else str(token["uses_allowed"])
    until = "" if token["expires_at"] is None else f", until {_time(token['expires_at'])}"
    return f"{token['token']}  used {token['completed']} of {allowed} times, {token['pending']} under way{until}"


def _report_lines(report: dict[str, Any]) -> list[str]:
    """What users wrote is shown as Python text, so that it can do nothing to the terminal."""
    what = " ".join(
        f"{name} {report[key]}"
        for name, key in (("user", "user_id"), ("room", "room_id"), ("event", "event_id"))
        if report[key] is not None
    )
    head = f"#{report['report_id']} {_time(report['received_at'])} {report['reporter']} reports {what}"
    return [head, f"    {report['reason']!r}"]


def _time(ms: int | None) -> str:
    if ms is None:
        return "never"
    from datetime import UTC, datetime

    return datetime.fromtimestamp(ms / 1000, UTC).strftime("%Y-%m-%d %H:%M UTC")


def _positive(text: str) -> int:
    number = int(text)
    if number < 1:
        raise argparse.ArgumentTypeError("must be at least 1")
    return number
