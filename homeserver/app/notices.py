"""What the server itself tells its users."""

from homeserver.app.accounts import AccountServices
from homeserver.app.foundation import Foundation
from homeserver.app.rooms import RoomReading, RoomWriting
from homeserver.services.server_notices import ServerNotices


def build_notices(
    base: Foundation, accounts: AccountServices, reading: RoomReading, writing: RoomWriting
) -> ServerNotices:
    """Notices, to users one by one."""
    return ServerNotices(
        base.database,
        accounts.accounts,
        reading.account_data,
        reading.heads,
        writing.create_room,
        writing.membership,
        writing.send_event,
        writing.idempotency,
        accounts.profiles,
        base.config.server_notices,
        server_name=base.server_name,
    )
