"""This server as the resident one: it helps users of other servers to join, leave and knock.

server-server-api §Joining Rooms, §Leaving Rooms (Rejecting Invites), §Knocking upon a room
"""

from collections.abc import Collection, Mapping
from typing import Any, Final

from signedjson.types import SigningKey

from homeserver.core.canonical_json import CanonicalJSONError, encode_lenient
from homeserver.core.event_builder import EventDraft
from homeserver.core.event_format import InvalidEvent, check_pdu
from homeserver.core.events import MEMBER, Event, StateKey
from homeserver.core.identifiers import is_valid_user_id
from homeserver.core.signatures import sign_event
from homeserver.errors import Forbidden, IncompatibleRoomVersion, InvalidParam, NotFound
from homeserver.services.auth_chains import AuthChains
from homeserver.services.client_events import stripped
from homeserver.services.event_signatures import EventSignatures
from homeserver.services.events import Events, StoredEvent
from homeserver.services.join_conditions import JoinConditions
from homeserver.services.receive_pdu import ReceivePdu
from homeserver.services.received_events import Received, verify
from homeserver.services.room_heads import RoomHead
from homeserver.services.room_state import RoomState
from homeserver.services.send_event import SendEvent
from homeserver.services.server_access import ServerAccess

HEROES: Final = 5
LOOKED_AT: Final = 100
"""Members of whom some are picked for a join without members."""
_LEFT_OUT: Final = frozenset({"hashes", "signatures", "event_id", "unsigned"})
STRIPPED: Final = tuple(
    ("m.room." + name, "")
    for name in (
        "create", "name", "avatar", "topic", "join_rules", "canonical_alias", "encryption"
    )
)  # fmt: skip


