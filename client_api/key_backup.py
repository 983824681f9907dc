"""Backups of room keys. client-server-api §Server-side key backups"""

from typing import Any

from homeserver.services.key_backup import KeyBackups
from homeserver.web.request import Request


class KeyBackupHandlers:
    """The backups of whoever asks."""

    def __init__(self, backups: KeyBackups) -> None:
        self._backups = backups

    async def create(self, request: Request) -> dict[str, Any]:
        """A new backup."""
        body = request.body
        return {"version": await self._backups.create(request.user.user_id, body["algorithm"], body["auth_data"])}

    async def current(self, request: Request) -> dict[str, Any]:
        """The newest backup."""
        return await self._backups.current(request.user.user_id)

    async def version(self, request: Request) -> dict[str, Any]:
        """One backup."""
        return await self._backups.version(request.user.user_id, request.path["version"])

    async def update(self, request: Request) -> dict[str, Any]:
        """Change the data of a backup's algorithm."""
        await self._backups.update(request.user.user_id, request.path["version"], request.body)
        return {}

    async def delete(self, request: Request) -> dict[str, Any]:
        """Delete a backup."""
        await self._backups.delete(request.user.user_id, request.path["version"])
        return {}

    async def put_keys(self, request: Request) -> dict[str, Any]:
        """Add keys of several rooms."""
        rooms = {room_id: room["sessions"] for room_id, room in request.body["rooms"].items()}
        return await self._backups.put(request.user.user_id, _version(request), rooms)

    async def put_room_keys(self, request: Request) -> dict[str, Any]:
        """Add keys of a room."""
        rooms = {request.path["roomId"]: request.body["sessions"]}
        return await self._backups.put(request.user.user_id, _version(request), rooms)

    async def put_key(self, request: Request) -> dict[str, Any]:
        """Add a key."""
        rooms = {request.path["roomId"]: {request.path["sessionId"]: request.body}}
        return await self._backups.put(request.user.user_id, _version(request), rooms)

    async def keys(self, request: Request) -> dict[str, Any]:
        """Every key."""
        return await self._backups.all_keys(request.user.user_id, _version(request))

    async def room_keys(self, request: Request) -> dict[str, Any]:
        """The keys of a room."""
        return await self._backups.room_keys(request.user.user_id, _version(request), request.path["roomId"])

    async def key(self, request: Request) -> dict[str, Any]:
        """One key."""
        path = request.path
        return await self._backups.key(request.user.user_id, _version(request), path["roomId"], path["sessionId"])

    async def delete_keys(self, request: Request) -> dict[str, Any]:
        """Delete all keys, those of the room or that of the session in the path."""
        room_id, session_id = request.path.get("roomId"), request.path.get("sessionId")
        return await self._backups.delete_keys(request.user.user_id, _version(request), room_id, session_id)


def _version(request: Request) -> str:
    return request.query.require("version")
