"""What the operator of the server orders on its command line."""

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import asdict
from typing import Any, Final

from homeserver.core.identifiers import is_valid_user_id
from homeserver.errors import InvalidParam, MatrixError, MissingParam, NotFound, Unrecognized
from homeserver.runtime.clock import Clock
from homeserver.runtime.random import Randomness
from homeserver.services.accounts import Accounts
from homeserver.services.server_notices import Notice, ServerNotices
from storage import devices, reports, third_party_ids, uia_sessions
from storage.database import Database
from storage.users import UserRow

_MAX_TOKEN: Final = 64
_MOST: Final = 1_000
Arguments = Mapping[str, Any]


class OperatorOrders:
    """Each order has a name and arguments, and answers with JSON."""

    def __init__(
        self,
        database: Database,
        clock: Clock,
        randomness: Randomness,
        accounts: Accounts,
        notices: ServerNotices,
        server_name: str,
    ) -> None:
        self._database = database
        self._clock = clock
        self._randomness = randomness
        self._accounts = accounts
        self._notices = notices
        self._server_name = server_name
        self._orders: dict[str, Callable[[Arguments], Awaitable[Any]]] = {
            "token add": self._token_add,
            "token list": self._token_list,
            "token revoke": self._token_revoke,
            "reports": self._reports,
            "user add": self._user_add,
            "user list": self._user_list,
            "user show": self._user_show,
            "user lock": self._user_lock,
            "user suspend": self._user_suspend,
            "user admin": self._user_admin,
            "user deactivate": self._user_deactivate,
            "user reset-password": self._user_reset_password,
            "user notify": self._user_notify,
            "user notify-all": self._user_notify_all,
        }

    async def perform(self, order: str, arguments: Arguments) -> Any:
        """Do it. Raises MatrixError with a sentence for the operator."""
        found = self._orders.get(order)
        if found is None:
            raise Unrecognized(f"This server knows no order {order!r}")
        return await found(arguments)

    # --- registration tokens

    async def _token_add(self, arguments: Arguments) -> dict[str, Any]:
        token = arguments.get("token") or self._randomness.alphanumeric(16)
        if len(token) > _MAX_TOKEN or not all(c.isascii() and (c.isalnum() or c in "._~-") for c in token):
            raise InvalidParam(f"A token has at most {_MAX_TOKEN} letters, digits and ._~-")
        uses, lasts_s = arguments.get("uses"), arguments.get("lasts_s")
        if uses is not None and uses < 1:
            raise InvalidParam("A token can be used at least once")
        expires_at = None if lasts_s is None else self._clock.now_ms() + round(lasts_s * 1000)
        async with self._database.read() as tx:
            if any(one.token == token for one in await uia_sessions.registration_tokens_of_all(tx)):
                raise InvalidParam("There is this token already")
        await self._database.write(
            lambda tx: uia_sessions.put_registration_token(tx, token, uses_allowed=uses, expires_at=expires_at)
        )
        return {"token": token, "uses_allowed": uses, "expires_at": expires_at}

    async def _token_list(self, arguments: Arguments) -> list[dict[str, Any]]:
        async with self._database.read() as tx:
            return [asdict(token) for token in await uia_sessions.registration_tokens_of_all(tx)]

    async def _token_revoke(self, arguments: Arguments) -> dict[str, Any]:
        token = _text(arguments, "token")
        if not await self._database.write(lambda tx: uia_sessions.remove_registration_token(tx, token)):
            raise NotFound("There is no such token")
        return {}

    # --- reports

    async def _reports(self, arguments: Arguments) -> list[dict[str, Any]]:
        limit = min(arguments.get("limit") or 20, _MOST)
        async with self._database.read() as tx:
            return [asdict(report) for report in await reports.newest(tx, limit, arguments.get("before"))]

    # --- users

    async def _user_add(self, arguments: Arguments) -> dict[str, Any]:
        localpart = self._user_id(arguments)[1:].partition(":")[0]
        password, is_admin = _text(arguments, "password"), bool(arguments.get("admin"))
        return {"user_id": await self._accounts.create(localpart, password, is_admin=is_admin)}

    async def _user_list(self, arguments: Arguments) -> list[dict[str, Any]]:
        rows = await self._accounts.list_after(arguments.get("after") or "", min(arguments.get("limit") or 100, _MOST))
        return [_account(row) for row in rows]

    async def _user_show(self, arguments: Arguments) -> dict[str, Any]:
        user = await self._accounts.require(self._user_id(arguments))
        async with self._database.read() as tx:
            own = await devices.of_user(tx, user.user_id)
            addresses = await third_party_ids.of_user(tx, user.user_id)
        shown = [
            {"device_id": row.device_id, "name": row.display_name, "last_seen_at": row.last_seen_at} for row in own
        ]
        return _account(user) | {"devices": shown, "addresses": [entry.address for entry in addresses]}

    async def _user_lock(self, arguments: Arguments) -> dict[str, Any]:
        await self._accounts.put_locked(self._user_id(arguments), bool(arguments.get("value")))
        return {}

    async def _user_suspend(self, arguments: Arguments) -> dict[str, Any]:
        await self._accounts.put_suspended(self._user_id(arguments), bool(arguments.get("value")))
        return {}

    async def _user_admin(self, arguments: Arguments) -> dict[str, Any]:
        await self._accounts.put_admin(self._user_id(arguments), bool(arguments.get("value")))
        return {}

    async def _user_deactivate(self, arguments: Arguments) -> dict[str, Any]:
        await self._accounts.close(self._user_id(arguments), erase=bool(arguments.get("erase")))
        return {}

    async def _user_reset_password(self, arguments: Arguments) -> dict[str, Any]:
        user_id, password = self._user_id(arguments), _text(arguments, "password")
        await self._accounts.require(user_id)
        keep = bool(arguments.get("keep_devices"))
        await self._accounts.change_password(user_id, password, log_out_but=None, log_out=not keep)
        return {}

    async def _user_notify(self, arguments: Arguments) -> dict[str, Any]:
        user_id, text = self._user_id(arguments), _text(arguments, "text")
        return {"event_id": await self._notices.send(user_id, Notice.text(text))}

    async def _user_notify_all(self, arguments: Arguments) -> dict[str, Any]:
        """Tells the people among some accounts; `last` is where to go on, None where that was all."""
        notice = Notice.text(_text(arguments, "text"))
        await self._notices.require_possible()
        limit = min(arguments.get("limit") or 100, _MOST)
        rows = await self._accounts.list_after(arguments.get("after") or "", limit)
        told, failed = 0, {}
        for row in rows:
            # Guests will not come back, and nobody reads what users of bridges are told.
            if row.deactivated or row.is_guest or row.appservice_id is not None:
                continue
            try:
                await self._notices.send(row.user_id, notice)
                told += 1
            except MatrixError as error:
                failed[row.user_id] = error.message
        return {"told": told, "failed": failed, "last": rows[-1].user_id if len(rows) == limit else None}

    def _user_id(self, arguments: Arguments) -> str:
        """`user` is a user name, or a whole user id of this server."""
        name = _text(arguments, "user")
        user_id = name if name.startswith("@") else f"@{name}:{self._server_name}"
        if not is_valid_user_id(user_id) or user_id.partition(":")[2] != self._server_name:
            raise InvalidParam(f"{name} is no user of {self._server_name}")
        return user_id


def _text(arguments: Arguments, name: str) -> str:
    value = arguments.get(name)
    if not isinstance(value, str) or not value:
        raise MissingParam(f"{name} is missing")
    return value


def _account(user: UserRow) -> dict[str, Any]:
    shown = asdict(user)
    return {name: value for name, value in shown.items() if name != "password_hash"} | {
        "has_password": user.password_hash is not None
    }
