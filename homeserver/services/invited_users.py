"""Whom of this server's users others may invite."""

from homeserver.services.invite_gate import InviteGate
from homeserver.services.unknown_names import NobodyKnows, UnknownNames
from storage import users
from storage.database import Database


class LocalUsers:
    """`InvitedUsers` by the accounts that there are."""

    def __init__(self, database: Database, invites: InviteGate) -> None:
        self._database = database
        self._invites = invites
        # Set later by the composition root.
        self.unknown: UnknownNames = NobodyKnows()

    async def may_be_invited(self, user_id: str, sender: str) -> bool:
        """Whether there is such a user, with an account that is still open. Raises InviteBlocked."""
        async with self._database.read() as tx:
            user = await users.user_of(tx, user_id)
        if user is None and await self.unknown.user(user_id):
            async with self._database.read() as tx:
                user = await users.user_of(tx, user_id)
        if user is None or user.deactivated:
            return False
        await self._invites.check(user_id, sender)
        return True
