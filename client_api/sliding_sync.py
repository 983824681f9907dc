"""Simplified sliding sync, proposal 4186: as its experiment has it, which clients speak, and as proposed."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Any

import orjson

from homeserver.errors import InvalidParam
from homeserver.services.bounded_cache import BoundedCache
from homeserver.services.presence import STATES
from homeserver.services.receipts import DELIVERED
from homeserver.services.sliding_sync.engine import SlidingSync
from homeserver.services.sliding_sync.request import (
    THREAD_SUBSCRIPTIONS,
    Extensions,
    ListFilter,
    ListRequest,
    RoomExtension,
    SlidingSyncRequest,
    ToDeviceExtension,
)
from homeserver.services.sliding_sync.required_state import Element, RequiredState, RoomConfig
from homeserver.web.request import Request

_MAX_LISTS = 100
_MAX_SUBSCRIPTIONS = 100
# The experiment has no such limit, and its clients subscribe to all rooms that are in view.
_MAX_SUBSCRIPTIONS_UNSTABLE = 1_000
_MAX_TIMELINE = 100
_MAX_MESSAGES = 100
_MAX_THREADS = 100
_MAX_NUMBER = 2**53
_LIST_KEY = re.compile(r"[0-9A-Za-z._=/-]{1,255}")
_MEMBER = "m.room.member"

Rules = tuple[dict[str, ListRequest], dict[str, RoomConfig]]


class SlidingSyncHandlers:
    """What is new for a client, in the rooms that it asks about."""

    def __init__(self, engine: SlidingSync) -> None:
        self._engine = engine
        # Clients repeat their lists and subscriptions with every request.
        self._rules: BoundedCache[tuple[str, bool, bytes], Rules] = BoundedCache(2_000)

    async def simplified_sliding_sync(self, request: Request) -> bytes:
        """The experiment's form: where the client is stands in the query."""
        query, body = request.query, request.body
        return await self._engine.sync(
            self._read(
                request,
                is_stable=False,
                pos=query.str_("pos"),
                timeout_ms=query.int_("timeout", 0),
                set_presence=query.choice("set_presence", STATES, "online"),
                txn_id=body.get("txn_id") if isinstance(body.get("txn_id"), str) else None,
            )
        )

    async def sliding_sync(self, request: Request) -> bytes:
        """The proposal's form: everything stands in the body."""
        body = request.body
        presence = body.get("set_presence") or "online"
        if presence not in STATES:
            raise InvalidParam(f"set_presence must be one of: {', '.join(STATES)}")
        pos, timeout_ms = body.get("pos"), body.get("timeout") or 0
        return await self._engine.sync(
            self._read(request, is_stable=True, pos=pos, timeout_ms=timeout_ms, set_presence=presence)
        )

    def _read(self, request: Request, *, is_stable: bool, **options: Any) -> SlidingSyncRequest:
        user, body = request.user, request.body
        conn_id = body.get("conn_id") or ""
        if len(conn_id) > 255:
            raise InvalidParam("conn_id has at most 255 characters")
        lists, subscriptions = self._rules_of(user.user_id, body, is_stable)
        return SlidingSyncRequest(
            user.user_id,
            user.device_id,
            conn_id=conn_id,
            lists=lists,
            subscriptions=subscriptions,
            extensions=_extensions(body.get("extensions") or {}),
            is_stable=is_stable,
            **options,
        )

    def _rules_of(self, user_id: str, body: Mapping[str, Any], is_stable: bool) -> Rules:
        lists, subscriptions = body.get("lists") or {}, body.get("room_subscriptions") or {}
        key = (user_id, is_stable, orjson.dumps((lists, subscriptions)))
        rules = self._rules.get(key)
        if rules is None:
            if len(lists) > _MAX_LISTS:
                raise InvalidParam(f"A request has at most {_MAX_LISTS} lists")
            most = _MAX_SUBSCRIPTIONS if is_stable else _MAX_SUBSCRIPTIONS_UNSTABLE
            if len(subscriptions) > most:
                raise InvalidParam(f"A request has at most {most} room subscriptions")
            rules = (
                {name: _list(name, value, user_id, is_stable) for name, value in lists.items()},
                {room_id: _config(value, user_id, is_stable) for room_id, value in subscriptions.items()},
            )
            self._rules.put(key, rules)
        return rules


# --- lists


def _list(name: str, value: Mapping[str, Any], user_id: str, is_stable: bool) -> ListRequest:
    if is_stable and not _LIST_KEY.fullmatch(name):
        raise InvalidParam("The name of a list is not an opaque identifier")
    if is_stable:
        ranges = None if value.get("range") is None else [value["range"]]
    else:
        ranges = None if value.get("slow_get_all_rooms") else value.get("ranges")
    return ListRequest(
        _config(value, user_id, is_stable),
        _filter(value.get("filters") or {}),
        None if ranges is None else tuple(_range(one) for one in ranges),
    )


