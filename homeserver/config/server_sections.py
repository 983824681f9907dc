"""Sections about the server as a program: its name, where it listens, where it keeps things."""

from dataclasses import dataclass
from typing import Literal

from homeserver.config.option import REQUIRED, Duration, FilePath, Secret, Size, option


@dataclass(frozen=True, slots=True)
class OldKey:
    """A signing key that this server used to sign with."""

    key_id: str = option(REQUIRED, 'The key\'s id, such as "ed25519:a_1".')
    public_key: str = option(REQUIRED, "The public key in unpadded base64.")
    expired_ts: int = option(REQUIRED, "When it was last used, in milliseconds since the epoch.")


@dataclass(frozen=True, slots=True)
class Server:
    """Who this server is."""

    name: str = option(
        REQUIRED,
        "The part after the colon of this server's user ids. It can never be changed later. Without a port, other "
        "servers find this one through .well-known or DNS; with one, they connect to that host and port.",
        shown="localhost",
    )
    public_base_url: str | None = option(
        None, "The URL at which clients reach this server; default: https://<name>/.", shown="http://localhost:8008/"
    )
    data_dir: FilePath = option(
        "data", "Where the signing key, the SQLite database and media are, unless said otherwise."
    )
    signing_key: FilePath = option("", "File of the key that signs for this server; default: <data_dir>/signing.key.")
    old_signing_keys: tuple[OldKey, ...] = option((), "Keys used before, so that old events can still be verified.")
    key_validity: Duration = option(
        7 * 86400, "How long other servers may keep this server's keys before they ask again.", advanced=True
    )
    policy_server_key: str | None = option(
        None,
        "Ed25519 public key, in unpadded base64, of the policy server of this name: told at "
        "/.well-known/matrix/policy_server.",
        advanced=True,
    )
    policy_signing_key: FilePath | None = option(
        None,
        "File of the private key, where this server itself is the policy server of rooms that name it. Not the signing "
        "key of the server.",
        advanced=True,
    )
    pid_file: FilePath | None = option(None, "Write the process id here while running.")


@dataclass(frozen=True, slots=True)
class Email:
    """Mails to users: to prove their addresses, and to set a forgotten password."""

    host: str | None = option(None, "The SMTP server; default: no mail is sent.")
    port: int = option(587, "Its port.", minimum=1)
    security: Literal["none", "starttls", "tls"] = option(
        "starttls", "starttls encrypts after the greeting, tls from the beginning, none never."
    )
    user: str | None = option(None, "Log in to it with this name.")
    password: Secret | None = option(None, "And this password.")
    sender: str = option("Hearth <noreply@localhost>", "The address that mails come from.")
    pushers: bool = option(True, "Mail people who want it what they have not read.")
    digest_delay: Duration = option(600, "How long a message waits to be read before a mail tells of it.")
    digest_pause_min: Duration = option(600, "The pause between two mails about a room; it grows with each mail.")
    digest_pause_max: Duration = option(86_400, "The longest such pause; once the room is read, it is short again.")


@dataclass(frozen=True, slots=True)
class Support:
    """Whom to turn to; clients and other servers' operators are told."""

    matrix_id: str | None = option(None, "The administrator's user id, better one of another server.")
    email_address: str | None = option(None, "The administrator's e-mail address.")
    page: str | None = option(None, "URL of a page with help.")


@dataclass(frozen=True, slots=True)
class Listener:
    """A place to listen at: an address and a port, or a Unix socket."""

    bind: tuple[str, ...] = option(
        ("127.0.0.1",), "Addresses; :: is every IPv6 address and 0.0.0.0 every IPv4 address."
    )
    port: int | None = option(None, "TCP port.", minimum=0)
    unix_socket: FilePath | None = option(None, "Path of a Unix socket, instead of bind and port.")
    unix_socket_mode: str = option("660", "Permissions of the Unix socket, octal.")
    tls_certificate: FilePath | None = option(None, "PEM file of the certificate with its chain: serve HTTPS.")
    tls_key: FilePath | None = option(None, "PEM file of the certificate's key.")
    kinds: tuple[Literal["client", "federation", "metrics"], ...] = option(
        ("client", "federation"), "What is served here; /health is served everywhere."
    )
    x_forwarded: bool = option(
        False,
        "Believe X-Forwarded-For: only behind a reverse proxy that sets it, else anybody may pose as any address.",
    )


DEFAULT_LISTENERS = (Listener(port=8008, kinds=("client", "federation", "metrics")),)


@dataclass(frozen=True, slots=True)
class Database:
    """Where everything durable is kept."""

    url: Secret = option(
        "", "sqlite:///<path> or postgresql://user:password@host/name; default: a SQLite file in data_dir."
    )
    pool_size: int = option(10, "Connections to PostgreSQL for each process.", minimum=2)
    readers: int = option(3, "SQLite: connections that read beside the one that writes.", minimum=1)


@dataclass(frozen=True, slots=True)
class Redis:
    """The broker between processes; needed for more than one process only."""

    url: Secret | None = option(None, "redis://[:password@]host:port[/number] of a Redis or Valkey.")
    prefix: str = option("hearth", "Beginning of the channel's name, so that several servers can share one broker.")


@dataclass(frozen=True, slots=True)
class Logging:
    """What is written to standard error."""

    level: Literal["debug", "info", "warning", "error"] = option("info", "The least severe level that is logged.")
    format: Literal["text", "json"] = option("text", "text: one line of key=value each; json: one JSON object a line.")
    requests: bool = option(True, "One line for each request: id, operation, user, status, milliseconds.")
    levels: dict[str, str] = option({}, "Other levels for single loggers, by name.", advanced=True)


@dataclass(frozen=True, slots=True)
class Metrics:
    """Prometheus metrics at /metrics, on the listeners whose kinds include metrics."""

    enabled: bool = option(True, "Answer /metrics.")
    token: Secret | None = option(None, "Where set, /metrics wants it as a bearer token.")


@dataclass(frozen=True, slots=True)
class Caches:
    """How much is kept in memory, in each process."""

    events: int = option(20_000, "Events.", minimum=100)
    rooms: int = option(2_000, "Heads of rooms with their current state.", minimum=10)
    memberships: int = option(20_000, "Users with the rooms that they are in.", minimum=10)
    timelines: int = option(2_000, "Rooms whose newest events are kept ready for /sync.", minimum=10)
    server_keys: int = option(10_000, "Signing keys of other servers.", minimum=10)
    sessions: int = option(20_000, "Access tokens with their users.", minimum=10)


@dataclass(frozen=True, slots=True)
class Limits:
    """Bounds of single requests and connections."""

    client_body: Size = option(2 * 1024 * 1024, "Largest JSON body from a client.", minimum=65_536)
    federation_body: Size = option(16 * 1024 * 1024, "Largest JSON body from another server.", minimum=65_536)
    keepalive: Duration = option(90, "How long an idle connection is kept open.")
    stop_grace: Duration = option(1.5, "How long requests under way may take to end when the server stops.")
    sync_timeout: Duration = option(300, "The longest that /sync waits, whatever the client asks for.")
    compress_responses: bool = option(
        False, "gzip large JSON for clients that accept it; a reverse proxy does this better.", advanced=True
    )
