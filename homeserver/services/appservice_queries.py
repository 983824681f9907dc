"""Names that nobody here has, but that lie in the namespace of an application service: it is asked for them first.

It makes the user or the room, if there is to be one, while it is asked. https://spec.matrix.org/v1.19/application-service-api/#querying
"""

import asyncio
import logging
from collections.abc import Iterable
from typing import Final
from urllib.parse import quote

from homeserver.runtime.http_client import HttpClient, HttpFailure
from homeserver.services.appservices import Appservices, Kind
from homeserver.services.invite_gate import InviteGate
from storage import users
from storage.database import Database

log = logging.getLogger(__name__)

_TIMEOUT_S: Final = 15.0


class AppserviceQueries:
    """Asks application services. What is in nobody's namespace costs no request and no query."""

    def __init__(self, database: Database, appservices: Appservices, http: HttpClient) -> None:
        self._database = database
        self._appservices = appservices
        self._http = http
        self._asking: dict[str, asyncio.Future[bool]] = {}

    async def user(self, user_id: str) -> bool:
        """Whether a local user that nobody knew is there now."""
        if not self._appservices.covering("users", user_id):
            return False
        async with self._database.read() as tx:
            if await users.user_of(tx, user_id) is not None:
                return False
        return await self._ask("users", user_id)

    async def alias(self, alias: str) -> bool:
        """Whether an alias of this server that nobody knew may be there now."""
        return await self._ask("aliases", alias)

    async def _ask(self, kind: Kind, name: str) -> bool:
        """Whether one of them knows the name. Who asks while it is asked for waits for the same answer."""
        asking = self._asking.get(name)
        if asking is not None:
            return await asyncio.shield(asking)
        answer = self._asking[name] = asyncio.get_running_loop().create_future()
        found = False
        try:
            found = await self._ask_all(kind, name)
        finally:
            del self._asking[name]
            answer.set_result(found)
        return found

    async def _ask_all(self, kind: Kind, name: str) -> bool:
        path = "users" if kind == "users" else "rooms"
        for appservice in self._appservices.covering(kind, name):
            url = f"{appservice.url}/_matrix/app/v1/{path}/{quote(name, safe='')}"
            try:
                answer = await self._http.send("GET", url, b"", token=appservice.hs_token, timeout_s=_TIMEOUT_S)
            except HttpFailure as failure:
                log.warning("application service %s was not there to be asked for a name: %s", appservice.id, failure)
                continue
            if answer.is_success:
                return True
        return False


class AskingGate:
    """An `InviteGate` before another one: invited users that nobody knows are asked for."""

    def __init__(self, queries: AppserviceQueries, gate: InviteGate) -> None:
        self._queries = queries
        self._gate = gate

    async def check(self, user_id: str, sender: str) -> None:
        await self._queries.user(user_id)
        await self._gate.check(user_id, sender)

    async def taking(self, user_ids: Iterable[str], sender: str) -> list[str]:
        invited = list(user_ids)
        for user_id in invited:
            await self._queries.user(user_id)
        return await self._gate.taking(invited, sender)
