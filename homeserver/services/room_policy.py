"""What the operator allows of new rooms."""

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Literal

from homeserver.errors import Forbidden
from homeserver.services.room_presets import NewRoom

if TYPE_CHECKING:
    from homeserver.services.sessions import Requester

_ENCRYPTION = ("m.room.encryption", "")
_ALGORITHM = "m.megolm.v1.aes-sha2"


@dataclass(frozen=True, slots=True)
class RoomPolicy:
    """The section `rooms` of the config, as far as it binds users."""

    creation: Literal["everyone", "admins"] = "everyone"
    publication: Literal["everyone", "admins"] = "everyone"
    encryption_default: Literal["off", "private", "all"] = "off"

    def check_creation(self, requester: "Requester") -> None:
        """Raises Forbidden for who may create no rooms."""
        if self.creation == "admins" and not _is_trusted(requester):
            raise Forbidden("Only administrators of this server may create rooms")

    def check_publication(self, requester: "Requester") -> None:
        """Raises Forbidden for who may put no room in the directory."""
        if self.publication == "admins" and not _is_trusted(requester):
            raise Forbidden("Only administrators of this server may put rooms in its directory")

    def applied_to(self, new: NewRoom) -> NewRoom:
        """The room, encrypted where it has to be and was not asked to be."""
        is_private = new.preset != "public_chat" and not new.is_public
        if self.encryption_default == "off" or (self.encryption_default == "private" and not is_private):
            return new
        if _ENCRYPTION in new.initial_state:
            return new
        return replace(new, initial_state={**new.initial_state, _ENCRYPTION: {"algorithm": _ALGORITHM}})


def _is_trusted(requester: "Requester") -> bool:
    return requester.is_admin or requester.appservice is not None
