"""Joining, knocking on and leaving rooms through servers that are in them (server-server-api §Joining Rooms)."""

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import Any, Final

from signedjson.types import SigningKey

from federation.outbound.client import FederationClient, JoinedRoom, Template
from federation.outbound.failures import FederationError
from homeserver.core.auth_errors import AuthError
from homeserver.core.auth_rules import check_auth
from homeserver.core.canonical_json import CanonicalJSONError
from homeserver.core.event_format import InvalidEvent, check_pdu
from homeserver.core.events import MEMBER, Event, StateKey
from homeserver.core.hashes import content_hash
from homeserver.core.identifiers import InvalidIdentifier, is_valid_room_id, is_valid_server_name, server_name_of
from homeserver.core.room_versions import KNOWN_VERSIONS, RoomVersion
from homeserver.core.signatures import sign_event
from homeserver.errors import (
    BadGateway,
    Forbidden,
    IncompatibleRoomVersion,
    InviteBlocked,
    MatrixError,
    NotFound,
    UnsupportedRoomVersion,
)
from homeserver.runtime.clock import Clock
from homeserver.runtime.random import Randomness
from homeserver.services.event_signatures import EventSignatures
from homeserver.services.import_room import ImportRoom
from homeserver.services.outliers import Outliers
from homeserver.services.receive_pdu import ReceivePdu
from homeserver.services.room_heads import HeadDraft, RoomHeads
from homeserver.services.told_state import shown_outside
from storage import memberships
from storage.database import Database, Write

log = logging.getLogger(__name__)

MAX_CANDIDATES: Final = 20
MAX_SERVERS: Final = 50_000
_MAX_DEPTH: Final = 2**53 - 1


