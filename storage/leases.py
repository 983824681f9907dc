"""Leases: work that one process at a time may do. Whoever holds one renews it; whoever died loses it."""

from sqlalchemy import delete, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from storage.database import Database, Write
from storage.tables import leases


class LeaseTaken(Exception):
    """Another process took the lease in this moment."""


class Lease:
    """The lease of a name as one process has it. Where no other process shares the database it is always held."""

    def __init__(self, database: Database, name: str, holder: str, lifetime_ms: int) -> None:
        self._database = database
        self._name = name
        self._holder = holder
        self._lifetime_ms = lifetime_ms
        self._until = 0
        self.fence = 0
        """Of whoever held it when this process looked last."""

    def is_held_as(self, fence: int) -> bool:
        """Whether this process holds it under this fence."""
        return bool(self._until) and self.fence == fence

    async def hold(self, now_ms: int) -> bool:
        """Takes the lease, or renews it once half of its life is over; False while another process holds it."""
        if not self._database.is_shared or self._until - now_ms > self._lifetime_ms // 2:
            return True
        try:
            is_held, self.fence = await self._database.write(
                lambda tx: take_lease(tx, self._name, self._holder, now_ms, self._lifetime_ms)
            )
        except LeaseTaken:
            is_held = False
        self._until = now_ms + self._lifetime_ms if is_held else 0
        return is_held

    async def give_up(self) -> None:
        """Lets another process have it at once, if this one holds it."""
        if self._until:
            self._until = 0
            await self._database.write(lambda tx: give_up_lease(tx, self._name, self._holder))


async def take_lease(tx: Write, name: str, holder: str, now_ms: int, lifetime_ms: int) -> tuple[bool, int]:
    """Takes or renews a lease; returns whether it is the holder's, and the fence of whoever holds it.

    The fence grows whenever the lease changes hands: what was begun under an older one is void. Raises `LeaseTaken`
    (let it undo the operation) where two processes take a new one at once.
    """
    where = leases.c.name == name
    row = await tx.fetch_one(select(leases.c.holder, leases.c.fence, leases.c.expires_at).where(where))
    expires_at = now_ms + lifetime_ms
    if row is None:
        try:
            await tx.execute(insert(leases).values(name=name, holder=holder, fence=now_ms, expires_at=expires_at))
        except IntegrityError as error:
            raise LeaseTaken(name) from error
        return True, now_ms
    fence = row.fence if row.holder == holder else row.fence + 1
    free = or_(leases.c.holder == holder, leases.c.expires_at <= now_ms)
    statement = (
        update(leases).where(where, leases.c.fence == row.fence, free).values(
            holder=holder, fence=fence, expires_at=expires_at
        )
    )  # fmt: skip
    return (True, fence) if await tx.execute(statement) else (False, row.fence)


async def give_up_lease(tx: Write, name: str, holder: str) -> None:
    """Lets another process have it at once."""
    await tx.execute(delete(leases).where(leases.c.name == name, leases.c.holder == holder))
