"""Sections about people: accounts, sessions, how fast they may act, what they may do."""

from dataclasses import dataclass, fields
from typing import Literal

from homeserver.config.option import Duration, Secret, option
from homeserver.config.sign_on_sections import Captcha, Policy


@dataclass(frozen=True, slots=True)
class Registration:
    """Who can make an account."""

    enabled: bool = option(False, "Let clients register accounts. `hearth user add` always works.")
    requires_token: bool = option(True, "Registering needs a registration token; false opens the server to everybody.")
    shared_secret: Secret | None = option(
        None, "Whoever knows this can register any account, administrators too (POST /_synapse/admin/v1/register)."
    )
    requires_email: bool = option(False, "Registering needs an e-mail address that is proven; see `email`.")
    allow_guests: bool = option(False, "Let clients use guest accounts, without a password.")
    min_password_length: int = option(8, "Fewer characters are refused as a weak password.", minimum=1)
    terms: tuple[Policy, ...] = option(
        (),
        "What people must agree to.",
        shown=[{"id": "privacy_policy", "name": "Privacy policy", "url": "https://example.org/privacy"}],
    )
    captcha: Captcha = option(Captcha(), "reCAPTCHA: site_key and secret_key.")
    auto_join_rooms: tuple[str, ...] = option(
        (), "Aliases of rooms that new people join.", shown=["#welcome:example.org"]
    )
    auto_create_rooms: bool = option(False, "Make those rooms, public, where they do not exist and are of this server.")
    auto_join_creator: str | None = option(
        None, "The user name of who makes them, and so rules them; default: the first who registers."
    )


@dataclass(frozen=True, slots=True)
class Sessions:
    """Logins, access tokens and devices."""

    password_login: bool = option(True, "Log in with a user name and a password.")
    access_token_lifetime: Duration | None = option(
        None, "How long an access token lasts where the client cannot refresh it; default: until logged out."
    )
    refreshable_access_token_lifetime: Duration = option(
        3600, "How long an access token lasts where the client said that it can refresh it."
    )
    refresh_token_lifetime: Duration | None = option(None, "How long an unused refresh token lasts; default: for ever.")
    login_token_lifetime: Duration = option(120, "How long a one-time login token (to log in a second device) lasts.")
    uia_lifetime: Duration = option(900, "How long a user-interactive authentication may take.")


@dataclass(frozen=True, slots=True)
class Passwords:
    """The cost of hashing a password with Argon2id: more is slower to guess, and slower to log in."""

    memory_kib: int = option(19_456, "Memory in KiB.", minimum=8)
    iterations: int = option(2, "Passes over the memory.", minimum=1)
    lanes: int = option(1, "Lanes.", minimum=1)


@dataclass(frozen=True, slots=True)
class RateLimit:
    """A bucket of tokens: `burst` requests at once, then `per_second` of them."""

    per_second: float = option(1.0, "Requests a second in the long run.", minimum=0.0)
    burst: int = option(10, "Requests at once.", minimum=1)


def _limit(per_second: float, burst: int, doc: str) -> RateLimit:
    return option(RateLimit(per_second, burst), doc)


@dataclass(frozen=True, slots=True)
class RateLimits:
    """How often something may be asked for, by each user, or by each address where there is no user yet."""

    enabled: bool = option(True, "Limit rates at all.")
    login: RateLimit = _limit(0.2, 10, "Logging in; also failed attempts, by account.")
    registration: RateLimit = _limit(0.5, 20, "Registering, each step of it: a client takes three for an account.")
    user_names: RateLimit = _limit(2, 50, "Asking whether a user name is free, as clients do while one is typed.")
    message: RateLimit = _limit(10, 50, "Sending and redacting events.")
    join: RateLimit = _limit(1, 20, "Joining, knocking, leaving.")
    invite: RateLimit = _limit(0.5, 20, "Inviting.")
    room_creation: RateLimit = _limit(0.2, 10, "Creating and upgrading rooms.")
    ephemeral: RateLimit = _limit(20, 100, "Typing, receipts, presence, to-device messages.")
    media: RateLimit = _limit(5, 50, "Uploading media; downloads count as everything else.")
    search: RateLimit = _limit(1, 10, "Searching messages, people and rooms.")
    report: RateLimit = _limit(0.1, 5, "Reporting.")
    keys: RateLimit = _limit(10, 100, "Uploading, querying and claiming keys.")
    general: RateLimit = _limit(50, 300, "Everything else that is limited.")
    federation: RateLimit = _limit(100, 500, "Requests of another server, each server by itself.")

    def bucket_names(self) -> tuple[str, ...]:
        """What an endpoint row may name as its `limit`."""
        return tuple(f.name for f in fields(self) if f.name != "enabled")


@dataclass(frozen=True, slots=True)
class Rooms:
    """Rooms made on this server."""

    default_version: str = option(
        "12",
        "Room version of new rooms. Clients from before mid-2025 do not know that whoever makes a room of version 12 "
        "may do everything there, and offer them less; 11 is for those.",
    )
    encryption_default: Literal["off", "private", "all"] = option(
        "off", "Which new rooms are encrypted from the start, whatever the client asks for."
    )
    creation: Literal["everyone", "admins"] = option("everyone", "Who may create rooms.")
    publication: Literal["everyone", "admins"] = option("everyone", "Who may put a room in the public directory.")
    public_directory_needs_login: bool = option(
        False, "Only users may read the directory of public rooms; the specification lets everybody."
    )
    max_event_delay: Duration = option(
        30 * 86_400, "By how long users may have the server delay events that they send; 0: no event is delayed."
    )
    max_delayed_events: int = option(100, "How many delayed events a user may have waiting.", minimum=0)
    long_texts: bool = option(
        True, "Texts that are too long for an event are stored whole as a file, and their beginning is sent."
    )
    delivered_receipts_up_to: int = option(
        20,
        "Clients that ask for it are told what has arrived at devices of others, in rooms of at most so many members; "
        "0: nobody is.",
        minimum=0,
    )


@dataclass(frozen=True, slots=True)
class Presence:
    """Who is online."""

    enabled: bool = option(True, "Keep and show presence.")
    federate: bool = option(True, "Send presence to other servers, and believe theirs.")
    active_for: Duration = option(30, "For how long after doing something a user counts as active at this moment.")
    idle_after: Duration = option(300, "After how long without doing anything a user is shown as away.")
    offline_after: Duration = option(30, "After how long without a /sync a user is shown as offline.")


@dataclass(frozen=True, slots=True)
class ServerNotices:
    """What the server itself tells its users, each in a room of their own: docs/operating/accounts.md."""

    localpart: str = option(
        "_server", "The user name of who tells it: nobody can have it. Changed later, everybody gets another room."
    )
    display_name: str = option("Server notices", "What that user is called.")
    avatar_url: str | None = option(None, "The picture of that user, an mxc:// URI.")
    room_name: str = option("Server notices", "What the rooms are called.")
    room_topic: str | None = option(None, "What the rooms say that they are for.")
    room_avatar_url: str | None = option(None, "The picture of the rooms, an mxc:// URI.")


@dataclass(frozen=True, slots=True)
class Users:
    """The directory of people."""

    search_all: bool = option(False, "Search finds everybody here, not only those whom the searcher could meet anyway.")
