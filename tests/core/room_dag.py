"""A room's events under construction for tests: every event keeps the state after it, and forks are free."""

from collections.abc import Mapping, Sequence
from typing import Any

from homeserver.core.auth_rules import AuthError, check_auth, select_auth_events
from homeserver.core.event_format import check_pdu
from homeserver.core.events import Event, StateKey
from homeserver.core.hashes import content_hash, reference_hash, unpadded_base64
from homeserver.core.room_versions import KNOWN_VERSIONS, RoomVersion
from homeserver.core.state_resolution import resolve

State = dict[StateKey, str]
START_MS = 1_700_000_000_000


class RoomDag:
    """One room. `events` and `state_after` are by event id; `last` is the newest event added."""

    def __init__(
        self, version: str, creator: str = "@alice:a.example", create_content: Mapping[str, Any] | None = None
    ) -> None:
        self.version: RoomVersion = KNOWN_VERSIONS[version]
        self.creator = creator
        self.events: dict[str, Event] = {}
        self.state_after: dict[str, State] = {}
        self._count = 0
        self.room_id: str | None = None
        if not self.version.room_id_is_create_event_hash:
            self.room_id = "!room:" + creator.partition(":")[2]
        content: dict[str, Any] = {"room_version": version}
        if not self.version.implicit_room_creator:
            content["creator"] = creator
        self.create = self.event("m.room.create", creator, {**content, **(create_content or {})}, "", prev=[], state={})
        self.room_id = self.create.room_id
        self.add(self.create, {})

    def event(
        self,
        event_type: str,
        sender: str,
        content: Mapping[str, Any],
        state_key: str | None = None,
        *,
        prev: Sequence[Event] | None = None,
        state: Mapping[StateKey, str] | None = None,
        auth_events: Sequence[str] | None = None,
        ts: int | None = None,
        **extra: Any,
    ) -> Event:
        """An event that is in no way checked and not added. `state` (by default that after `prev`) chooses its auth
        events; `prev` defaults to the last event."""
        previous = [self.last] if prev is None else list(prev)
        if state is None:
            state = self.state_before(previous)
        self._count += 1
        pdu: dict[str, Any] = {
            "type": event_type,
            "sender": sender,
            "content": dict(content),
            "depth": 1 + max((event.depth for event in previous), default=0),
            "origin_server_ts": START_MS + self._count if ts is None else ts,
            "prev_events": self._references([event.event_id for event in previous]),
            "auth_events": [],
            "signatures": {},
            **extra,
        }
        if self.room_id is not None:
            pdu["room_id"] = self.room_id
        if state_key is not None:
            pdu["state_key"] = state_key
        if self.version.event_id_in_pdu:
            pdu["event_id"] = f"$event{self._count}:{sender.partition(':')[2]}"
        if auth_events is None:
            auth_events = select_auth_events(_Draft(pdu), state, self.version)
        pdu["auth_events"] = self._references(auth_events)
        pdu["hashes"] = {"sha256": content_hash(pdu, self.version)}
        return Event.from_pdu(check_pdu(pdu, self.version), self.version)

    def add(self, event: Event, state_before: Mapping[StateKey, str] | None = None) -> Event:
        """Makes an event part of the room, allowed or not."""
        if state_before is None:
            state_before = self.state_before([self.events[event_id] for event_id in event.prev_events])
        state = dict(state_before)
        if event.is_state:
            state[event.key] = event.event_id
        self.events[event.event_id] = event
        self.state_after[event.event_id] = state
        self.last = event
        return event

    def send(
        self,
        event_type: str,
        sender: str,
        content: Mapping[str, Any],
        state_key: str | None = None,
        *,
        prev: Sequence[Event] | None = None,
        ts: int | None = None,
        **extra: Any,
    ) -> Event:
        """Makes, checks and adds an event. Raises `AuthError` where the state before it does not allow it."""
        previous = [self.last] if prev is None else list(prev)
        state = self.state_before(previous)
        event = self.event(event_type, sender, content, state_key, prev=previous, state=state, ts=ts, **extra)
        check_auth(event, self.loaded(state))
        return self.add(event, state)

    def refusal(
        self,
        event_type: str,
        sender: str,
        content: Mapping[str, Any],
        state_key: str | None = None,
        **options: Any,
    ) -> str | None:
        """The number of the rule by which the room, as it is after the last event, refuses an event; None: allowed."""
        state = self.state_after[self.last.event_id]
        try:
            check_auth(self.event(event_type, sender, content, state_key, **options), self.loaded(state))
        except AuthError as error:
            return error.rule
        return None

    def member_refusal(self, sender: str, membership: str, target: str | None = None, **content: Any) -> str | None:
        content = {"membership": membership, **content}
        return self.refusal("m.room.member", sender, content, sender if target is None else target)

    def member(self, sender: str, membership: str, target: str | None = None, **options: Any) -> Event:
        """Sends a membership; `content` in `options` is merged into the content."""
        content = {"membership": membership, **options.pop("content", {})}
        return self.send("m.room.member", sender, content, sender if target is None else target, **options)

    def power_levels(self, sender: str, users: Mapping[str, int], **options: Any) -> Event:
        content = {"users": dict(users), **options.pop("content", {})}
        return self.send("m.room.power_levels", sender, content, "", **options)

    def join_rule(self, sender: str, join_rule: str, **options: Any) -> Event:
        return self.send("m.room.join_rules", sender, {"join_rule": join_rule}, "", **options)

    def state_before(self, previous: Sequence[Event]) -> State:
        states = [self.state_after[event.event_id] for event in previous]
        return dict(states[0]) if len(states) == 1 else self.resolve(states)

    def resolve(self, states: Sequence[Mapping[StateKey, str]]) -> State:
        return resolve(self.version, states, self.events)

    def loaded(self, state: Mapping[StateKey, str]) -> dict[StateKey, Event]:
        return {key: self.events[event_id] for key, event_id in state.items()}

    def _references(self, event_ids: Sequence[str]) -> list[Any]:
        if not self.version.event_references_carry_hashes:
            return list(event_ids)
        return [[event_id, {"sha256": self._hash(event_id)}] for event_id in event_ids]

    def _hash(self, event_id: str) -> str:
        return unpadded_base64(reference_hash(self.events[event_id].pdu, self.version))


class _Draft:
    def __init__(self, pdu: Mapping[str, Any]) -> None:
        self.type: str = pdu["type"]
        self.sender: str = pdu["sender"]
        self.state_key: str | None = pdu.get("state_key")
        self.content: dict[str, Any] = pdu["content"]


def started_room(version: str, *members: str, join_rule: str = "public", **options: Any) -> RoomDag:
    """A room whose creator is joined and has set levels (creator 100, where the version lets one say so) and the join
    rule; `members` have joined, under the join rule `public`."""
    room = RoomDag(version, **options)
    room.member(room.creator, "join")
    users = {} if room.version.privileged_creators else {room.creator: 100}
    room.power_levels(room.creator, users)
    room.join_rule(room.creator, "public")
    for member in members:
        room.member(member, "join")
    if join_rule != "public":
        room.join_rule(room.creator, join_rule)
    return room
