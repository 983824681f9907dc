"""What happens with people who are new."""

from homeserver.app.foundation import Foundation
from homeserver.app.rooms import RoomWriting
from homeserver.services.accounts import Accounts
from homeserver.services.auto_join import AutoJoin


def build_arrivals(base: Foundation, accounts: Accounts, writing: RoomWriting) -> AutoJoin | None:
    """None where they are in no rooms from the start."""
    config = base.config.registration
    if not config.auto_join_rooms:
        return None
    creator = config.auto_join_creator
    return AutoJoin(
        accounts,
        writing.membership,
        writing.directory,
        writing.create_room,
        config.auto_join_rooms,
        server_name=base.server_name,
        may_create=config.auto_create_rooms,
        creator=None if creator is None else f"@{creator}:{base.server_name}",
    )
