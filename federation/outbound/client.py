"""One method for each server-server endpoint that this server calls. All raise `FederationError`."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, BinaryIO, Final
from weakref import WeakValueDictionary

from federation.outbound.failures import FederationError
from federation.outbound.requests import SignedRequests, target_of
from federation.outbound.transport import Answer

V1: Final = "/_matrix/federation/v1"
V2: Final = "/_matrix/federation/v2"
KEYS: Final = "/_matrix/key/v2"
POLICY: Final = "/_matrix/policy/v1"
_OLDEST_VERSIONS: Final = frozenset({"1", "2"})
STATE_BYTES: Final = 128 * 1024 * 1024
"""Largest answer that holds the state of a room: 150,000 members take 125 MB, and 700 MB of memory when parsed."""
IDS_BYTES: Final = 32 * 1024 * 1024
"""Largest answer that holds the ids of it."""
LARGE_AT_ONCE: Final = 4
"""Answers that hold states and are read and parsed at once, each of another server."""
KEY_BYTES: Final = 1024 * 1024
PATIENT: Final = 3.0
"""Answers with the state of a room may take so many times as long."""


@dataclass(frozen=True, slots=True)
class Template:
    """An answer of make_join, make_leave or make_knock: an event to complete and sign."""

    room_version: str
    event: dict[str, Any]


@dataclass(frozen=True, slots=True)
class JoinedRoom:
    """An answer of send_join: the state before the join and its auth chain, as unchecked PDUs.

    `servers_in_room`: where the members were left out, the servers in the room; else None.
    """

    state: list[Any]
    auth_chain: list[Any]
    event: dict[str, Any] | None
    servers_in_room: list[str] | None = None


class FederationClient:
    """The server-server API of other servers, as functions."""

    def __init__(self, requests: SignedRequests) -> None:
        self._requests = requests
        self._large = asyncio.Semaphore(LARGE_AT_ONCE)
        self._large_of: WeakValueDictionary[str, asyncio.Lock] = WeakValueDictionary()

    # --- keys, version

    async def server_keys(self, destination: str, *, insistent: bool = False) -> dict[str, Any]:
        """GET /_matrix/key/v2/server, unchecked. `insistent`: also of a server that failed lately."""
        target = target_of(KEYS, ["server"], None)
        return await self._requests.json(
            destination, "GET", target, max_bytes=KEY_BYTES, signed=False, insistent=insistent
        )

    async def query_keys(
        self, notary: str, wanted: Mapping[str, Mapping[str, Mapping[str, int]]]
    ) -> list[dict[str, Any]]:
        """POST /_matrix/key/v2/query: the key objects that the notary has for server → key id → criteria."""
        target = target_of(KEYS, ["query"], None)
        answer = await self._requests.json(notary, "POST", target, {"server_keys": wanted}, signed=False)
        return _objects(answer, "server_keys", notary)

    async def version(self, destination: str) -> dict[str, Any]:
        """GET /version: name and version of the other server's software."""
        return await self._requests.json(destination, "GET", target_of(V1, ["version"], None), signed=False)

    def is_failing(self, destination: str) -> bool:
        """Whether the server could not be reached lately."""
        return not self._requests.may_try(destination)

    # --- joining, leaving, knocking, inviting

    async def make_join(self, destination: str, room_id: str, user_id: str, room_versions: Sequence[str]) -> Template:
        return await self._make("make_join", destination, room_id, user_id, room_versions)

    async def make_knock(self, destination: str, room_id: str, user_id: str, room_versions: Sequence[str]) -> Template:
        return await self._make("make_knock", destination, room_id, user_id, room_versions)

    async def make_leave(self, destination: str, room_id: str, user_id: str) -> Template:
        return await self._make("make_leave", destination, room_id, user_id, None)

    async def _make(
        self, endpoint: str, destination: str, room_id: str, user_id: str, room_versions: Sequence[str] | None
    ) -> Template:
        query = None if room_versions is None else {"ver": room_versions}
        target = target_of(V1, [endpoint, room_id, user_id], query)
        # Somebody waits for it, who may know that the server is back.
        answer = await self._requests.json(destination, "GET", target, insistent=True)
        version = answer.get("room_version", "1")
        if not isinstance(version, str):
            raise FederationError("malformed", destination, "room_version is not a string")
        return Template(version, _object(answer, "event", destination))

    async def send_join(
        self, destination: str, room_id: str, event_id: str, pdu: dict[str, Any], *, omit_members: bool = False
    ) -> JoinedRoom:
        """PUT v2 send_join. The answer is unchecked; it may have all members where they are not wanted."""
        target = target_of(V2, ["send_join", room_id, event_id], {"omit_members": omit_members})
        answer = await self._large_json(destination, "PUT", target, pdu)
        servers: list[str] | None = None
        if answer.get("members_omitted") is True:
            if not omit_members:
                raise FederationError("malformed", destination, "the members were left out without being asked for")
            servers = [name for name in _list(answer, "servers_in_room", destination) if isinstance(name, str)]
        event = answer.get("event")
        return JoinedRoom(
            _list(answer, "state", destination),
            _list(answer, "auth_chain", destination),
            event if isinstance(event, dict) else None,
            servers,
        )

    async def send_leave(self, destination: str, room_id: str, event_id: str, pdu: dict[str, Any]) -> None:
        await self._requests.json(destination, "PUT", target_of(V2, ["send_leave", room_id, event_id], None), pdu)

    async def send_knock(
        self, destination: str, room_id: str, event_id: str, pdu: dict[str, Any]
    ) -> list[dict[str, Any]]:
        """The stripped state of the room."""
        target = target_of(V1, ["send_knock", room_id, event_id], None)
        answer = await self._requests.json(destination, "PUT", target, pdu)
        return _objects(answer, "knock_room_state", destination)

    async def invite(
        self,
        destination: str,
        room_id: str,
        event_id: str,
        room_version: str,
        pdu: dict[str, Any],
        stripped_state: Sequence[dict[str, Any]],
    ) -> dict[str, Any]:
        """PUT v2 invite; the event with the invited user's server's signature."""
        content = {"event": pdu, "room_version": room_version, "invite_room_state": list(stripped_state)}
        target = target_of(V2, ["invite", room_id, event_id], None)
        try:
            answer = await self._requests.json(destination, "PUT", target, content)
        except FederationError as error:
            if not error.is_unrecognised or room_version not in _OLDEST_VERSIONS:
                raise
            # The first version of the endpoint, which knows no other room versions.
            content = {**pdu, "unsigned": {**pdu.get("unsigned", {}), "invite_room_state": list(stripped_state)}}
            target = target_of(V1, ["invite", room_id, event_id], None)
            answer = await self._requests.json(destination, "PUT", target, content)
        return _object(answer, "event", destination)

    async def exchange_third_party_invite(self, destination: str, room_id: str, template: dict[str, Any]) -> None:
        """PUT exchange_third_party_invite: has the server of the user who invited make the invite."""
        target = target_of(V1, ["exchange_third_party_invite", room_id], None)
        await self._requests.json(destination, "PUT", target, template)

    async def _large_json(
        self, destination: str, method: str, target: str, content: dict[str, Any] | None = None
    ) -> dict[str, Any]:
        """An answer that may be very large: few at once, and of each server one."""
        # Who answers slowly takes one of the places, and not all.
        own = self._large_of.setdefault(destination, asyncio.Lock())
        async with own, self._large:
            return await self._requests.json(
                destination, method, target, content, timeout_factor=PATIENT, max_bytes=STATE_BYTES
            )

    # --- events

    async def send_transaction(self, destination: str, txn_id: str, transaction: bytes) -> dict[str, Any]:
        """PUT send. `transaction` is canonical JSON. Returns event id → result; tried although the server failed."""
        target = target_of(V1, ["send", txn_id], None)
        answer = await self._requests.json(destination, "PUT", target, transaction, insistent=True)
        results = answer.get("pdus", {})
        return results if isinstance(results, dict) else {}

    async def backfill(self, destination: str, room_id: str, event_ids: Sequence[str], limit: int) -> list[Any]:
        """Up to `limit` PDUs before and including `event_ids`, unchecked."""
        target = target_of(V1, ["backfill", room_id], {"limit": limit, "v": event_ids})
        return _list(await self._requests.json(destination, "GET", target), "pdus", destination)

    async def missing_events(
        self,
        destination: str,
        room_id: str,
        *,
        earliest: Sequence[str],
        latest: Sequence[str],
        limit: int,
        min_depth: int,
    ) -> list[Any]:
        """POST get_missing_events: unchecked PDUs between `earliest` and `latest`, both left out."""
        content = {
            "earliest_events": list(earliest),
            "latest_events": list(latest),
            "limit": limit,
            "min_depth": min_depth,
        }
        target = target_of(V1, ["get_missing_events", room_id], None)
        return _list(await self._requests.json(destination, "POST", target, content), "events", destination)

    async def event(self, destination: str, event_id: str) -> Any:
        """The PDU, unchecked."""
        answer = await self._requests.json(destination, "GET", target_of(V1, ["event", event_id], None))
        pdus = _list(answer, "pdus", destination)
        if not pdus:
            raise FederationError("malformed", destination, "no event in the answer")
        return pdus[0]

    async def event_auth(self, destination: str, room_id: str, event_id: str) -> list[Any]:
        """The auth chain of an event, as unchecked PDUs."""
        target = target_of(V1, ["event_auth", room_id, event_id], None)
        answer = await self._large_json(destination, "GET", target)
        return _list(answer, "auth_chain", destination)

    async def state(self, destination: str, room_id: str, event_id: str) -> tuple[list[Any], list[Any]]:
        """The state before an event, and its auth chain: unchecked PDUs."""
        target = target_of(V1, ["state", room_id], {"event_id": event_id})
        answer = await self._large_json(destination, "GET", target)
        return _list(answer, "pdus", destination), _list(answer, "auth_chain", destination)

    async def state_ids(self, destination: str, room_id: str, event_id: str) -> tuple[list[str], list[str]]:
        """The ids of the state before an event, and of its auth chain."""
        target = target_of(V1, ["state_ids", room_id], {"event_id": event_id})
        answer = await self._requests.json(
            destination, "GET", target, timeout_factor=PATIENT, max_bytes=IDS_BYTES
        )
        return _strings(answer, "pdu_ids", destination), _strings(answer, "auth_chain_ids", destination)

    async def ask_policy_server(self, destination: str, pdu: dict[str, Any]) -> dict[str, Any]:
        """POST sign: `signatures` with those of the policy server. The answer is unchecked."""
        return await self._requests.json(destination, "POST", target_of(POLICY, ["sign"], None), pdu)

    # --- queries

    async def query_directory(self, destination: str, alias: str) -> tuple[str, list[str]]:
        """The room id that an alias points to, and servers that may let one in."""
        target = target_of(V1, ["query", "directory"], {"room_alias": alias})
        answer = await self._requests.json(destination, "GET", target, insistent=True)
        room_id = answer.get("room_id")
        if not isinstance(room_id, str):
            raise FederationError("malformed", destination, "room_id is not a string")
        return room_id, _strings(answer, "servers", destination)

    async def query_profile(self, destination: str, user_id: str, field: str | None = None) -> dict[str, Any]:
        target = target_of(V1, ["query", "profile"], {"user_id": user_id, "field": field})
        return await self._requests.json(destination, "GET", target)

    async def public_rooms(self, destination: str, content: dict[str, Any]) -> dict[str, Any]:
        """POST publicRooms with `content` as the client-server API has it: filter, limit, since…"""
        return await self._requests.json(destination, "POST", target_of(V1, ["publicRooms"], None), content)

    async def hierarchy(self, destination: str, room_id: str, *, suggested_only: bool) -> dict[str, Any]:
        target = target_of(V1, ["hierarchy", room_id], {"suggested_only": suggested_only})
        return await self._requests.json(destination, "GET", target)

    async def timestamp_to_event(
        self, destination: str, room_id: str, timestamp: int, direction: str
    ) -> dict[str, Any]:
        target = target_of(V1, ["timestamp_to_event", room_id], {"ts": timestamp, "dir": direction})
        return await self._requests.json(destination, "GET", target)

    async def user_devices(self, destination: str, user_id: str) -> dict[str, Any]:
        return await self._requests.json(destination, "GET", target_of(V1, ["user", "devices", user_id], None))

    async def query_user_keys(self, destination: str, device_keys: Mapping[str, Sequence[str]]) -> dict[str, Any]:
        """`device_keys`: user id → device ids, none for all."""
        content = {"device_keys": {user_id: list(devices) for user_id, devices in device_keys.items()}}
        return await self._requests.json(destination, "POST", target_of(V1, ["user", "keys", "query"], None), content)

    async def claim_user_keys(
        self, destination: str, one_time_keys: Mapping[str, Mapping[str, str]]
    ) -> dict[str, Any]:
        """`one_time_keys`: user id → device id → algorithm."""
        content = {"one_time_keys": {user_id: dict(devices) for user_id, devices in one_time_keys.items()}}
        return await self._requests.json(destination, "POST", target_of(V1, ["user", "keys", "claim"], None), content)

    # --- media

    async def download_media(
        self, destination: str, media_id: str, *, max_bytes: int, timeout_ms: int, into: BinaryIO
    ) -> Answer:
        """A multipart/mixed answer, the body of which is in the file `into`: see `media_parts.parse`."""
        target = target_of(V1, ["media", "download", media_id], {"timeout_ms": timeout_ms})
        return await self._requests.send(
            destination, "GET", target, timeout_factor=PATIENT, max_bytes=max_bytes, into=into
        )

    async def download_media_unsigned(
        self, destination: str, media_id: str, *, max_bytes: int, timeout_ms: int, into: BinaryIO
    ) -> Answer:
        """The endpoint of before authenticated media, for servers that have no other. What is put into `into` is the
        file."""
        query = {"allow_remote": False, "timeout_ms": timeout_ms}
        target = target_of("/_matrix/media/v3", ["download", destination, media_id], query)
        return await self._requests.send(
            destination, "GET", target, timeout_factor=PATIENT, max_bytes=max_bytes, signed=False, into=into
        )

    async def fetch(self, destination: str, url: str, *, max_bytes: int, into: BinaryIO) -> Answer:
        """GET of a URL that `destination` refers to, on whatever host; not signed. The body goes into `into`."""
        return await self._requests.fetch(destination, url, max_bytes=max_bytes, into=into)


def _object(answer: dict[str, Any], name: str, destination: str) -> dict[str, Any]:
    value = answer.get(name)
    if not isinstance(value, dict):
        raise FederationError("malformed", destination, f"{name} is not an object")
    return value


def _list(answer: dict[str, Any], name: str, destination: str) -> list[Any]:
    value = answer.get(name)
    if not isinstance(value, list):
        raise FederationError("malformed", destination, f"{name} is not an array")
    return value


def _objects(answer: dict[str, Any], name: str, destination: str) -> list[dict[str, Any]]:
    return [item for item in _list(answer, name, destination) if isinstance(item, dict)]


def _strings(answer: dict[str, Any], name: str, destination: str) -> list[str]:
    return [item for item in _list(answer, name, destination) if isinstance(item, str)]
