"""The head of a room: what the next event builds on. A `RoomHead` is committed and cached, a `HeadDraft` is a batch's.

A draft lays what a batch changes over the head without copying or scanning it, so an event costs the same in a room of
ten and of ten thousand. When the batch is committed the draft's changes are put into the head, in place.
"""

from collections.abc import Iterator, Mapping
from typing import Self

from homeserver.core.events import StateKey
from homeserver.core.room_versions import RoomVersion
from homeserver.services.snapshots import EMPTY, Delta, Entry, Snapshot
from storage import room_state as storage_state
from storage import rooms as storage_rooms
from storage.database import Position, Write
from storage.tables import backward_extremities, forward_extremities, room_hosts, room_threads, rooms


class RoomHead:
    """The committed head of a room. Read it, do not change it; copy what has to outlast an `await`.

    `state`: the current state, (type, state key) → event id, and `nids` the integer ids of those events.
    `extremities`: forward extremities, event id → depth; `missing`: backward extremities, likewise. `joined`,
    `invited`: user ids; `hosts`: server name → joined users. `notify_seq`, `thread_seqs` (by thread root): how many
    events notified. `version` is the counter that `rooms.version` had when this was current, `position` a place in
    the log of no later than that. A room that is only known by an invite has no state and no extremities. `is_partial`:
    the room was joined without its members: the state lacks memberships, and `hosts` has one user too many for each
    server that is said to be in the room, so that it stays there whoever of it leaves.
    """

    __slots__ = (
        "extremities",
        "hosts",
        "invited",
        "is_partial",
        "joined",
        "missing",
        "nids",
        "notify_seq",
        "position",
        "room_id",
        "room_nid",
        "room_version",
        "snapshot",
        "state",
        "thread_seqs",
        "version",
    )

    def __init__(self, room_nid: int, room_id: str, room_version: RoomVersion) -> None:
        self.room_nid = room_nid
        self.room_id = room_id
        self.room_version = room_version
        self.version = 0
        self.position = 0
        self.is_partial = False
        self.snapshot: Snapshot = EMPTY
        self.extremities: dict[str, int] = {}
        self.missing: dict[str, int] = {}
        self.state: dict[StateKey, str] = {}
        self.nids: dict[str, int] = {}
        self.joined: set[str] = set()
        self.invited: set[str] = set()
        self.hosts: dict[str, int] = {}
        self.notify_seq = 0
        self.thread_seqs: dict[str, int] = {}

    @property
    def snapshot_id(self) -> int:
        """The snapshot of the current state; 0 where there is no state."""
        return self.snapshot.snapshot_id

    @property
    def joined_count(self) -> int:
        return len(self.joined)

    @property
    def invited_count(self) -> int:
        return len(self.invited)

    def hosts_besides(self, *names: str) -> list[str]:
        """The servers in the room without these, those with most of its members first."""
        return sorted((name for name in self.hosts if name not in names), key=lambda name: -self.hosts[name])

    def get(self, key: StateKey) -> Entry | None:
        """(event id, event_nid) of the current state at `key`."""
        event_id = self.state.get(key)
        return None if event_id is None else (event_id, self.nids[event_id])

    def set_state(self, delta: Delta) -> None:
        """Install committed changes of the current state."""
        for key, entry in delta.items():
            previous = self.state.pop(key, None)
            if previous is not None:
                self.nids.pop(previous, None)
            if entry is not None:
                self.state[key], self.nids[entry[0]] = entry

    def set_member(self, user_id: str, membership: str | None) -> None:
        """Install a committed membership; anything but `join` and `invite` counts as none."""
        self.joined.discard(user_id)
        self.invited.discard(user_id)
        if membership == "join":
            self.joined.add(user_id)
        elif membership == "invite":
            self.invited.add(user_id)


class DraftState(Mapping[StateKey, str]):
    """The state of a draft as event ids: the head's with the draft's changes over it."""

    __slots__ = ("_base", "_delta")

    def __init__(self, base: dict[StateKey, str], delta: dict[StateKey, Entry | None]) -> None:
        self._base = base
        self._delta = delta

    def __getitem__(self, key: StateKey) -> str:
        if key in self._delta:
            entry = self._delta[key]
            if entry is None:
                raise KeyError(key)
            return entry[0]
        return self._base[key]

    def __contains__(self, key: object) -> bool:
        if key in self._delta:
            return self._delta[key] is not None  # type: ignore[index]
        return key in self._base

    def __iter__(self) -> Iterator[StateKey]:
        yield from (key for key in self._base if key not in self._delta)
        yield from (key for key, entry in self._delta.items() if entry is not None)

    def __len__(self) -> int:
        return sum(1 for _ in self)


