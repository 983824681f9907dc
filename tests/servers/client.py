"""A small Matrix client for tests against real servers: requests, and waiting for what comes down /sync."""

import asyncio
import itertools
from collections.abc import Callable
from typing import Any, Self
from urllib.parse import quote

import aiohttp

_transactions = itertools.count()
Event = dict[str, Any]


class Refused(Exception):
    """The server said no."""

    def __init__(self, status: int, body: Any) -> None:
        super().__init__(f"{status} {body}")
        self.status = status
        self.errcode = body.get("errcode") if isinstance(body, dict) else None


class Client:
    """One device of one user. `seen`: every timeline event that came down /sync, by room, in the order of arrival."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._http = aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60))
        self.user_id = self.device_id = self.token = ""
        self.since: str | None = None
        self.seen: dict[str, list[Event]] = {}

    @classmethod
    async def registered(cls, url: str, localpart: str, password: str = "correct horse battery") -> Self:
        """A new account, logged in."""
        client = cls(url)
        auth = {"type": "m.login.dummy"}
        body = {"username": localpart, "password": password, "auth": auth}
        client._take(await client.post("register", body))
        return client

    @classmethod
    async def logged_in(cls, url: str, user_id: str, password: str = "correct horse battery") -> Self:
        """Another device of an account."""
        client = cls(url)
        identifier = {"type": "m.id.user", "user": user_id}
        body = {"type": "m.login.password", "identifier": identifier, "password": password}
        client._take(await client.post("login", body))
        return client

    def _take(self, answer: dict[str, Any]) -> None:
        self.user_id, self.device_id, self.token = answer["user_id"], answer["device_id"], answer["access_token"]

    async def close(self) -> None:
        """Close the connections."""
        await self._http.close()

    async def request(self, method: str, path: str, body: Any = None, **query: Any) -> Any:
        """JSON of the answer; raises Refused. `path` is below /_matrix/client/v3/ unless it begins with a slash."""
        url = self._url + (path if path.startswith("/") else f"/_matrix/client/v3/{path}")
        headers = {"Authorization": f"Bearer {self.token}"} if self.token else {}
        parameters = {name: str(value) for name, value in query.items() if value is not None}
        async with self._http.request(method, url, json=body, headers=headers, params=parameters) as answer:
            content = await answer.json(content_type=None)
            if answer.status != 200:
                raise Refused(answer.status, content)
            return content

    async def get(self, path: str, **query: Any) -> Any:
        """GET."""
        return await self.request("GET", path, **query)

    async def post(self, path: str, body: Any = None, **query: Any) -> Any:
        """POST."""
        return await self.request("POST", path, {} if body is None else body, **query)

    async def put(self, path: str, body: Any = None, **query: Any) -> Any:
        """PUT."""
        return await self.request("PUT", path, {} if body is None else body, **query)

    async def create_room(self, **body: Any) -> str:
        """The new room's id."""
        return str((await self.post("createRoom", body))["room_id"])

    async def join(self, room: str, via: str | None = None) -> str:
        """The id of the room that was joined, by id or alias."""
        return str((await self.post(f"join/{quote(room, safe='')}", via=via, server_name=via))["room_id"])

    async def send(self, room_id: str, text: str, *, transaction: str | None = None) -> str:
        """The event id of a new message."""
        transaction = transaction or f"t{next(_transactions)}"
        content = {"msgtype": "m.text", "body": text}
        path = f"rooms/{quote(room_id, safe='')}/send/m.room.message/{transaction}"
        return str((await self.put(path, content))["event_id"])

    async def sync(self, timeout_ms: int = 0) -> dict[str, Any]:
        """One /sync; what its timelines hold is added to `seen`."""
        answer: dict[str, Any] = await self.get("sync", timeout=timeout_ms, since=self.since)
        self.since = answer["next_batch"]
        for room_id, room in answer.get("rooms", {}).get("join", {}).items():
            self.seen.setdefault(room_id, []).extend(room.get("timeline", {}).get("events", []))
        return answer

    async def sync_until(self, found: Callable[[dict[str, Any]], Any], seconds: float = 60) -> Any:
        """Long-poll until `found` makes something true of an answer, and return that."""
        async with asyncio.timeout(seconds):
            while True:
                result = found(await self.sync(10_000))
                if result:
                    return result

    async def wait_for_text(self, room_id: str, text: str, seconds: float = 60) -> Event:
        """The message with this body, once it has come down /sync."""

        def found(_: object) -> Event | None:
            return next((e for e in self.seen.get(room_id, []) if e["content"].get("body") == text), None)

        return found(None) or await self.sync_until(found, seconds)

    async def wait_for_invite(self, room_id: str, seconds: float = 60) -> Any:
        """Until an invite to the room has come down /sync."""
        return await self.sync_until(lambda a: a.get("rooms", {}).get("invite", {}).get(room_id), seconds)

    def texts(self, room_id: str) -> list[str]:
        """Bodies of the messages seen in the room."""
        return [e["content"]["body"] for e in self.seen.get(room_id, []) if "body" in e["content"]]

    async def history(self, room_id: str) -> list[Event]:
        """The whole room by /messages, oldest first."""
        events: list[Event] = []
        token: str | None = None
        while True:
            path = f"rooms/{quote(room_id, safe='')}/messages"
            page = await self.get(path, dir="b", limit=100, **{"from": token})
            events += page["chunk"]
            token = page.get("end")
            if not token:
                return events[::-1]
