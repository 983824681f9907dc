"""Account data and tags. client-server-api §Client Config, §Room Tagging"""

from typing import Any

from client_api.sync import require_own
from homeserver.core.identifiers import is_valid_room_id
from homeserver.errors import InvalidParam
from homeserver.services.account_data import ACCOUNT, AccountData
from homeserver.services.push_rules import PushRules
from homeserver.web.request import Request


class AccountDataHandlers:
    """What users keep for themselves."""

    def __init__(self, account_data: AccountData, push_rules: PushRules) -> None:
        self._account_data = account_data
        self._push_rules = push_rules

    async def put(self, request: Request) -> dict[str, Any]:
        """Set data of the account."""
        require_own(request)
        await self._account_data.put(request.user.user_id, ACCOUNT, request.path["type"], request.body)
        return {}

    async def delete(self, request: Request) -> dict[str, Any]:
        """Delete data of the account: the same as setting it to nothing."""
        require_own(request)
        await self._account_data.put(request.user.user_id, ACCOUNT, request.path["type"], {})
        return {}

    async def delete_of_room(self, request: Request) -> dict[str, Any]:
        """Delete data of one room."""
        await self._account_data.put(request.user.user_id, _room(request), request.path["type"], {})
        return {}

    async def get(self, request: Request) -> dict[str, Any]:
        """Data of the account."""
        require_own(request)
        user_id, data_type = request.user.user_id, request.path["type"]
        if data_type == "m.push_rules":
            return {"global": await self._push_rules.ruleset(user_id)}
        return await self._account_data.get(user_id, ACCOUNT, data_type)

    async def put_of_room(self, request: Request) -> dict[str, Any]:
        """Set data of one room."""
        room_id = _room(request)
        await self._account_data.put(request.user.user_id, room_id, request.path["type"], request.body)
        return {}

    async def get_of_room(self, request: Request) -> dict[str, Any]:
        """Data of one room."""
        return await self._account_data.get(request.user.user_id, _room(request), request.path["type"])

    async def tags(self, request: Request) -> dict[str, Any]:
        """The tags of a room."""
        return {"tags": await self._account_data.tags(request.user.user_id, _room(request))}

    async def put_tag(self, request: Request) -> dict[str, Any]:
        """Tag a room."""
        room_id = _room(request)
        await self._account_data.put_tag(request.user.user_id, room_id, request.path["tag"], request.body)
        return {}

    async def delete_tag(self, request: Request) -> dict[str, Any]:
        """Take a tag off a room."""
        await self._account_data.delete_tag(request.user.user_id, _room(request), request.path["tag"])
        return {}


def _room(request: Request) -> str:
    require_own(request)
    room_id = request.path["roomId"]
    if not is_valid_room_id(room_id):
        raise InvalidParam("This is not a room id")
    return room_id
