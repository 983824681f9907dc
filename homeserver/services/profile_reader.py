"""What member events tell of a user's profile."""

from typing import Any, Protocol


class ProfileReader(Protocol):
    """Reads profiles of local users."""

    async def member_fields(self, user_id: str) -> dict[str, Any]:
        """`displayname` and `avatar_url` for the content of a member event; those that are not set are absent."""
        ...


class NoProfiles:
    """Where users have no profiles."""

    async def member_fields(self, user_id: str) -> dict[str, Any]:
        return {}
