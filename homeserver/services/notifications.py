"""Looking back at what one was notified of.

https://spec.matrix.org/v1.19/client-server-api/#get_matrixclientv3notifications
"""

from typing import Any, Final

import orjson

from homeserver.core.push_rules import Verdict
from homeserver.errors import Forbidden, InvalidParam
from homeserver.services.client_events import serialise
from homeserver.services.events import Events, StoredEvent
from homeserver.services.history_access import HistoryAccess
from homeserver.services.push_actions import PushActions
from storage import notifications as storage
from storage import read_marks
from storage.database import Database
from storage.read_marks import MAIN, UNTHREADED

MAX_LIMIT: Final = 100
# How many events are looked at for one page where few of them notify.
_LOOKED_AT: Final = 1_000
_AT_ONCE: Final = 200
_NEWEST: Final = 2**62
Marks = dict[tuple[int, str], int]


class Notifications:
    """Asks the push rules again: nothing is kept of single notifications."""

    def __init__(
        self, database: Database, events: Events, access: HistoryAccess, push_actions: PushActions
    ) -> None:
        self._database = database
        self._events = events
        self._access = access
        self._push_actions = push_actions

    async def page(self, user_id: str, start: str | None, limit: int, *, only_highlights: bool) -> dict[str, Any]:
        """The newest notifications before `start`, the `next_token` of an earlier page. Raises InvalidParam."""
        limit = max(1, min(limit, MAX_LIMIT))
        here = _position(start)
        async with self._database.read() as tx:
            marks = {(mark.room_nid, mark.thread_id): mark.position for mark in await read_marks.marks_of(tx, user_id)}
        shown: list[dict[str, Any]] = []
        left, is_over = _LOOKED_AT, False
        while len(shown) < limit and left > 0 and not is_over:
            async with self._database.read() as tx:
                rows = await storage.candidates(
                    tx, user_id, here, _AT_ONCE, has_own_rules=self._push_actions.has_own_rules(user_id)
                )
            left -= _AT_ONCE
            is_over = len(rows) < _AT_ONCE
            verdicts = await self.notified(user_id, [event_id for _, event_id in rows])
            for position, event_id in rows:
                here = position
                found = verdicts.get(event_id)
                if found is not None and (found[1].highlight or not only_highlights):
                    shown.append(_entry(*found, marks))
                    if len(shown) == limit:
                        is_over = is_over and position == rows[-1][0]
                        break
        page: dict[str, Any] = {"notifications": shown}
        if not is_over:
            page["next_token"] = str(here)
        return page

    async def notified(self, user_id: str, event_ids: list[str]) -> dict[str, tuple[StoredEvent, Verdict]]:
        """Those of the events that the user may see and that notify them."""
        by_room: dict[str, list[StoredEvent]] = {}
        for stored in (await self._events.get_many(event_ids)).values():
            by_room.setdefault(stored.event.room_id, []).append(stored)
        found: dict[str, tuple[StoredEvent, Verdict]] = {}
        for room_id, several in by_room.items():
            try:
                access = await self._access.to_room(user_id, room_id)
            except Forbidden:
                continue
            for stored, _ in await self._access.seen(user_id, access, several):
                verdict = (await self._push_actions.verdicts(stored.shown, access.head, (user_id,)))[user_id]
                if verdict.notify:
                    found[stored.event_id] = (stored, verdict)
        return found


def _entry(stored: StoredEvent, verdict: Verdict, marks: Marks) -> dict[str, Any]:
    thread = stored.thread_root or MAIN
    read_upto = max(marks.get((stored.room_nid, UNTHREADED), 0), marks.get((stored.room_nid, thread), 0))
    return {
        "actions": verdict.actions,
        "event": orjson.Fragment(serialise(stored, with_room_id=False)),
        "read": (stored.position or 0) <= read_upto,
        "room_id": stored.event.room_id,
        "ts": stored.event.origin_server_ts,
    }


def _position(token: str | None) -> int:
    if not token:
        return _NEWEST
    if not (token.isascii() and token.isdigit() and len(token) <= 18):
        raise InvalidParam("`from` is no token of an earlier page")
    return int(token)
