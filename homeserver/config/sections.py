"""The whole configuration, as one frozen object."""

from dataclasses import dataclass
from pathlib import Path

from homeserver.config.account_sections import (
    Passwords,
    Presence,
    RateLimits,
    Registration,
    Rooms,
    ServerNotices,
    Sessions,
    Users,
)
from homeserver.config.option import REQUIRED, option, section
from homeserver.config.outside_sections import Appservices, Federation, Media, Push, Turn, UrlPreviews
from homeserver.config.server_sections import (
    DEFAULT_LISTENERS,
    Caches,
    Database,
    Email,
    Limits,
    Listener,
    Logging,
    Metrics,
    Redis,
    Server,
    Support,
)
from homeserver.config.sign_on_sections import SignOn


@dataclass(frozen=True, slots=True)
class Config:
    """Everything that can be set. Paths are absolute once loaded; durations are seconds, sizes bytes."""

    server: Server = option(REQUIRED, "")
    listeners: tuple[Listener, ...] = option(DEFAULT_LISTENERS, "Where the server listens.")
    workers: int = option(
        1, "Processes that share the work and the ports. More than one needs PostgreSQL and Redis.", minimum=1
    )
    database: Database = section(Database)
    redis: Redis = section(Redis)
    registration: Registration = section(Registration)
    sessions: Sessions = section(Sessions)
    sso: SignOn = section(SignOn)
    passwords: Passwords = section(Passwords)
    rate_limits: RateLimits = section(RateLimits)
    rooms: Rooms = section(Rooms)
    federation: Federation = section(Federation)
    presence: Presence = section(Presence)
    users: Users = section(Users)
    server_notices: ServerNotices = section(ServerNotices)
    media: Media = section(Media)
    appservices: Appservices = section(Appservices)
    url_previews: UrlPreviews = section(UrlPreviews)
    push: Push = section(Push)
    turn: Turn = section(Turn)
    support: Support = section(Support)
    email: Email = section(Email)
    logging: Logging = section(Logging)
    metrics: Metrics = section(Metrics)
    caches: Caches = section(Caches)
    limits: Limits = section(Limits)

    @property
    def server_name(self) -> str:
        """`server.name`, which half of the program needs."""
        return self.server.name

    @property
    def notices_user(self) -> str:
        """The user id of who sends the server's notices."""
        return f"@{self.server_notices.localpart}:{self.server.name}"

    @property
    def data_dir(self) -> Path:
        """`server.data_dir`, as a path."""
        return Path(self.server.data_dir)

    @property
    def public_base_url(self) -> str:
        """The URL that clients reach this server at, always with a slash at the end."""
        return (self.server.public_base_url or f"https://{self.server.name}").rstrip("/") + "/"

    @property
    def is_sqlite(self) -> bool:
        """Whether the database is a SQLite file."""
        return self.database.url.startswith("sqlite")
