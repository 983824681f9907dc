"""Who is asked for local names that nobody has yet: those in the namespaces of application services."""

from typing import Protocol


class UnknownNames(Protocol):
    """May have a name made while it is asked for."""

    async def user(self, user_id: str) -> bool:
        """Whether a local user that nobody knew is there now."""
        ...

    async def alias(self, alias: str) -> bool:
        """Whether an alias of this server that nobody knew may be there now."""
        ...


class NobodyKnows:
    """Where there is nobody to be asked."""

    async def user(self, user_id: str) -> bool:
        return False

    async def alias(self, alias: str) -> bool:
        return False
