"""What stands beside rooms and accounts: key backups."""

from dataclasses import dataclass

from client_api.key_backup import KeyBackupHandlers
from homeserver.app.foundation import Foundation
from homeserver.app.rooms import RoomReading
from homeserver.services.key_backup import KeyBackups


@dataclass(frozen=True, slots=True)
class Extras:
    """Services with a life of their own, and the handlers over all of them."""

    handlers: tuple[object, ...]

    async def start(self) -> None:
        """Begin the work in the background."""

    async def stop(self) -> None:
        """End it, and note how far it has come."""


def build_extras(base: Foundation, reading: RoomReading) -> Extras:
    """Needs the rooms to read, nothing that writes them."""
    return Extras((KeyBackupHandlers(KeyBackups(base.database)),))
