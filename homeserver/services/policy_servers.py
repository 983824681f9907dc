"""Asks the policy servers of rooms what they think of events. server-server-api §Policy Servers"""

import logging
from typing import Any, Final

from signedjson.types import SigningKey

from federation.outbound.client import FederationClient
from federation.outbound.failures import FederationError
from homeserver.core.canonical_json import CanonicalJSONError
from homeserver.core.event_format import InvalidEvent, check_pdu
from homeserver.core.events import Event
from homeserver.core.policy import KEY_ID, KEY_VERSION, POLICY_STATE, PolicyServer, is_exempt
from homeserver.core.signatures import sign_event
from homeserver.errors import BadJson, Forbidden, NotFound, NotRecommended, Unrecognized
from homeserver.services.events import Events
from homeserver.services.room_heads import RoomHead, RoomHeads
from homeserver.services.server_access import ServerAccess
from homeserver.services.server_key_objects import verify_key_of

log = logging.getLogger(__name__)

_SAID: Final = frozenset({"errcode", "error"})


class PolicyServers:
    """For rooms whose current state names a policy server that is in the room; others have none."""

    def __init__(self, client: FederationClient, events: Events, signer: "PolicySigner | None" = None) -> None:
        self._client = client
        self._events = events
        self._signer = signer

    async def of(self, head: RoomHead) -> PolicyServer | None:
        """The room's policy server."""
        event_id = head.state.get(POLICY_STATE)
        stored = None if event_id is None else await self._events.get(event_id)
        server = None if stored is None else PolicyServer.of(stored.shown.content)
        return server if server is not None and server.server_name in head.hosts else None

    async def recommended(self, head: RoomHead, event: Event) -> Event:
        """The event with the signature of the room's policy server, where the room has one. Raises `NotRecommended`
        where it does not sign."""
        if is_exempt(event.type, event.state_key):
            return event
        server = await self.of(head)
        if server is None or server.recommends(event):
            return event
        signed = _with_signature(event, server, await self._ask(server, event))
        if not server.recommends(signed):
            raise NotRecommended("The room's policy server did not sign the event with its key")
        return signed

    async def _ask(self, server: PolicyServer, event: Event) -> dict[str, Any]:
        if self._signer is not None and self._signer.server_name == server.server_name:
            return self._signer.signature(event)
        try:
            return await self._client.ask_policy_server(server.server_name, event.pdu)
        except FederationError as error:
            log.info("%s is not recommended by %s: %s", event.event_id, server.server_name, error)
            if error.kind != "refused" or error.errcode is None:
                raise NotRecommended("The room's policy server could not be asked") from error
            more = {name: value for name, value in error.body.items() if name not in _SAID}
            refusal = NotRecommended(error.message, **more)
            refusal.errcode = error.errcode  # type: ignore[misc]  # what it said is passed on as it is
            raise refusal from error


class PolicySigner:
    """This server as a policy server. It recommends every event that may be in the room."""

    def __init__(
        self,
        heads: RoomHeads,
        events: Events,
        access: ServerAccess,
        key: SigningKey | None,
    ) -> None:
        self._heads = heads
        self._events = events
        self._access = access
        self._key = key
        if key is not None:
            key.version = KEY_VERSION

    @property
    def server_name(self) -> str:
        """This server, where it signs at all."""
        return "" if self._key is None else self._access.server_name

    async def sign(self, origin: str, pdu: dict[str, Any]) -> dict[str, Any]:
        """The signature of an event that another server asks about. Raises Unrecognized where this server is no policy
        server, NotFound where it is not that of the room, BadJson, and Forbidden."""
        if self._key is None:
            raise Unrecognized("This server is not a policy server")
        head = await self._heads.get(str(pdu.get("room_id")))
        if head is None or not self._access.is_resident(head) or not await self._is_named_by(head):
            raise NotFound("This server is not the policy server of the room")
        if not await self._access.is_allowed(head, origin):
            raise Forbidden("The room's server ACL shuts your server out")
        try:
            event = Event.from_pdu(check_pdu(pdu, head.room_version), head.room_version)
        except (InvalidEvent, CanonicalJSONError) as error:
            raise BadJson(f"The event is not valid: {error}") from error
        if is_exempt(event.type, event.state_key):
            raise NotRecommended("Policy servers have no say in who the policy server is")
        return self.signature(event)

    def signature(self, event: Event) -> dict[str, Any]:
        """`signatures` with this server's only."""
        assert self._key is not None
        signed = sign_event({**event.pdu, "signatures": {}}, event.room_version, self.server_name, self._key)
        return dict(signed["signatures"])

    async def _is_named_by(self, head: RoomHead) -> bool:
        event_id = head.state.get(POLICY_STATE)
        stored = None if event_id is None else await self._events.get(event_id)
        server = None if stored is None else PolicyServer.of(stored.shown.content)
        assert self._key is not None
        return server == PolicyServer(self._access.server_name, verify_key_of(self._key))


def _with_signature(event: Event, server: PolicyServer, answer: dict[str, Any]) -> Event:
    """Only the one signature is taken over: the server may have signed the event as its sender's too."""
    by_key = answer.get(server.server_name)
    signature = by_key.get(KEY_ID) if isinstance(by_key, dict) else None
    signatures = dict(event.pdu["signatures"])
    signatures[server.server_name] = {**signatures.get(server.server_name, {}), KEY_ID: signature}
    return Event.from_pdu({**event.pdu, "signatures": signatures}, event.room_version, event.event_id)