def _range(value: Sequence[int]) -> tuple[int, int]:
    if len(value) != 2 or value[0] > value[1] or value[1] > _MAX_NUMBER:
        raise InvalidParam("A range is two numbers, the first not greater than the second")
    return (value[0], value[1])


def _filter(value: Mapping[str, Any]) -> ListFilter:
    invited = value.get("is_invited")
    name = value.get("room_name_like")
    return ListFilter(
        is_dm=value.get("is_dm"),
        is_encrypted=value.get("is_encrypted"),
        is_invited=value.get("is_invite") if invited is None else invited,
        spaces=_names(value.get("spaces")),
        room_types=None if value.get("room_types") is None else frozenset(value["room_types"]),
        not_room_types=frozenset(value.get("not_room_types") or ()),
        name_like=None if name is None else name.casefold(),
        tags=_names(value.get("tags")),
        not_tags=frozenset(value.get("not_tags") or ()),
    )


def _names(value: Sequence[str] | None) -> frozenset[str] | None:
    return None if value is None else frozenset(value)


# --- room configs


def _config(value: Mapping[str, Any], user_id: str, is_stable: bool) -> RoomConfig:
    required = value.get("required_state")
    rule = _required(required or {}) if is_stable else _required_pairs(required or (), user_id)
    return RoomConfig(min(value["timeline_limit"], _MAX_TIMELINE), frozenset((rule,)))


def _required(value: Mapping[str, Any]) -> RequiredState:
    return RequiredState(
        _elements(value.get("include")), _elements(value.get("exclude")), bool(value.get("lazy_members"))
    )


def _elements(values: Sequence[Mapping[str, str]] | None) -> frozenset[Element]:
    return frozenset((value.get("type"), value.get("state_key")) for value in values or ())


def _required_pairs(values: Sequence[Sequence[str]], user_id: str) -> RequiredState:
    """The experiment's form: pairs of event type and state key, with `*`, `$ME` and `$LAZY`."""
    include: set[Element] = set()
    lazy = False
    for pair in values:
        if len(pair) != 2:
            raise InvalidParam("An entry of required_state is an event type and a state key")
        kind, state_key = pair
        if state_key == "$LAZY":
            lazy = lazy or kind == _MEMBER
            continue
        if state_key == "$ME":
            state_key = user_id
        include.add((None if kind == "*" else kind, None if state_key == "*" else state_key))
    return RequiredState(frozenset(include), frozenset(), lazy and (_MEMBER, None) not in include)


# --- extensions


def _extensions(value: Mapping[str, Any]) -> Extensions:
    return Extensions(
        to_device=_to_device(value["to_device"]) if _is_enabled(value, "to_device") else None,
        e2ee=_is_enabled(value, "e2ee"),
        account_data=_of_rooms(value, "account_data"),
        receipts=_receipts(value),
        typing=_of_rooms(value, "typing"),
        thread_subscriptions=_thread_subscriptions(value),
    )


def _is_enabled(value: Mapping[str, Any], name: str) -> bool:
    return bool((value.get(name) or {}).get("enabled"))


def _thread_subscriptions(value: Mapping[str, Any]) -> int | None:
    """Proposal 4308."""
    if not _is_enabled(value, THREAD_SUBSCRIPTIONS):
        return None
    limit = value[THREAD_SUBSCRIPTIONS].get("limit")
    return _MAX_THREADS if limit is None else max(min(limit, _MAX_THREADS), 1)


def _to_device(value: Mapping[str, Any]) -> ToDeviceExtension:
    since, limit = value.get("since"), value.get("limit")
    if since is not None and not (since.isascii() and since.isdigit() and len(since) <= 18):
        raise InvalidParam("extensions.to_device.since is not a token of this server")
    count = _MAX_MESSAGES if limit is None else max(min(limit, _MAX_MESSAGES), 1)
    return ToDeviceExtension(count, None if since is None else int(since))


def _of_rooms(value: Mapping[str, Any], name: str) -> RoomExtension | None:
    if not _is_enabled(value, name):
        return None
    return RoomExtension(_chosen(value[name].get("lists")), _chosen(value[name].get("rooms")))


def _receipts(value: Mapping[str, Any]) -> RoomExtension | None:
    wanted = _of_rooms(value, "receipts")
    if wanted is None or value["receipts"].get(DELIVERED) is not True:
        return wanted
    return replace(wanted, delivered=True)


def _chosen(names: Sequence[str] | None) -> frozenset[str] | None:
    return None if names is None or "*" in names else frozenset(names)
