"""Another server, as far as its events go: it makes them, and nobody checks its signatures."""

from collections.abc import Mapping, Sequence
from typing import Any

from homeserver.core.auth_rules import select_auth_events
from homeserver.core.event_builder import EventDraft, build_event
from homeserver.core.events import Event, StateKey
from homeserver.core.room_versions import ROOM_VERSIONS, RoomVersion
from homeserver.core.signatures import generate_signing_key
from tests.services.spine import Spine

ZOE = "@zoe:remote.example"


class Foreign:
    """Makes events on top of whatever it is told to."""

    def __init__(self, name: str = "remote.example") -> None:
        self.name = name
        self._key = generate_signing_key("1", b"z" * 32)
        self._time = 1_700_000_000_000

    def event(
        self,
        version: RoomVersion,
        room_id: str | None,
        sender: str,
        event_type: str,
        content: Mapping[str, Any],
        state_key: str | None = None,
        *,
        prev: Sequence[str] = (),
        auth: Sequence[str] = (),
        depth: int = 1,
        redacts: str | None = None,
    ) -> Event:
        """An event with these references."""
        self._time += 1
        return build_event(
            EventDraft(event_type, sender, dict(content), room_id, state_key, redacts),
            version,
            prev_events=prev,
            auth_events=auth,
            depth=depth,
            origin_server_ts=self._time,
            server_name=self.name,
            signing_key=self._key,
        )

    async def reply(
        self,
        spine: Spine,
        room_id: str,
        sender: str,
        event_type: str,
        content: Mapping[str, Any],
        state_key: str | None = None,
        *,
        prev: Sequence[str],
        redacts: str | None = None,
    ) -> Event:
        """An event after those of `prev`, authorised by the state after the first of them."""
        found = await spine.events.get_many(prev)
        state = await spine.state.after(found[prev[0]])
        assert state is not None
        head = await spine.heads.get(room_id)
        assert head is not None
        draft = EventDraft(event_type, sender, dict(content), room_id, state_key)
        auth = select_auth_events(draft, state, head.room_version)
        depth = max(stored.event.depth for stored in found.values()) + 1
        return self.event(
            head.room_version,
            room_id,
            sender,
            event_type,
            content,
            state_key,
            prev=prev,
            auth=auth,
            depth=depth,
            redacts=redacts,
        )

    def room(self, members: int = 3, version: str = "11") -> tuple[list[Event], dict[StateKey, Event]]:
        """A room of this server: (its events in order, its state). `members` are joined, and so is `ZOE`, who made
        it."""
        rules = ROOM_VERSIONS[version]
        room_id = f"!room:{self.name}"
        events: list[Event] = []
        state: dict[StateKey, Event] = {}

        def add(sender: str, event_type: str, state_key: str, content: dict[str, Any]) -> None:
            draft = EventDraft(event_type, sender, content, room_id, state_key)
            auth = select_auth_events(draft, {key: event.event_id for key, event in state.items()}, rules)
            prev = [events[-1].event_id] if events else []
            event = self.event(
                rules, room_id, sender, event_type, content, state_key, prev=prev, auth=auth, depth=len(events) + 1
            )
            events.append(event)
            state[event.key] = event

        add(ZOE, "m.room.create", "", {"room_version": version})
        add(ZOE, "m.room.member", ZOE, {"membership": "join", "displayname": "Zoe"})
        add(ZOE, "m.room.power_levels", "", {"users": {ZOE: 100}})
        add(ZOE, "m.room.join_rules", "", {"join_rule": "public"})
        for number in range(members):
            user_id = f"@m{number}:{self.name}"
            add(user_id, "m.room.member", user_id, {"membership": "join"})
        return events, state
