"""Which rooms belong into an answer, and as what: decided at one moment, from memory."""

from collections.abc import Iterable
from dataclasses import dataclass, field

from homeserver.services.partial_rooms import PartialRooms
from homeserver.services.sync.request import SyncRequest
from homeserver.services.sync.room_view import Span
from homeserver.services.sync.users import MembershipChange, SyncUser


@dataclass(frozen=True, slots=True)
class JoinedRoom:
    """A room that the user is in, with the part of its history to show. `joined_at`: see `SyncUser.joined`.
    `became_whole`: members of whom the client, which has the room, was not told are known now."""

    room_id: str
    nid: int
    span: Span
    joined_at: int
    became_whole: bool = False


@dataclass(frozen=True, slots=True)
class LeftRoom:
    """A room that the user left (or was kicked or banned from) at `span.upto`. `was_joined` False: there was only an
    invite or a knock, of which nothing but the end is shown."""

    room_id: str
    nid: int
    span: Span
    was_joined: bool
    event_id: str | None


@dataclass(slots=True)
class Selection:
    """The rooms of an answer that covers positions up to `upto`."""

    upto: int
    joined: list[JoinedRoom] = field(default_factory=list)
    left: list[LeftRoom] = field(default_factory=list)
    invited: list[str] = field(default_factory=list)
    knocked: list[str] = field(default_factory=list)


def select_all(user: SyncUser, request: SyncRequest, upto: int, partial: PartialRooms | None = None) -> Selection:
    """Everything, for a client that knows nothing yet. Rooms that are `partial` are shown to clients that do not load
    members lazily when all members are known."""
    selection = Selection(upto)
    withheld = None if request.filter.room.state.lazy_load_members else partial
    wanted = request.filter.room
    for room_id, membership in user.memberships.items():
        if not wanted.allows_room(room_id) or room_id in user.forgotten:
            continue
        nid = user.nids[room_id]
        if membership == "join":
            if withheld is not None and withheld.is_partial(room_id):
                continue
            span = Span(0, upto, is_full=True, is_new=True)
            selection.joined.append(JoinedRoom(room_id, nid, span, user.joined[room_id]))
        elif membership == "invite":
            selection.invited.append(room_id)
        elif membership == "knock":
            selection.knocked.append(room_id)
        elif wanted.include_leave:
            span = Span(0, user.positions[room_id], is_full=True, is_new=True)
            selection.left.append(LeftRoom(room_id, nid, span, True, None))
    return selection


def select_changed(
    user: SyncUser,
    request: SyncRequest,
    upto: int,
    with_news: Iterable[str],
    partial: PartialRooms | None = None,
) -> Selection:
    """What changed since the client's token. `with_news`: rooms of the user in which anything happened. `partial`: see
    `select_all`; to clients that load members lazily, such a room becoming whole is news."""
    selection = Selection(upto)
    since, wanted = request.after, request.filter.room
    changes = user.changes_between(since, upto)
    for room_id, told in changes.items():
        if wanted.allows_room(room_id):
            # That a room was left is told even where it is forgotten already: other devices could not know otherwise.
            _select_changed_membership(selection, user, room_id, told, since)
    candidates = user.joined if request.full_state else with_news
    whole = () if partial is None else partial.whole_since(since, user.joined)
    if whole:
        candidates = (*candidates, *whole)
    is_lazy = wanted.state.lazy_load_members
    for room_id in dict.fromkeys(candidates):
        if room_id in changes and _is_new(changes[room_id]):
            continue
        if room_id in user.joined and wanted.allows_room(room_id):
            is_new = not is_lazy and room_id in whole
            span = Span(since, upto, is_full=request.full_state or is_new, is_new=is_new)
            joined_at = user.joined[room_id]
            selection.joined.append(JoinedRoom(room_id, user.nids[room_id], span, joined_at, room_id in whole))
    if partial is not None and partial.are_any and not is_lazy:
        selection.joined = [room for room in selection.joined if not partial.is_partial(room.room_id)]
    return selection


def _is_new(told: list[MembershipChange]) -> bool:
    """Whether the client has to treat the room as one that it did not have."""
    return any(change.membership != "join" or change.before != "join" for change in told)


def _select_changed_membership(
    selection: Selection, user: SyncUser, room_id: str, told: list[MembershipChange], since: int
) -> None:
    last, nid, upto = told[-1], user.nids[room_id], selection.upto
    if last.membership == "join":
        if _is_new(told):
            span = Span(since, upto, is_full=True, is_new=True)
            selection.joined.append(JoinedRoom(room_id, nid, span, user.joined.get(room_id, last.position)))
    elif last.membership == "invite":
        selection.invited.append(room_id)
    elif last.membership == "knock":
        selection.knocked.append(room_id)
    else:
        had_it = told[0].before == "join"
        was_joined = had_it or any(change.membership == "join" for change in told)
        rejoined = had_it and any(change.membership == "join" and change.before != "join" for change in told)
        left_at = next((c.position for c in reversed(told) if c.before == "join"), last.position)
        end = max(left_at, last.position) if was_joined else last.position
        is_new = not had_it or rejoined
        span = Span(since, end, is_full=is_new, is_new=is_new)
        selection.left.append(LeftRoom(room_id, nid, span, was_joined, last.event_id))