class RemoteJoin:
    """`RemoteRooms` over federation."""

    def __init__(
        self,
        database: Database,
        client: FederationClient,
        heads: RoomHeads,
        imports: ImportRoom,
        outliers: Outliers,
        signatures: EventSignatures,
        receive: ReceivePdu,
        *,
        server_name: str,
        signing_key: SigningKey,
        clock: Clock,
        randomness: Randomness,
        faster_joins: bool = True,
    ) -> None:
        self._faster_joins = faster_joins
        self._database = database
        self._client = client
        self._receive = receive
        self._heads = heads
        self._imports = imports
        self._outliers = outliers
        self._signatures = signatures
        self._server_name = server_name
        self._signing_key = signing_key
        self._clock = clock
        self._randomness = randomness
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    # --- RemoteRooms

    async def join(self, user_id: str, room_id: str, via: Sequence[str], content: Mapping[str, Any]) -> None:
        """Joins through the first candidate that does it; the room and the join are stored when this returns."""
        async with self._one_at_a_time(room_id):
            head = await self._heads.get(room_id)
            if head is not None and user_id in head.joined:
                return
            await self._through_any(
                room_id, user_id, via, lambda server: self._join_through(server, user_id, room_id, content)
            )

    async def leave(self, user_id: str, room_id: str, via: Sequence[str], content: Mapping[str, Any]) -> None:
        async def through(server: str) -> None:
            template = await self._client.make_leave(server, room_id, user_id)
            event = self._complete(server, template, room_id, user_id, "leave", content)
            await self._client.send_leave(server, room_id, event.event_id, event.pdu)
            await self._store_membership(event, None)

        await self._through_any(room_id, user_id, via, through)

    async def knock(self, user_id: str, room_id: str, via: Sequence[str], content: Mapping[str, Any]) -> None:
        async def through(server: str) -> None:
            versions = [version.identifier for version in KNOWN_VERSIONS.values() if version.knocking]
            template = await self._client.make_knock(server, room_id, user_id, versions)
            event = self._complete(server, template, room_id, user_id, "knock", content)
            state = await self._client.send_knock(server, room_id, event.event_id, event.pdu)
            await self._store_membership(event, shown_outside(event, state))

        await self._through_any(room_id, user_id, via, through)

    async def send_invite(self, event: Event, stripped_state: Sequence[Mapping[str, Any]]) -> Event:
        assert event.state_key is not None
        server = server_name_of(event.state_key)
        version = event.room_version
        try:
            room_state = await self._whole_events(event.room_id, stripped_state)
            pdu = await self._client.invite(
                server, event.room_id, event.event_id, version.identifier, event.pdu, room_state
            )
        except FederationError as error:
            raise _refusal(error) from error
        # Only its signature is taken over: everything else is as it was sent.
        theirs = pdu.get("signatures")
        theirs = theirs.get(server) if isinstance(theirs, dict) else None
        if not isinstance(theirs, dict):
            raise BadGateway(f"{server} did not sign the invite")
        signatures = {**event.pdu["signatures"], server: theirs}
        try:
            signed = check_pdu({**event.pdu, "signatures": signatures}, version)
        except InvalidEvent as error:
            raise BadGateway(f"{server} did not sign the invite properly") from error
        return Event.from_pdu(signed, version, event.event_id)

    async def _whole_events(
        self, room_id: str, stripped_state: Sequence[Mapping[str, Any]]
    ) -> list[dict[str, Any]]:
        """The PDUs of stripped state, and of the create event: the other server checks them."""
        head = await self._heads.get(room_id)
        if head is None:
            return [dict(entry) for entry in stripped_state]
        keys = [("m.room.create", ""), *((str(entry["type"]), str(entry["state_key"])) for entry in stripped_state)]
        ids = [head.state[key] for key in dict.fromkeys(keys) if key in head.state]
        found = await self._outliers.known(ids)
        return [found[event_id].pdu for event_id in ids if event_id in found]

    async def resolve_alias(self, alias: str) -> tuple[str, list[str]]:
        try:
            server = server_name_of(alias)
            room_id, servers = await self._client.query_directory(server, alias)
        except InvalidIdentifier as error:
            raise NotFound("There is no such room alias") from error
        except FederationError as error:
            if error.kind == "refused":
                raise NotFound("There is no such room alias") from error
            raise _refusal(error) from error
        if not is_valid_room_id(room_id):
            raise BadGateway(f"{server} answered with something that is no room id")
        return room_id, servers if server in servers else [*servers, server]

    # --- the handshakes

    @asynccontextmanager
    async def _one_at_a_time(self, room_id: str) -> AsyncIterator[None]:
        """Two users of this server who join a room at once take over its state one after the other."""
        lock, waiting = self._locks.get(room_id, (asyncio.Lock(), 0))
        self._locks[room_id] = (lock, waiting + 1)
        try:
            async with lock:
                yield
        finally:
            lock, waiting = self._locks.pop(room_id)
            if waiting > 1:
                self._locks[room_id] = (lock, waiting - 1)

    async def _through_any(
        self, room_id: str, user_id: str, via: Sequence[str], attempt: Callable[[str], Awaitable[None]]
    ) -> None:
        """Tries the candidates in order until one does it, those last that failed lately; raises what the most telling
        one answered."""
        failures: list[MatrixError] = []
        candidates = sorted(await self._candidates(room_id, user_id, via), key=self._client.is_failing)
        for server in candidates[:MAX_CANDIDATES]:
            try:
                await attempt(server)
            except FederationError as error:
                log.info("%s could not help %s with %s: %s", server, user_id, room_id, error)
                failures.append(_refusal(error))
            except (InvalidEvent, CanonicalJSONError, AuthError) as error:
                log.info("%s gave nonsense for %s: %s", server, room_id, error)
                failures.append(BadGateway(f"{server} gave an invalid answer"))
            else:
                return
        if not failures:
            raise NotFound("No server is known that is in the room")
        # An answer that says something of the room or user is worth more than one that nobody could be reached.
        raise next((failure for failure in failures if not isinstance(failure, BadGateway)), failures[0])

    async def _candidates(self, room_id: str, user_id: str, via: Sequence[str]) -> list[str]:
        """The servers named by the caller, then who invited; else those known to be in the room, or the room id's."""
        found = list(via)
        async with self._database.read() as tx:
            membership = await memberships.membership_of(tx, room_id, user_id)
        if membership is not None:
            found.append(membership.sender.partition(":")[2])
        head = None if found else await self._heads.get(room_id)
        if head is not None:
            found += head.hosts_besides()
        others = [server for server in dict.fromkeys(found) if server and server != self._server_name]
        last_resort = room_id.partition(":")[2]
        return others or [server for server in (last_resort,) if server and server != self._server_name]

    async def _join_through(self, server: str, user_id: str, room_id: str, content: Mapping[str, Any]) -> None:
        template = await self._client.make_join(server, room_id, user_id, list(KNOWN_VERSIONS))
        event = self._complete(server, template, room_id, user_id, "join", content)
        joined = await self._client.send_join(
            server, room_id, event.event_id, event.pdu, omit_members=self._faster_joins
        )
        event = self._with_other_signatures(event, joined)
        await self._take_over(server, event, joined)

    def _complete(
        self,
        server: str,
        template: Template,
        room_id: str,
        user_id: str,
        membership: str,
        content: Mapping[str, Any],
    ) -> Event:
        """Our own event of what the other server proposed: only what it alone can know is taken from the template.

        Raises `FederationError` where the template is of something else, `InvalidEvent` where no event comes of it.
        """
        version = KNOWN_VERSIONS.get(template.room_version)
        if version is None:
            raise FederationError("malformed", server, f"the room version {template.room_version} is not known")
        proposed = template.event
        expected = {"type": "m.room.member", "room_id": room_id, "sender": user_id, "state_key": user_id}
        theirs = proposed.get("content")
        if any(proposed.get(name) != value for name, value in expected.items()) or not isinstance(theirs, dict):
            raise FederationError("malformed", server, "the template is of another event")
        if theirs.get("membership") != membership:
            raise FederationError("malformed", server, "the template has another membership")
        merged = {**content, "membership": membership}
        merged.pop("join_authorised_via_users_server", None)
        if "join_authorised_via_users_server" in theirs and version.restricted_joins:
            merged["join_authorised_via_users_server"] = theirs["join_authorised_via_users_server"]
        pdu: dict[str, Any] = {
            **expected,
            "content": merged,
            "origin": self._server_name,
            "origin_server_ts": self._clock.now_ms(),
            "depth": proposed.get("depth"),
            "prev_events": proposed.get("prev_events"),
            "auth_events": proposed.get("auth_events"),
        }
        return self._signed(pdu, version)

    def _signed(self, pdu: dict[str, Any], version: RoomVersion) -> Event:
        if version.strict_canonical_json and isinstance(pdu["depth"], int):
            pdu["depth"] = min(pdu["depth"], _MAX_DEPTH)
        if version.event_id_in_pdu:
            pdu["event_id"] = f"${self._randomness.opaque_id()}:{self._server_name}"
        pdu["hashes"] = {"sha256": content_hash(pdu, version)}
        signed = sign_event(pdu, version, self._server_name, self._signing_key)
        return Event.from_pdu(check_pdu(signed, version), version)

    def _with_other_signatures(self, event: Event, joined: JoinedRoom) -> Event:
        """The join as the resident server returned it, if it added nothing but signatures (restricted joins)."""
        if joined.event is None:
            return event
        try:
            returned = Event.from_pdu(check_pdu(joined.event, event.room_version), event.room_version)
        except (InvalidEvent, CanonicalJSONError):
            return event
        signatures = {**returned.pdu["signatures"], **event.pdu["signatures"]}
        if returned.event_id != event.event_id:
            return event
        return Event.from_pdu({**event.pdu, "signatures": signatures}, event.room_version, event.event_id)

    # --- what comes of it

    async def _take_over(self, server: str, join: Event, joined: JoinedRoom) -> None:
        """Checks what the resident server answered and writes it: the state, what authorises it, and the join."""
        version = join.room_version
        pdus = [*joined.auth_chain, *joined.state]
        received = await self._outliers.check(join.room_id, version, pdus, told_by=server)
        judged, rejected = await self._outliers.judge(received.events)
        events = {event.event_id: event for event in judged}
        state = await self._known_or_new(received.ids[len(joined.auth_chain) :], events)
        _check_create(server, state, version)
        allowed = {event.key: event for event in state if event.event_id not in rejected}
        servers = None
        if joined.servers_in_room is not None:
            servers = self._others(server, joined.servers_in_room)
            allowed = await self._with_members_cited(join, allowed, events, rejected)
        # Step 5 for our own event: a state that does not allow it is a lie, or the server should not have let us in.
        try:
            check_auth(join, allowed)
        except AuthError as error:
            if servers is None:
                raise
            # What the join itself cites forbids it, rather than a state that may be made up.
            raise Forbidden(f"The join is not allowed: {error.reason}") from error
        if failure := (await self._signatures.failures([join])).get(join.event_id):
            raise FederationError("malformed", server, f"the join is not signed as it must be: {failure}")

        async def write(tx: Write) -> bool:
            draft = await self._draft(tx, join.room_id, version, allowed)
            if draft.host_count(self._server_name):
                return False
            if servers is not None and draft.is_partial and await self._imports.rejoin(tx, draft, join):
                return True
            await self._imports.join(
                tx, draft, join, state=list(allowed.values()), auth_chain=judged, rejected=rejected, servers=servers
            )
            return True

        try:
            is_written = await self._database.write(write)
        except AuthError as error:
            # By what is known here of the room, which the other server seems not to know.
            raise Forbidden(f"The join is not allowed: {error.reason}") from error
        if not is_written:
            # This server is in the room, but could not let the user in itself: the join is an event like others.
            verdict = await self._receive.receive_event(server, join)
            if verdict.outcome not in ("accepted", "known"):
                raise FederationError("malformed", server, f"the join does not stand: {verdict.reason}")

    def _others(self, server: str, in_room: Sequence[str]) -> list[str]:
        names = [name for name in in_room[:MAX_SERVERS] if is_valid_server_name(name)]
        return [name for name in dict.fromkeys((server, *names)) if name != self._server_name]

    async def _with_members_cited(
        self, join: Event, state: Mapping[StateKey, Event], new: Mapping[str, Event], rejected: Mapping[str, str]
    ) -> dict[StateKey, Event]:
        """A state without members, with those that the join itself cites: of who invited, or let the user in."""
        found = await self._outliers.known([event_id for event_id in join.auth_events if event_id not in new])
        cited = [event for event_id in join.auth_events if (event := new.get(event_id) or found.get(event_id))]
        members = {event.key: event for event in cited if event.type == MEMBER and event.event_id not in rejected}
        return {**members, **state}

    async def _known_or_new(self, ids: Sequence[str | None], new: Mapping[str, Event]) -> list[Event]:
        """Those of the events that passed now or before; `ids` has None for what is no event."""
        wanted = [event_id for event_id in ids if event_id is not None]
        found = await self._outliers.known([event_id for event_id in wanted if event_id not in new])
        return [event for event_id in wanted if (event := new.get(event_id) or found.get(event_id)) is not None]

    async def _draft(self, tx: Write, room_id: str, version: RoomVersion, state: Mapping[Any, Event]) -> HeadDraft:
        draft = await self._heads.draft(tx, room_id)
        if draft is not None:
            return draft
        create = state.get(("m.room.create", ""))
        return self._heads.create(tx, room_id, version, None if create is None else create.sender)

    async def _store_membership(self, event: Event, stripped_state: Sequence[Mapping[str, Any]] | None) -> None:
        async def write(tx: Write) -> None:
            draft = await self._heads.draft(tx, event.room_id)
            if draft is None:
                draft = self._heads.create(tx, event.room_id, event.room_version)
            await self._imports.membership(tx, draft, event, stripped_state)

        await self._database.write(write)


