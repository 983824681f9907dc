"""Sections about what lies outside: other servers, media, application services, push, previews of URLs."""

from dataclasses import dataclass
from typing import Literal

from homeserver.config.option import REQUIRED, Duration, FilePath, Secret, Size, option


@dataclass(frozen=True, slots=True)
class Federation:
    """Other Matrix servers."""

    enabled: bool = option(True, "Talk with other servers.")
    allowed_servers: tuple[str, ...] | None = option(
        None, "Only with these, * and ? as wildcards; default: with all.", shown=["*.example.org"]
    )
    denied_servers: tuple[str, ...] = option((), "Never with these, * and ? as wildcards.")
    allow_private_addresses: bool = option(
        False,
        "Connect to loopback and private addresses too: for tests, or where other servers are in the same network.",
    )
    ca_files: tuple[FilePath, ...] = option(
        (), "PEM files of certificate authorities to trust beside the system's; push and application services too."
    )
    verify_certificates: bool = option(True, "Never turn this off but in tests.", advanced=True)
    trusted_key_servers: tuple[str, ...] = option((), "Servers to ask for keys of a server that cannot be reached.")
    well_known_server: str | None = option(
        None, "host:port to answer at /.well-known/matrix/server, where this server's name points here."
    )
    connect_timeout: Duration = option(10, "To open a connection.")
    request_timeout: Duration = option(60, "To get an answer; joins may take several times as long.")
    retry_min: Duration = option(
        2, "The first pause after a server could not be reached; then it doubles.", advanced=True
    )
    retry_max: Duration = option(3600, "The longest such pause.", advanced=True)
    faster_joins: bool = option(
        True, "Join rooms of other servers without their list of members, which is read in the background."
    )
    public_rooms: bool = option(True, "Other servers may read the directory of public rooms.")
    profiles: bool = option(True, "Other servers may ask for profiles.")
    device_names: bool = option(False, "Other servers may see the names of devices.")


@dataclass(frozen=True, slots=True)
class Thumbnail:
    """A size in which thumbnails are made."""

    width: int = option(REQUIRED, "Pixels.", minimum=1)
    height: int = option(REQUIRED, "Pixels.", minimum=1)
    method: Literal["crop", "scale"] = option("scale", "crop fills the size, scale fits into it.")


@dataclass(frozen=True, slots=True)
class Media:
    """Files that people send."""

    path: FilePath = option("", "Folder of the files; default: <data_dir>/media.")
    max_upload_size: Size = option(
        50 * 1024 * 1024, "Largest file that may be uploaded, or fetched from another server."
    )
    max_pixels: int = option(64_000_000, "Larger pictures (width × height) get no thumbnail.", minimum=1)
    thumbnails: tuple[Thumbnail, ...] = option(
        (
            Thumbnail(32, 32, "crop"),
            Thumbnail(96, 96, "crop"),
            Thumbnail(320, 240, "scale"),
            Thumbnail(640, 480, "scale"),
            Thumbnail(800, 600, "scale"),
        ),
        "Sizes of thumbnails.",
    )
    upload_lifetime: Duration = option(86_400, "How long a media id that was created may wait for its upload.")
    max_pending_uploads: int = option(5, "Media ids that a user may have created and not yet used.", minimum=1)
    remote_lifetime: Duration | None = option(
        None, "Forget media of other servers that nobody asked for in so long; default: keep."
    )
    legacy_endpoints: bool = option(True, "Answer the old endpoints that need no access token.")


@dataclass(frozen=True, slots=True)
class Appservices:
    """Bridges and bots that register as application services."""

    registrations: tuple[FilePath, ...] = option((), "Registration files (YAML).")


@dataclass(frozen=True, slots=True)
class UrlPreviews:
    """Previews of web pages that are linked to."""

    enabled: bool = option(False, "Fetch pages and tell clients their titles and pictures.")
    allow_private_addresses: bool = option(
        False, "Fetch from loopback and private addresses too: this lets users read what only this machine should see."
    )
    max_size: Size = option(10 * 1024 * 1024, "Read no more of a page than this.")
    timeout: Duration = option(10, "To fetch a page.")
    cache_lifetime: Duration = option(3600, "How long a preview is kept.")


@dataclass(frozen=True, slots=True)
class Push:
    """Notifications to phones, through push gateways."""

    enabled: bool = option(True, "Send notifications to push gateways.")
    include_content: bool = option(True, "Let the gateway see messages, unless the client asked for event ids only.")
    allow_private_addresses: bool = option(False, "Push gateways may be on loopback and private addresses.")
    timeout: Duration = option(15, "To get an answer of a push gateway.")
    legacy_mentions: bool = option(
        True,
        "Messages of clients that do not say whom they mention (m.mentions) mention those whose names are in them.",
    )
    thread_subscriptions: bool = option(
        False,
        "Threads notify those who follow them, and nobody else unless mentioned (proposal 4306): for clients that "
        "let people follow threads.",
    )


@dataclass(frozen=True, slots=True)
class Turn:
    """TURN servers for calls."""

    uris: tuple[str, ...] = option((), "turn: and turns: URIs.")
    shared_secret: Secret | None = option(None, "The secret that is shared with the TURN server.")
    lifetime: Duration = option(86_400, "How long the credentials given to a client last.")
