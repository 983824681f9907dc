"""The account itself: who am I, passwords, deactivation, OpenID; locking and suspending for administrators."""

from typing import Any

from homeserver.errors import MissingParam, MissingToken
from homeserver.services.accounts import Accounts
from homeserver.services.email_addresses import EmailAddresses
from homeserver.services.openid import OpenId
from homeserver.services.uia import EMAILS, PASSWORDS, InteractiveAuth
from homeserver.web.request import Request


class AccountHandlers:
    """What users do with their accounts."""

    def __init__(
        self, accounts: Accounts, uia: InteractiveAuth, openid: OpenId, emails: EmailAddresses | None = None
    ) -> None:
        self._accounts = accounts
        self._uia = uia
        self._openid = openid
        self._emails = emails

    async def whoami(self, request: Request) -> dict[str, Any]:
        user = request.user
        answer: dict[str, Any] = {"user_id": user.user_id, "is_guest": user.is_guest}
        if user.device_id is not None:
            answer["device_id"] = user.device_id
        return answer

    async def change_password(self, request: Request) -> dict[str, Any]:
        password = request.body.get("new_password")
        if password is not None:
            self._accounts.require_strong(password)
        user_id = await self._proven_user("password", request)
        if password is None:
            raise MissingParam("new_password is missing")
        device_id = None if request.requester is None else request.requester.device_id
        await self._accounts.change_password(
            user_id, password, log_out_but=device_id, log_out=request.body.get("logout_devices") is not False
        )
        return {}

    async def deactivate(self, request: Request) -> dict[str, Any]:
        requester = request.requester
        if requester is not None and requester.appservice is not None:
            user_id = requester.user_id
        else:
            user_id = await self._proven_user("deactivate", request)
        await self._accounts.deactivate(user_id, erase=bool(request.body.get("erase")))
        # There are no identity servers here that anything could be bound to.
        return {"id_server_unbind_result": "success"}

    async def openid_token(self, request: Request) -> dict[str, Any]:
        return await self._openid.request_token(request.user.user_id, request.path["userId"])

    async def locked(self, request: Request) -> dict[str, Any]:
        user = await self._accounts.flags(request.user, request.path["userId"])
        return {"locked": user.locked}

    async def set_locked(self, request: Request) -> dict[str, Any]:
        await self._accounts.set_locked(request.user, request.path["userId"], request.body["locked"])
        return {"locked": request.body["locked"]}

    async def suspended(self, request: Request) -> dict[str, Any]:
        user = await self._accounts.flags(request.user, request.path["userId"])
        return {"suspended": user.suspended}

    async def set_suspended(self, request: Request) -> dict[str, Any]:
        await self._accounts.set_suspended(request.user, request.path["userId"], request.body["suspended"])
        return {"suspended": request.body["suspended"]}

    async def _proven_user(self, operation: str, request: Request) -> str:
        """The user whose password was given: the requester, where there is one. A forgotten password is replaced with
        an e-mail address of the account."""
        requester = request.requester
        user_id = None if requester is None else requester.user_id
        by_mail = self._emails if user_id is None and operation == "password" else None
        if by_mail is not None and not by_mail.is_enabled:
            by_mail = None
        flows = [[PASSWORDS], [EMAILS]] if by_mail is not None else [[PASSWORDS]]
        proof = await self._uia.require(operation, request.body, flows, user_id=user_id)
        if by_mail is not None and proof.user_id is None:
            return await by_mail.take_owner(*proof.completed[EMAILS])
        proven = user_id or proof.user_id
        if proven is None:
            raise MissingToken
        return proven
