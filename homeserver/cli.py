"""The command `hearth`. Each subcommand imports what it needs when it runs, so that `hearth --help` answers at once."""

import argparse
import os
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any, Never

if TYPE_CHECKING:
    from homeserver.config import Config

DEFAULT_CONFIG = "hearth.yaml"
EXIT_CONFIG = 78  # as sysexits.h has it: starting again would not help
_EPILOG = """\
A first server, on this machine only:
  hearth init --server-name localhost     make a config, a signing key and a data folder
  hearth user add alice --admin           make the first account
  hearth run                              serve
"""


def main(argv: Sequence[str] | None = None) -> int:
    """Run a command line (the process's own where None); returns the exit status."""
    arguments = _parser().parse_args(argv)
    try:
        return arguments.run(arguments) or 0
    except KeyboardInterrupt:
        return 130
    except BrokenPipeError:
        return 0


def load_config(path: str) -> "Config":
    """The config at `path`; on problems says them on standard error and exits."""
    from homeserver.config import ConfigError, load

    if not os.path.exists(path):
        fail(f"There is no config at {path}. `hearth init --config {path}` makes one.", EXIT_CONFIG)
    try:
        return load(path)
    except ConfigError as error:
        fail(str(error), EXIT_CONFIG)


def fail(message: str, status: int = 1) -> Never:
    """Say what is wrong, and exit."""
    print(f"hearth: {message}", file=sys.stderr)
    raise SystemExit(status)


def _parser() -> argparse.ArgumentParser:
    from homeserver.cli_operator import add_commands

    parser = argparse.ArgumentParser(
        prog="hearth",
        description="Hearth, a Matrix homeserver.",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version and exit")
    commands = parser.add_subparsers(title="commands", metavar="COMMAND", required=True)

    run = _command(commands, "run", "serve, in the foreground, until SIGTERM or Ctrl-C", _run)
    run.add_argument("--worker", type=int, help=argparse.SUPPRESS)

    init = _command(commands, "init", "make a config, a signing key and a data folder, where absent", _init)
    init.add_argument("--server-name", metavar="NAME", help="the part after the colon of user ids (default: localhost)")
    init.add_argument("--client-port", metavar="PORT", type=int, help="where clients connect (default: 8008)")

    user = commands.add_parser("user", help="accounts", description="Accounts of this server.")
    user_commands = user.add_subparsers(title="commands", metavar="COMMAND", required=True)
    add = _command(user_commands, "add", "make an account, whether the server is running or not", _user_add)
    add.add_argument("name", metavar="NAME", help="user name, such as alice")
    add.add_argument("--admin", action="store_true", help="the user administers this server")
    add.add_argument("--password-stdin", action="store_true", help="read the password from standard input")

    add_commands(commands, user_commands, _command)

    doctor = _command(commands, "doctor", "check the config, the key, the database and the ports", _doctor)
    doctor.set_defaults(run=_doctor)
    _command(commands, "migrate", "bring the database to this version's form, and exit", _migrate)

    generate = commands.add_parser("generate-config", help="print a config for a server name")
    generate.add_argument("--server-name", metavar="NAME", required=True)
    generate.set_defaults(run=_generate_config)
    example = commands.add_parser("config-example", help="print every option with its default")
    example.set_defaults(run=_config_example)
    return parser


def _command(commands: Any, name: str, text: str, run: object) -> argparse.ArgumentParser:
    """`commands` is what `add_subparsers` returns; argparse has no public name for it."""
    parser: argparse.ArgumentParser = commands.add_parser(name, help=text, description=text[0].upper() + text[1:] + ".")
    default = os.environ.get("HEARTH_CONFIG", DEFAULT_CONFIG)
    parser.add_argument(
        "-c",
        "--config",
        default=default,
        metavar="FILE",
        help=f"the config (default: $HEARTH_CONFIG or {DEFAULT_CONFIG})",
    )
    parser.set_defaults(run=run)
    return parser


class _Version(argparse.Action):
    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from importlib.metadata import PackageNotFoundError, version

        try:
            print(f"hearth {version('hearth-homeserver')}")
        except PackageNotFoundError:
            print("hearth (not installed)")
        parser.exit()


def _run(arguments: argparse.Namespace) -> int:
    from homeserver.cli_run import run

    return run(load_config(arguments.config), arguments.config, arguments.worker)


def _init(arguments: argparse.Namespace) -> int:
    from homeserver.cli_init import init

    return init(arguments.config, arguments.server_name, arguments.client_port)


def _user_add(arguments: argparse.Namespace) -> int:
    from homeserver.cli_user import add

    return add(load_config(arguments.config), arguments.name, arguments.admin, arguments.password_stdin)


def _doctor(arguments: argparse.Namespace) -> int:
    from homeserver.cli_doctor import doctor

    return doctor(load_config(arguments.config))


def _migrate(arguments: argparse.Namespace) -> int:
    import asyncio

    from homeserver.app import migrate

    asyncio.run(migrate(load_config(arguments.config)))
    return 0


def _generate_config(arguments: argparse.Namespace) -> int:
    from homeserver.config.example import example_text

    print(example_text({"server": {"name": arguments.server_name}}), end="")
    return 0


def _config_example(_: argparse.Namespace) -> int:
    from homeserver.config.example import example_text

    print(example_text(), end="")
    return 0


if __name__ == "__main__":
    sys.exit(main())