class HeadDraft:
    """A room's head as a batch is about to leave it. Operations of the batch see each other's changes; one that fails
    takes its own back. Attributes as of `RoomHead`."""

    __slots__ = (
        "extremities",
        "extremity_nids",
        "head",
        "hosts_delta",
        "hosts_since",
        "invited_count",
        "is_changed",
        "is_new",
        "is_partial",
        "joined_count",
        "last_position",
        "members_delta",
        "missing",
        "notify_seq",
        "snapshot",
        "state",
        "state_delta",
        "threads_delta",
    )

    def __init__(self, head: RoomHead, *, is_new: bool = False) -> None:
        self.head = head
        self.is_new = is_new
        self.is_changed = is_new
        self.is_partial = head.is_partial
        self.snapshot = head.snapshot
        self.extremities = dict(head.extremities)
        self.extremity_nids: dict[str, int] = {}
        self.missing = dict(head.missing)
        self.state_delta: dict[StateKey, Entry | None] = {}
        self.state = DraftState(head.state, self.state_delta)
        self.members_delta: dict[str, str | None] = {}
        self.hosts_delta: dict[str, int] = {}
        self.hosts_since: dict[str, Position] = {}
        self.joined_count = head.joined_count
        self.invited_count = head.invited_count
        self.notify_seq = head.notify_seq
        self.threads_delta: dict[str, int] = {}
        self.last_position: Position | None = None

    def copy(self) -> Self:
        """A draft that can be changed without this one changing."""
        other = type(self)(self.head, is_new=self.is_new)
        other.is_changed = self.is_changed
        other.is_partial = self.is_partial
        other.snapshot = self.snapshot
        other.extremities = dict(self.extremities)
        other.extremity_nids = dict(self.extremity_nids)
        other.missing = dict(self.missing)
        other.state_delta.update(self.state_delta)
        other.members_delta = dict(self.members_delta)
        other.hosts_delta, other.hosts_since = dict(self.hosts_delta), dict(self.hosts_since)
        other.joined_count, other.invited_count = self.joined_count, self.invited_count
        other.notify_seq, other.threads_delta = self.notify_seq, dict(self.threads_delta)
        other.last_position = self.last_position
        return other

    @property
    def room_nid(self) -> int:
        return self.head.room_nid

    @property
    def room_id(self) -> str:
        return self.head.room_id

    @property
    def room_version(self) -> RoomVersion:
        return self.head.room_version

    @property
    def snapshot_id(self) -> int:
        return self.snapshot.snapshot_id

    def get(self, key: StateKey) -> Entry | None:
        """(event id, event_nid) of the state at `key`."""
        if key in self.state_delta:
            return self.state_delta[key]
        return self.head.get(key)

    def is_joined(self, user_id: str) -> bool:
        """Whether the user is joined after what the batch has done so far."""
        if user_id in self.members_delta:
            return self.members_delta[user_id] == "join"
        return user_id in self.head.joined

    def is_invited(self, user_id: str) -> bool:
        """As `is_joined`, for `invite`."""
        if user_id in self.members_delta:
            return self.members_delta[user_id] == "invite"
        return user_id in self.head.invited

    def host_count(self, server_name: str) -> int:
        """How many users of the server are joined."""
        found = self.hosts_delta.get(server_name)
        return self.head.hosts.get(server_name, 0) if found is None else found

    def hosts(self) -> set[str]:
        """The servers with joined users. Proportional to their number: not for every event."""
        return {server for server in {*self.head.hosts, *self.hosts_delta} if self.host_count(server)}

    def thread_seq(self, root: str) -> int:
        """How many events of the thread notified."""
        found = self.threads_delta.get(root)
        return self.head.thread_seqs.get(root, 0) if found is None else found

    def set_notify_seq(self, notify_seq: int) -> None:
        """The room's count of events that notify has grown to this."""
        self.notify_seq = notify_seq
        self.is_changed = True

    def set_thread_seq(self, root: str, notify_seq: int) -> None:
        """A thread's count of events that notify has grown to this."""
        self.threads_delta[root] = notify_seq
        self.is_changed = True

    def set_state(self, delta: Delta, snapshot: Snapshot) -> None:
        """The current state has changed at these keys and is now that of `snapshot`."""
        self.state_delta.update(delta)
        self.snapshot = snapshot
        self.is_changed = True

    def set_member(self, user_id: str, membership: str | None, position: Position) -> None:
        """A user's membership in the current state since a place in the log; anything but `join` and `invite` counts
        as none."""
        server = user_id.partition(":")[2]
        joined, joins = self.is_joined(user_id), membership == "join"
        self.invited_count += (membership == "invite") - self.is_invited(user_id)
        self.members_delta[user_id] = membership if membership in ("join", "invite") else None
        if joined != joins:
            change = 1 if joins else -1
            self.joined_count += change
            if not self.host_count(server):
                self.hosts_since[server] = position
            self.hosts_delta[server] = self.host_count(server) + change

    def set_partial(self, is_partial: bool) -> None:
        """The members of the room are not all known, or are now."""
        self.is_partial = is_partial
        self.is_changed = True

    def add_users(self, server_name: str, count: int) -> None:
        """So many more users of the server are taken to be joined, of whom nothing else is known (see `RoomHead`)."""
        self.hosts_delta[server_name] = max(0, self.host_count(server_name) + count)
        self.is_changed = True

    def set_extremities(self, gone: set[str], event_id: str, event_nid: int, depth: int) -> None:
        """An event has become a forward extremity in place of those that are gone."""
        for previous in gone:
            self.extremities.pop(previous, None)
        self.extremities[event_id] = depth
        self.extremity_nids[event_id] = event_nid
        self.is_changed = True

    def drop_extremities(self, gone: set[str]) -> None:
        """These are behind other forward extremities, as is known now."""
        for event_id in gone:
            self.extremities.pop(event_id, None)
        self.is_changed = True

    def set_missing(self, event_id: str, depth: int | None) -> None:
        """A cited event is missing, or (None) is no longer."""
        if depth is None:
            self.missing.pop(event_id, None)
        else:
            self.missing[event_id] = depth
        self.is_changed = True

    def write(self, tx: Write) -> None:
        """Put off the rows of the changes, as one set for the whole batch."""
        head, nid = self.head, self.room_nid
        tx.update(
            rooms,
            {"room_nid": nid},
            version=head.version + 1,
            snapshot_id=self.snapshot.snapshot_id,
            joined_count=self.joined_count,
            invited_count=self.invited_count,
            notify_seq=self.notify_seq,
            partial_state=self.is_partial,
        )
        gone, new = head.extremities.keys() - self.extremities.keys(), self.extremities.keys() - head.extremities.keys()
        for event_id in new:
            event_nid, depth = self.extremity_nids[event_id], self.extremities[event_id]
            row = {"event_nid": event_nid, "event_id": event_id, "depth": depth}
            if gone:  # as a rule one event takes the place of one
                tx.update(forward_extremities, {"room_nid": nid, "event_id": gone.pop()}, **row)
            else:
                tx.insert(forward_extremities, room_nid=nid, **row)
        for event_id in gone:
            tx.delete(forward_extremities, room_nid=nid, event_id=event_id)
        for event_id in head.missing.keys() - self.missing.keys():
            tx.delete(backward_extremities, room_nid=nid, event_id=event_id)
        for event_id in self.missing.keys() - head.missing.keys():
            tx.insert(backward_extremities, room_nid=nid, event_id=event_id, depth=self.missing[event_id])
        for root, notify_seq in self.threads_delta.items():
            tx.upsert(room_threads, room_nid=nid, thread_root=root, notify_seq=notify_seq)
        for server, count in self.hosts_delta.items():
            if count and server in self.hosts_since:
                since = self.hosts_since[server]
                tx.upsert(room_hosts, room_nid=nid, server_name=server, joined_count=count, since=since)
            elif count:
                tx.upsert(room_hosts, room_nid=nid, server_name=server, joined_count=count)
            else:
                tx.delete(room_hosts, room_nid=nid, server_name=server)
        changed = {key: None if entry is None else entry[1] for key, entry in self.state_delta.items()}
        storage_state.set_current(tx, nid, changed)

    def install(self) -> None:
        """Put the changes, now committed, into the head."""
        head = self.head
        head.version += 1
        head.is_partial = self.is_partial
        head.snapshot = self.snapshot
        head.extremities, head.missing = self.extremities, self.missing
        head.set_state(self.state_delta)
        for user_id, membership in self.members_delta.items():
            head.set_member(user_id, membership)
        for server, count in self.hosts_delta.items():
            if count:
                head.hosts[server] = count
            else:
                head.hosts.pop(server, None)
        head.notify_seq = self.notify_seq
        head.thread_seqs.update(self.threads_delta)
        if self.last_position is not None:
            head.position = int(self.last_position)


def write_new_room(tx: Write, head: RoomHead, creator: str | None) -> None:
    """Put off the row of a room that was not known before."""
    storage_rooms.add(tx, head.room_nid, head.room_id, head.room_version.identifier, creator)