class ResidentServer:
    """make_join, send_join and their like, from the side that is in the room."""

    def __init__(
        self,
        events: Events,
        state: RoomState,
        chains: AuthChains,
        send: SendEvent,
        receive: ReceivePdu,
        signatures: EventSignatures,
        access: ServerAccess,
        conditions: JoinConditions,
        *,
        signing_key: SigningKey,
    ) -> None:
        self._events = events
        self._state = state
        self._chains = chains
        self._send = send
        self._receive = receive
        self._signatures = signatures
        self._access = access
        self._conditions = conditions
        self._signing_key = signing_key

    # --- templates

    async def make_join(
        self, origin: str, room_id: str, user_id: str, room_versions: Collection[str]
    ) -> dict[str, Any]:
        """A join for the user to sign. Raises NotFound, Forbidden, IncompatibleRoomVersion, UnableToAuthorizeJoin…"""
        head = await self._head_for(origin, room_id, user_id)
        _require_whole(head)
        _require_version(head, room_versions)
        content: dict[str, Any] = {"membership": "join"}
        authoriser = await self._conditions.authoriser_for(head, user_id)
        if authoriser is not None:
            content["join_authorised_via_users_server"] = authoriser
        return await self._template(head, user_id, content)

    async def make_knock(
        self, origin: str, room_id: str, user_id: str, room_versions: Collection[str]
    ) -> dict[str, Any]:
        """A knock for the user to sign."""
        head = await self._head_for(origin, room_id, user_id)
        _require_whole(head)
        _require_version(head, room_versions)
        if not head.room_version.knocking:
            raise Forbidden("Nobody can knock on a room of this version")
        return await self._template(head, user_id, {"membership": "knock"})

    async def make_leave(self, origin: str, room_id: str, user_id: str) -> dict[str, Any]:
        """A leave for the user to sign."""
        return await self._template(await self._head_for(origin, room_id, user_id), user_id, {"membership": "leave"})

    async def _head_for(self, origin: str, room_id: str, user_id: str) -> RoomHead:
        if not is_valid_user_id(user_id) or user_id.partition(":")[2] != origin:
            raise Forbidden("The user is not of your server")
        return await self._access.resident_head(room_id, origin)

    async def _template(self, head: RoomHead, user_id: str, content: dict[str, Any]) -> dict[str, Any]:
        draft = EventDraft("m.room.member", user_id, content, head.room_id, state_key=user_id)
        event = await self._send.build(head, draft)
        await self._send.check(head, event)
        template = {name: value for name, value in event.pdu.items() if name not in _LEFT_OUT}
        return {"room_version": head.room_version.identifier, "event": {**template, "origin": self._access.server_name}}

    # --- signed events

    async def send_join(
        self, origin: str, room_id: str, event_id: str, pdu: object, *, omit_members: bool = False
    ) -> bytes:
        """Lets the user in; the answer holds the state before the join and its auth chain, as JSON.

        `omit_members`: without the memberships, but those that the room is named after.
        """
        head = await self._access.resident_head(room_id, origin)
        _require_whole(head)
        servers = sorted(head.hosts)
        event = await self._event(origin, head, event_id, pdu, "join")
        event = await self._co_signed(head, event)
        stored = await self._accept(origin, event)
        return await self._joined(stored, servers, omit_members)

    async def send_leave(self, origin: str, room_id: str, event_id: str, pdu: object) -> None:
        """Rejects an invite, takes back a knock, or leaves."""
        head = await self._access.resident_head(room_id, origin)
        await self._accept(origin, await self._event(origin, head, event_id, pdu, "leave"))

    async def send_knock(self, origin: str, room_id: str, event_id: str, pdu: object) -> list[dict[str, Any]]:
        """Puts the knock into the room; returns what the user may know of it, as stripped state."""
        head = await self._access.resident_head(room_id, origin)
        _require_whole(head)
        if not head.room_version.knocking:
            raise Forbidden("Nobody can knock on a room of this version")
        await self._accept(origin, await self._event(origin, head, event_id, pdu, "knock"))
        return [stripped(event) for event in (await self._state.events_of(head.state, STRIPPED)).values()]

    async def _event(self, origin: str, head: RoomHead, event_id: str, pdu: object, membership: str) -> Event:
        """The event if it is what the endpoint is for. Raises InvalidParam, Forbidden."""
        try:
            event = Event.from_pdu(check_pdu(pdu, head.room_version), head.room_version)
        except (InvalidEvent, CanonicalJSONError) as error:
            raise InvalidParam(f"The event is not valid: {error}") from error
        if event.event_id != event_id or event.room_id != head.room_id:
            raise InvalidParam("The path names another event or room")
        if event.membership != membership:
            raise InvalidParam(f"This is for events whose membership is {membership}")
        if event.state_key != event.sender:
            raise InvalidParam("The event is not of a user about themselves")
        if event.sender.partition(":")[2] != origin:
            raise Forbidden("The event is not of a user of your server")
        return event

    async def _co_signed(self, head: RoomHead, event: Event) -> Event:
        """The join with this server's signature, where it is this server's user who lets the new one in."""
        authoriser = event.content.get("join_authorised_via_users_server")
        if not head.room_version.restricted_joins or not isinstance(authoriser, str):
            return event
        if authoriser.partition(":")[2] != self._access.server_name:
            raise InvalidParam("The join is authorised by a user of another server")
        # The conditions may have changed since the template was made.
        await self._conditions.authoriser_for(head, event.sender)
        pdu = sign_event(event.pdu, event.room_version, self._access.server_name, self._signing_key)
        return Event.from_pdu(pdu, event.room_version, event.event_id)

    async def _accept(self, origin: str, event: Event) -> StoredEvent:
        received = await verify(Received([event]), self._signatures)
        if not received.events:
            raise Forbidden(received.dropped[0][1])
        verdict = await self._receive.receive_event(origin, received.events[0], relay=True)
        if verdict.stored is None or verdict.outcome not in ("accepted", "known") or not verdict.stored.is_accepted:
            raise Forbidden(f"The event is not allowed: {verdict.reason}")
        return verdict.stored

    async def _joined(self, stored: StoredEvent, servers: list[str], omit_members: bool) -> bytes:
        state = await self._state.before(stored) or {}
        if omit_members:
            state = await self._without_members(state, stored.event.sender)
        chain = await self._chains.auth_chain_of_event({*state.values(), *stored.event.auth_events})
        events = await self._events.get_many(chain | set(state.values()))
        in_state = set(state.values())
        extra = {
            "event": stored.event.pdu,
            "members_omitted": omit_members,
            "origin": self._access.server_name,
            "servers_in_room": servers,
        }
        return b'{"auth_chain":%b,"state":%b,%b' % (
            pdu_array([one for one in events.values() if one.event_id not in in_state]),
            pdu_array([events[event_id] for event_id in state.values() if event_id in events]),
            encode_lenient(extra)[1:],
        )

    async def _without_members(self, state: Mapping[StateKey, str], user_id: str) -> dict[StateKey, str]:
        kept = {key: event_id for key, event_id in state.items() if key[0] != MEMBER}
        if ("m.room.name", "") in state or ("m.room.canonical_alias", "") in state:
            return kept
        members = sorted(key for key in state if key[0] == MEMBER and key[1] != user_id)
        found = await self._state.events_of(state, members[:LOOKED_AT])
        present = [key for key in members[:LOOKED_AT] if key in found and found[key].membership in ("join", "invite")]
        return kept | {key: state[key] for key in present[:HEROES]}


def pdu_array(events: Collection[StoredEvent]) -> bytes:
    """The PDUs, redacted where they were redacted, as a JSON array."""
    return b"[" + b",".join([one.shown.encoded() for one in events]) + b"]"


def _require_whole(head: RoomHead) -> None:
    """Who may come in is not known before all members are."""
    if head.is_partial:
        raise NotFound("This server does not know all members of the room yet")


def _require_version(head: RoomHead, room_versions: Collection[str]) -> None:
    version = head.room_version.identifier
    if version not in room_versions:
        raise IncompatibleRoomVersion(
            "Your server does not support the version of this room", room_version=version
        )