def _check_create(server: str, state: Sequence[Event], version: RoomVersion) -> None:
    creates = [event for event in state if event.key == ("m.room.create", "")]
    if len(creates) != 1:
        raise FederationError("malformed", server, "the state has not one m.room.create event")
    if creates[0].content.get("room_version", "1") != version.identifier:
        raise FederationError("malformed", server, "the room has another version than was said")


_BY_ERRCODE: Final[dict[str, type[MatrixError]]] = {
    "M_FORBIDDEN": Forbidden,
    "M_NOT_FOUND": NotFound,
    "M_UNABLE_TO_AUTHORISE_JOIN": Forbidden,
    "M_UNABLE_TO_GRANT_JOIN": Forbidden,
    "M_UNSUPPORTED_ROOM_VERSION": UnsupportedRoomVersion,
    "M_INVITE_BLOCKED": InviteBlocked,
}


def _refusal(error: FederationError) -> MatrixError:
    """What the local client is told."""
    if error.kind == "refused" and error.errcode == "M_INCOMPATIBLE_ROOM_VERSION":
        return IncompatibleRoomVersion(error.message, room_version=str(error.body.get("room_version", "")))
    if error.kind == "refused" and error.errcode in _BY_ERRCODE:
        return _BY_ERRCODE[error.errcode](error.message)
    return BadGateway(f"{error.destination} could not help: {error.message}")
