"""EDUs of other servers: each kind is checked for what its sender may speak of, and handed to whom it concerns.

server-server-api §EDUs
"""

import logging
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Protocol

import orjson

from homeserver.services.room_heads import RoomHead, RoomHeads
from homeserver.services.server_access import ServerAccess

log = logging.getLogger(__name__)


class TypingReceiver(Protocol):
    """`services.typing.Typing`."""

    def receive(self, room_id: str, user_id: str, typing: bool) -> None: ...


class ReceiptsReceiver(Protocol):
    """`services.receipts.Receipts`."""

    async def receive(self, room_id: str, content: Mapping[str, Any]) -> None: ...


class PresenceReceiver(Protocol):
    """`services.presence.Presence`."""

    def receive(
        self,
        user_id: str,
        state: str,
        *,
        status_msg: str | None = None,
        last_active_ago_ms: int | None = None,
        currently_active: bool = False,
    ) -> None: ...


class ToDeviceReceiver(Protocol):
    """Messages from other servers' devices to those of local users."""

    async def receive(self, origin: str, content: Mapping[str, Any]) -> None:
        """The content of an m.direct_to_device EDU: sender (of `origin`), type, message_id, messages. A message id
        that was there already does nothing."""
        ...


class DeviceListsReceiver(Protocol):
    """News of the devices and signing keys of other servers' users."""

    async def receive(self, origin: str, content: Mapping[str, Any]) -> None:
        """The content of an m.device_list_update EDU, about a user of `origin`."""
        ...

    async def receive_signing_keys(self, origin: str, content: Mapping[str, Any]) -> None:
        """The content of an m.signing_key_update EDU, about a user of `origin`."""
        ...


class Edus:
    """Takes what is well-formed and may come from that server; what is not is dropped, as EDUs are never answered."""

    def __init__(
        self,
        heads: RoomHeads,
        access: ServerAccess,
        *,
        typing: TypingReceiver,
        receipts: ReceiptsReceiver,
        presence: PresenceReceiver,
        to_device: ToDeviceReceiver,
        device_lists: DeviceListsReceiver,
    ) -> None:
        self._heads = heads
        self._access = access
        self._typing = typing
        self._receipts = receipts
        self._presence = presence
        self._to_device = to_device
        self._device_lists = device_lists
        self._kinds: dict[str, Callable[[str, dict[str, Any]], Awaitable[None]]] = {
            "m.typing": self._receive_typing,
            "m.receipt": self._receive_receipts,
            "m.presence": self._receive_presence,
            "m.direct_to_device": self._receive_to_device,
            "m.device_list_update": self._receive_device_list,
            "m.signing_key_update": self._receive_signing_keys,
            "org.matrix.signing_key_update": self._receive_signing_keys,
        }

    async def receive(self, origin: str, edu: object) -> None:
        """One EDU of a transaction of `origin`."""
        if not isinstance(edu, dict):
            return
        kind, content = edu.get("edu_type"), edu.get("content")
        receiver = self._kinds.get(kind) if isinstance(kind, str) else None
        if receiver is None or not isinstance(content, dict):
            return
        if _holds_nul(_told_to_us(content) if kind == "m.direct_to_device" else content):
            return  # not the name of anything; PostgreSQL cannot even look for it
        if not _is_canonical(content):
            return  # numbers and texts that neither can be kept nor passed on
        await receiver(origin, content)

    async def _receive_typing(self, origin: str, content: dict[str, Any]) -> None:
        room_id, user_id, typing = content.get("room_id"), content.get("user_id"), content.get("typing")
        if not isinstance(room_id, str) or not isinstance(typing, bool) or not _is_of(user_id, origin):
            return
        head = await self._room(room_id, origin)
        if head is not None and (user_id in head.joined or head.is_partial):
            self._typing.receive(room_id, str(user_id), typing)

    async def _receive_receipts(self, origin: str, content: dict[str, Any]) -> None:
        for room_id, by_type in content.items():
            own = {
                kind: {user_id: entry for user_id, entry in by_user.items() if _is_of(user_id, origin)}
                for kind, by_user in (by_type.items() if isinstance(by_type, dict) else ())
                if isinstance(by_user, dict) and kind in ("m.read", "io.hearth.delivered")
            }
            if any(own.values()) and await self._room(room_id, origin) is not None:
                await self._receipts.receive(room_id, own)

    async def _receive_presence(self, origin: str, content: dict[str, Any]) -> None:
        push = content.get("push")
        for update in push if isinstance(push, list) else []:
            if not isinstance(update, dict) or not _is_of(update.get("user_id"), origin):
                continue
            state, status, ago = update.get("presence"), update.get("status_msg"), update.get("last_active_ago")
            if isinstance(state, str):
                self._presence.receive(
                    update["user_id"],
                    state,
                    status_msg=status if isinstance(status, str) else None,
                    last_active_ago_ms=ago if type(ago) is int and ago >= 0 else None,
                    currently_active=update.get("currently_active") is True,
                )

    async def _receive_to_device(self, origin: str, content: dict[str, Any]) -> None:
        shape = {"sender": str, "type": str, "message_id": str, "messages": dict}
        is_whole = all(isinstance(content.get(name), kind) for name, kind in shape.items())
        if is_whole and _is_of(content["sender"], origin):
            await self._to_device.receive(origin, content)
        else:
            log.info("dropped a malformed to-device EDU of %s", origin)

    async def _receive_device_list(self, origin: str, content: dict[str, Any]) -> None:
        if _is_of(content.get("user_id"), origin) and isinstance(content.get("device_id"), str):
            await self._device_lists.receive(origin, content)

    async def _receive_signing_keys(self, origin: str, content: dict[str, Any]) -> None:
        if _is_of(content.get("user_id"), origin):
            await self._device_lists.receive_signing_keys(origin, content)

    async def _room(self, room_id: str, origin: str) -> RoomHead | None:
        """The head of a room that this server is in, and whose ACL lets `origin` take part."""
        head = await self._heads.get(room_id)
        if head is None or not self._access.is_resident(head) or not await self._access.is_allowed(head, origin):
            return None
        return head


def _is_of(user_id: object, server_name: str) -> bool:
    return isinstance(user_id, str) and user_id.startswith("@") and user_id.partition(":")[2] == server_name


def _told_to_us(content: Mapping[str, Any]) -> dict[str, Any]:
    """Messages to devices without what the devices are told, which may be any text."""
    messages = content.get("messages")
    by_user = messages.items() if isinstance(messages, dict) else ()
    devices = {user_id: list(by_device) for user_id, by_device in by_user if isinstance(by_device, dict)}
    return {**content, "messages": devices}


def _is_canonical(content: dict[str, Any]) -> bool:
    """Whether it holds what may be in JSON between servers: integers of 53 bits, texts of Unicode."""
    try:
        orjson.dumps(content, option=orjson.OPT_STRICT_INTEGER)
    except TypeError:
        return False
    return True


def _holds_nul(value: object) -> bool:
    if isinstance(value, str):
        return "\0" in value
    if isinstance(value, dict):
        return any("\0" in key or _holds_nul(item) for key, item in value.items())
    return isinstance(value, list) and any(map(_holds_nul, value))
