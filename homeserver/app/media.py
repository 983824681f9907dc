"""The media repository."""

from dataclasses import dataclass
from pathlib import Path

from homeserver.app.foundation import Foundation
from homeserver.app.outside import Outside
from homeserver.services.media import MediaReader
from homeserver.services.media_expiry import MediaExpiry
from homeserver.services.media_store import MediaStore
from homeserver.services.media_uploads import MediaUploads
from homeserver.services.remote_media import FederationMedia
from homeserver.services.thumbnails import Thumbnails


@dataclass(frozen=True, slots=True)
class MediaServices:
    """Uploading, reading, thumbnails, and forgetting what nobody needs."""

    uploads: MediaUploads
    reader: MediaReader
    thumbnails: Thumbnails
    expiry: MediaExpiry


def media_store(base: Foundation) -> MediaStore:
    """Where the files lie."""
    return MediaStore(Path(base.config.media.path or Path(base.config.data_dir) / "media"))


def build_media(base: Foundation, outside: Outside) -> MediaServices:
    """Media of other servers is fetched where federation is on."""
    config, name = base.config.media, base.server_name
    store = media_store(base)
    remote = FederationMedia(outside.client, store.spool) if base.config.federation.enabled else None
    reader = MediaReader(base.database, store, config, name, remote, base.clock, base.tasks)
    return MediaServices(
        MediaUploads(base.database, store, config, name, base.clock, base.randomness),
        reader,
        Thumbnails(base.database, store, reader, config, base.tasks),
        MediaExpiry(base.database, store, config, name, base.clock, base.tasks),
    )
