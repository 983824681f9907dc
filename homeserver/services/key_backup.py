"""Backups of room keys.

https://spec.matrix.org/v1.19/client-server-api/#server-side-key-backups
"""

from collections.abc import Mapping
from typing import Any

import orjson

from homeserver.errors import InvalidParam, NotFound, TooLarge, WrongRoomKeysVersion
from storage import key_backup as storage
from storage.database import Database, Read, Write
from storage.key_backup import BackedUpKey, KeyBackup, KeyRank, Place

Sessions = Mapping[str, Mapping[str, Any]]
"""Keys of a room as clients write them: session id → KeyBackupData."""

# What the database's integers hold.
_LARGEST = 2**63 - 1


class KeyBackups:
    """The backups of every user. A version is a number; only the newest takes keys."""

    def __init__(self, database: Database) -> None:
        self._database = database

    # --- versions

    async def create(self, user_id: str, algorithm: str, auth_data: Mapping[str, Any]) -> str:
        """A new, empty backup. Returns its version."""

        async def operation(tx: Write) -> int:
            return await storage.create(tx, user_id, algorithm, orjson.dumps(auth_data))

        return str(await self._database.write(operation))

    async def current(self, user_id: str) -> dict[str, Any]:
        """What is known of the newest backup. Raises NotFound."""
        async with self._database.read() as tx:
            backup = await storage.current(tx, user_id)
        if backup is None:
            raise NotFound("You have no key backup")
        return _info(backup)

    async def version(self, user_id: str, version: str) -> dict[str, Any]:
        """What is known of a backup. Raises NotFound."""
        async with self._database.read() as tx:
            return _info(await _require(tx, user_id, version))

    async def update(self, user_id: str, version: str, body: Mapping[str, Any]) -> None:
        """Change a backup's `auth_data`, and nothing else. Raises NotFound, InvalidParam."""
        if body.get("version") not in (None, version):
            raise InvalidParam("The version in the body is not the one in the path")

        async def operation(tx: Write) -> None:
            backup = await _require(tx, user_id, version)
            if body["algorithm"] != backup.algorithm:
                raise InvalidParam("The algorithm of a backup cannot be changed")
            await storage.set_auth_data(tx, user_id, backup.version, orjson.dumps(body["auth_data"]))

        await self._database.write(operation)

    async def delete(self, user_id: str, version: str) -> None:
        """Delete a backup with its keys; fine if that was done before. Raises NotFound where there never was one."""

        async def operation(tx: Write) -> None:
            number = _number(version)
            if await storage.backup_of(tx, user_id, number) is None:
                raise NotFound("There is no such key backup")
            await storage.remove(tx, user_id, number)

        await self._database.write(operation)

    # --- keys

    async def put(self, user_id: str, version: str, rooms: Mapping[str, Sessions]) -> dict[str, Any]:
        """Add keys to the current backup: of those for the same session the better one is kept.

        Raises NotFound, WrongRoomKeysVersion, InvalidParam.
        """
        offered = {
            (room_id, session_id): _key(key)
            for room_id, sessions in rooms.items()
            for session_id, key in sessions.items()
        }

        async def operation(tx: Write) -> dict[str, Any]:
            await storage.lock(tx, user_id, _number(version))
            backup = await _require_current(tx, user_id, version)
            present: dict[Place, KeyRank] = {}
            for room_id, sessions in rooms.items():
                found = await storage.ranks(tx, user_id, backup.version, room_id, sessions)
                present.update(((room_id, session_id), rank) for session_id, rank in found.items())
            kept = {
                place: key
                for place, key in offered.items()
                if place not in present or replaces(key.rank, present[place])
            }
            if not kept:
                return _state(backup.etag, backup.key_count)
            replaced = [place for place in kept if place in present]
            await storage.put(tx, user_id, backup.version, kept, replaced)
            return _state(*await storage.count_change(tx, user_id, backup.version, len(kept) - len(replaced)))

        return await self._database.write(operation)

    async def all_keys(self, user_id: str, version: str) -> dict[str, Any]:
        """Every key of a backup: `{"rooms": …}`. Raises NotFound."""
        rooms: dict[str, dict[str, Any]] = {}
        for (room_id, session_id), key in (await self._keys(user_id, version)).items():
            rooms.setdefault(room_id, {"sessions": {}})["sessions"][session_id] = _written(key)
        return {"rooms": rooms}

    async def room_keys(self, user_id: str, version: str, room_id: str) -> dict[str, Any]:
        """The keys of one room: `{"sessions": …}`. Raises NotFound where there is no such backup."""
        keys = await self._keys(user_id, version, room_id)
        return {"sessions": {session_id: _written(key) for (_, session_id), key in keys.items()}}

    async def key(self, user_id: str, version: str, room_id: str, session_id: str) -> dict[str, Any]:
        """One key. Raises NotFound."""
        keys = await self._keys(user_id, version, room_id, session_id)
        if not keys:
            raise NotFound("There is no such key in the backup")
        return _written(keys[room_id, session_id])

    async def delete_keys(
        self, user_id: str, version: str, room_id: str | None = None, session_id: str | None = None
    ) -> dict[str, Any]:
        """Delete all keys of a backup, those of a room or that of a session. Raises NotFound."""

        async def operation(tx: Write) -> dict[str, Any]:
            await storage.lock(tx, user_id, _number(version))
            backup = await _require(tx, user_id, version)
            count = await storage.remove_keys(tx, user_id, backup.version, room_id, session_id)
            if not count:
                return _state(backup.etag, backup.key_count)
            return _state(*await storage.count_change(tx, user_id, backup.version, -count))

        return await self._database.write(operation)

    async def _keys(
        self, user_id: str, version: str, room_id: str | None = None, session_id: str | None = None
    ) -> dict[Place, BackedUpKey]:
        async with self._database.read() as tx:
            backup = await _require(tx, user_id, version)
            return await storage.keys_of(tx, user_id, backup.version, room_id, session_id)


