"""What this server asks of others about rooms that it is not in. `remote_join` answers over federation."""

from collections.abc import Mapping, Sequence
from typing import Any, Protocol

from homeserver.core.events import Event
from homeserver.errors import NotFound


class RemoteRooms(Protocol):
    """Operations that need another server. Each raises a `MatrixError` where no server was found that would do it."""

    async def join(self, user_id: str, room_id: str, via: Sequence[str], content: Mapping[str, Any]) -> None:
        """Join a local user to a room through one of the servers. `content` goes into the member event. When it
        returns, the room and the join are stored."""
        ...

    async def leave(self, user_id: str, room_id: str, via: Sequence[str], content: Mapping[str, Any]) -> None:
        """Reject an invite to, or take back a knock on, a room that this server is not in; the leave is stored."""
        ...

    async def knock(self, user_id: str, room_id: str, via: Sequence[str], content: Mapping[str, Any]) -> None:
        """Knock on a room; the knock is stored."""
        ...

    async def send_invite(self, event: Event, stripped_state: Sequence[Mapping[str, Any]]) -> Event:
        """Hand an invite to the invited user's server; returns it with that server's signature. Nothing is stored."""
        ...

    async def resolve_alias(self, alias: str) -> tuple[str, list[str]]:
        """(room id, servers in the room) of an alias of another server. Raises `NotFound`."""
        ...


class NoRemoteRooms:
    """For a server that does not federate."""

    async def join(self, user_id: str, room_id: str, via: Sequence[str], content: Mapping[str, Any]) -> None:
        raise NotFound("This server does not know the room")

    async def leave(self, user_id: str, room_id: str, via: Sequence[str], content: Mapping[str, Any]) -> None:
        raise NotFound("This server does not know the room")

    async def knock(self, user_id: str, room_id: str, via: Sequence[str], content: Mapping[str, Any]) -> None:
        raise NotFound("This server does not know the room")

    async def send_invite(self, event: Event, stripped_state: Sequence[Mapping[str, Any]]) -> Event:
        raise NotFound("This server does not federate")

    async def resolve_alias(self, alias: str) -> tuple[str, list[str]]:
        raise NotFound("There is no such room alias")
