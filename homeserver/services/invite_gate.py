"""Keeps invites away from users who do not want them. https://spec.matrix.org/v1.19/client-server-api/#invite-permission"""

from collections.abc import Iterable
from typing import Protocol

from homeserver.core.invite_permissions import InvitePermission
from homeserver.errors import InviteBlocked
from homeserver.services.account_data import AccountData


class InviteGate(Protocol):
    """What those who invite have to ask before."""

    async def check(self, user_id: str, sender: str) -> None:
        """Raises InviteBlocked where the user (of this server) refuses invites by the sender."""
        ...

    async def taking(self, user_ids: Iterable[str], sender: str) -> list[str]:
        """Those of the users who do not."""
        ...


class OpenGate:
    """Where everybody takes every invite."""

    async def check(self, user_id: str, sender: str) -> None:
        return None

    async def taking(self, user_ids: Iterable[str], sender: str) -> list[str]:
        return list(user_ids)


class AccountDataGate:
    """By the users' account data. Users of other servers have none here, and pass. Nobody may invite the one who sends
    the server's notices."""

    def __init__(self, account_data: AccountData, notices_user: str | None = None) -> None:
        self._account_data = account_data
        self._notices_user = notices_user

    async def check(self, user_id: str, sender: str) -> None:
        if not await self._takes(user_id, sender):
            raise InviteBlocked

    async def taking(self, user_ids: Iterable[str], sender: str) -> list[str]:
        return [user_id for user_id in user_ids if await self._takes(user_id, sender)]

    async def _takes(self, user_id: str, sender: str) -> bool:
        if user_id == self._notices_user:
            return False
        data = await self._account_data.of_user(user_id)
        return data.invites.of(sender) is not InvitePermission.BLOCK