def replaces(new: KeyRank, old: KeyRank) -> bool:
    """Whether a key takes the place of another one for the same session.

    https://spec.matrix.org/v1.19/client-server-api/#server-side-key-backups
    """
    if new.is_verified != old.is_verified:
        return new.is_verified
    if new.first_message_index != old.first_message_index:
        return new.first_message_index < old.first_message_index
    return new.forwarded_count < old.forwarded_count


def _key(data: Mapping[str, Any]) -> BackedUpKey:
    index, forwarded = int(data["first_message_index"]), int(data["forwarded_count"])
    if max(index, forwarded) > _LARGEST:
        raise InvalidParam("A number of the key is too large")
    session_data = orjson.dumps(data["session_data"])
    if len(session_data) > 65_536:
        raise TooLarge("The session data of a key is too large")
    return BackedUpKey(KeyRank(data["is_verified"], index, forwarded), session_data)


def _written(key: BackedUpKey) -> dict[str, Any]:
    return {
        "first_message_index": key.rank.first_message_index,
        "forwarded_count": key.rank.forwarded_count,
        "is_verified": key.rank.is_verified,
        "session_data": orjson.Fragment(key.session_data),
    }


def _info(backup: KeyBackup) -> dict[str, Any]:
    return {
        "algorithm": backup.algorithm,
        "auth_data": orjson.Fragment(backup.auth_data),
        "version": str(backup.version),
        **_state(backup.etag, backup.key_count),
    }


def _state(etag: int, count: int) -> dict[str, Any]:
    return {"etag": str(etag), "count": count}


async def _require(tx: Read, user_id: str, version: str) -> KeyBackup:
    backup = await storage.backup_of(tx, user_id, _number(version))
    if backup is None or backup.deleted:
        raise NotFound("There is no such key backup")
    return backup


async def _require_current(tx: Read, user_id: str, version: str) -> KeyBackup:
    backup = await storage.current(tx, user_id)
    if backup is None:
        raise NotFound("You have no key backup")
    if str(backup.version) != version:
        raise WrongRoomKeysVersion(current_version=str(backup.version))
    return backup


def _number(version: str) -> int:
    """The number of a version as it is given out; -1, which none has, for any other text."""
    return int(version) if version.isascii() and version.isdigit() and len(version) <= 18 else -1
