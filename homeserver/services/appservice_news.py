"""What an application service is to be told of beside events, noted as it happens and looked up when it is sent.

https://spec.matrix.org/v1.19/application-service-api/#pushing-ephemeral-data and proposals 3202 and 4203
"""

from collections.abc import Sequence
from dataclasses import dataclass, field

from homeserver.runtime.bus import Hint
from homeserver.services.appservice_interest import Interest
from homeserver.services.appservices import Appservice
from homeserver.services.events import StoredEvent
from homeserver.services.one_time_key_counts import device_of_hint
from storage import room_aliases
from storage.streams import Stream


@dataclass(slots=True)
class News:
    """Names only. Places in the log say where to begin to look; `is_whole`: hints may have been missed, so that all
    there is after the queue's own place counts."""

    receipts: dict[str, int] = field(default_factory=dict)  # room id → the first change's place
    to_device: dict[str, int] = field(default_factory=dict)  # user id → the first message's place
    typing: set[str] = field(default_factory=set)  # room ids
    presence: set[str] = field(default_factory=set)  # user ids
    device_lists: set[str] = field(default_factory=set)  # user ids
    counts: set[tuple[str, str]] = field(default_factory=set)  # (user id, device id)
    is_whole: bool = False

    def __bool__(self) -> bool:
        return self.is_whole or any(
            (self.receipts, self.to_device, self.typing, self.presence, self.device_lists, self.counts)
        )


class NewsCollector:
    """Notes what may concern one application service. Whether it does is decided when it is looked up."""

    def __init__(self, appservice: Appservice, interest: Interest) -> None:
        self._appservice = appservice
        self._interest = interest
        self.waiting = News()

    def take(self) -> News:
        """What was noted; from now on it is noted anew."""
        taken, self.waiting = self.waiting, News()
        return taken

    def put_back(self, left: News) -> None:
        """What a transaction had no room for."""
        for user_id, first in left.to_device.items():
            _earliest(self.waiting.to_device, user_id, first)

    def note(self, hints: Sequence[Hint]) -> bool:
        """Note what hints say; whether there is something to look at, events included."""
        found = False
        for hint in hints:
            if hint.stream == Stream.EVENTS:
                found = found or not self._ignores(hint)
            elif hint.stream == Stream.CACHES and hint.keys == (room_aliases.CHANGED,):
                self._interest.aliases_changed()
            elif hint.keys:
                found = self._note(hint) or found
        return found

    def note_typing(self, room_id: str) -> bool:
        """Somebody began or stopped to type in a room."""
        if self._appservice.wants_ephemeral:
            self.waiting.typing.add(room_id)
        return self._appservice.wants_ephemeral

    def _ignores(self, hint: Hint) -> bool:
        stored = hint.payload
        if not isinstance(stored, StoredEvent):
            return False
        room_id, *members = hint.keys
        return self._interest.ignores(room_id, (stored.event.sender, *members))

    def _note(self, hint: Hint) -> bool:
        appservice, waiting, stream = self._appservice, self.waiting, hint.stream
        if stream == Stream.RECEIPTS and appservice.wants_ephemeral:
            _earliest(waiting.receipts, hint.keys[0], hint.position)
            return True
        if stream == Stream.PRESENCE and appservice.wants_ephemeral:
            waiting.presence.update(hint.keys)
            return True
        if stream == Stream.TO_DEVICE and (appservice.wants_ephemeral or appservice.receives_device_news):
            own = [user_id for user_id in hint.keys if appservice.may_act_as(user_id)]
            for user_id in own:
                _earliest(waiting.to_device, user_id, hint.position)
            return bool(own)
        if not appservice.receives_device_news:
            return False
        if stream == Stream.DEVICE_LISTS:
            waiting.device_lists.update(hint.keys)
            return True
        device = device_of_hint(hint)
        if device is not None and appservice.may_act_as(device[0]):
            waiting.counts.add(device)
            return True
        return False


def _earliest(places: dict[str, int], name: str, position: int) -> None:
    places[name] = min(position, places.get(name, position))
