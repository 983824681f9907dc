"""Rooms of an answer as JSON text. Proposal 4186, "RoomResult"."""

from collections.abc import Mapping, Sequence
from typing import Any

import orjson

from homeserver.services.client_events import own_request, serialise
from homeserver.services.events import StoredEvent
from homeserver.services.sliding_sync.request import SlidingSyncRequest
from homeserver.services.sliding_sync.room_draft import Draft
from homeserver.services.sliding_sync.room_task import RoomTask

_NAMES = {"name": "name", "avatar": "url"}


def write_room(
    request: SlidingSyncRequest,
    draft: Draft,
    known: Mapping[str, StoredEvent],
    live_since: int,
    counts: tuple[int, int] | None,
    is_read: bool,
) -> bytes | None:
    """The room's object; None where there is nothing to tell. `counts` are (notifications, highlights), `is_read` says
    that the user's own receipts may have changed them, `live_since` up to where the client knew of things."""
    task, timeline = draft.task, draft.timeline
    room = _details(request, draft, known)
    state = [orjson.Fragment(event) for event in _state_events(request, draft, known)]
    if state:
        room["required_state"] = state
    if timeline.events or timeline.limited or task.sent is None:
        room["timeline"] = [orjson.Fragment(_event(request, draft, stored)) for stored in timeline.events]
        room["limited"] = timeline.limited
        room["prev_batch"] = timeline.prev_batch
        room["num_live"] = sum(1 for stored in timeline.events if (stored.position or 0) > live_since)
        if task.is_expanded:
            room["expanded_timeline" if request.is_stable else "unstable_expanded_timeline"] = True
    if not room and task.sent is not None and not is_read:
        return None
    if task.sent is None:
        room["initial"] = True
    if draft.bump_stamp is not None:
        room["bump_stamp"] = draft.bump_stamp
    if counts is not None and not request.is_stable:
        room["notification_count"], room["highlight_count"] = counts
    _add_place(room, task)
    return orjson.dumps(room)


def write_outside(request: SlidingSyncRequest, task: RoomTask, stripped: bytes) -> bytes:
    """The object of a room that the user is invited to, knocks on, or was never in; `stripped` is a JSON list."""
    room: dict[str, Any] = {"initial": True, "bump_stamp": task.upto}
    if task.is_dm:
        room["is_dm"] = True
    room["stripped_state" if request.is_stable else "invite_state"] = orjson.Fragment(stripped)
    _add_place(room, task)
    return orjson.dumps(room)


def write_ended(request: SlidingSyncRequest, task: RoomTask, member: StoredEvent | None) -> bytes:
    """The object of a room whose invite or knock has come to its end: `member` is the user's member event of that."""
    room: dict[str, Any] = {"initial": True, "bump_stamp": task.upto}
    if member is not None:
        event = orjson.Fragment(serialise(member, with_room_id=False))
        if request.is_stable:
            room["stripped_state"] = [event]
        else:
            room |= {"required_state": [event], "timeline": [event], "limited": False, "num_live": 1}
    _add_place(room, task)
    return orjson.dumps(room)


def _add_place(room: dict[str, Any], task: RoomTask) -> None:
    room["membership"] = task.membership
    if task.lists:
        room["lists"] = task.lists


def _details(request: SlidingSyncRequest, draft: Draft, known: Mapping[str, StoredEvent]) -> dict[str, Any]:
    task = draft.task
    room: dict[str, Any] = {}
    values = {what: _value(known.get(event_id or ""), _NAMES[what]) for what, event_id in draft.shown.items()}
    for what in draft.told:
        if values[what] is not None or task.sent is not None:
            room[what] = values[what]
    if draft.heroes and values.get("name") is None:
        room["heroes"] = [_hero(user_id, known.get(event_id)) for user_id, event_id in draft.heroes]
    if draft.counts is not None:
        room["joined_count"], room["invited_count"] = draft.counts
    if task.is_dm != (task.sent is not None and task.sent.is_dm):
        room["is_dm"] = task.is_dm
    return room


def _value(stored: StoredEvent | None, name: str) -> str | None:
    value = None if stored is None else stored.shown.content.get(name)
    return value if isinstance(value, str) and value else None


def _hero(user_id: str, stored: StoredEvent | None) -> dict[str, str]:
    hero = {"user_id": user_id}
    content = {} if stored is None else stored.shown.content
    for name in ("displayname", "avatar_url"):
        if isinstance(content.get(name), str):
            hero[name] = content[name]
    return hero


def _state_events(request: SlidingSyncRequest, draft: Draft, known: Mapping[str, StoredEvent]) -> Sequence[bytes]:
    found: list[bytes] = []
    for (event_type, state_key), event_id in draft.state.items():
        stored = known.get(event_id or "")
        if stored is not None:
            found.append(serialise(stored, with_room_id=False))
        elif event_id is None and request.is_stable:
            found.append(orjson.dumps({"type": event_type, "state_key": state_key}))
    return found


def _event(request: SlidingSyncRequest, draft: Draft, stored: StoredEvent) -> bytes:
    is_later = (stored.position or 0) >= draft.task.joined_at
    membership = "join" if is_later else draft.memberships.get(stored.event_id, "join")
    return serialise(
        stored,
        with_room_id=False,
        own=own_request(stored, request.user_id, request.device_id),
        membership=membership,
        relations=draft.relations.get(stored.event_id),
    )
