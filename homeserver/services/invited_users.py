"""Whom of this server's users others may invite."""

from storage import users
from storage.database import Database


class LocalUsers:
    """`InvitedUsers` by the accounts that there are."""

    def __init__(self, database: Database) -> None:
        self._database = database

    async def may_be_invited(self, user_id: str, sender: str) -> bool:
        """Whether there is such a user, with an account that is still open."""
        async with self._database.read() as tx:
            user = await users.user_of(tx, user_id)
        return user is not None and not user.deactivated
