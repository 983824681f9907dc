"""Settings that users keep for one of their devices go when the device goes (proposal 3890)."""

from collections.abc import Iterable
from typing import Final

from homeserver.services.account_data import ACCOUNT, AccountData
from storage.database import Write

_PREFIXES: Final = ("m.local_notification_settings.", "org.matrix.msc3890.local_notification_settings.")


class DeviceSettings:
    """Account data whose type ends in a device id."""

    def __init__(self, account_data: AccountData) -> None:
        self._account_data = account_data

    async def forget(self, tx: Write, user_id: str, device_ids: Iterable[str]) -> None:
        """As a part of the write that removes the devices."""
        rows = (await self._account_data.of_user(user_id)).rows
        for device_id in device_ids:
            for prefix in _PREFIXES:
                row = rows.get((ACCOUNT, prefix + device_id))
                if row is not None and not row.is_deleted:
                    self._account_data.append(tx, user_id, ACCOUNT, row.type, b"{}")
