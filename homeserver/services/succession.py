"""Settings follow their user into the room that replaces another: push rules, tags, whether it is a direct chat.

https://spec.matrix.org/v1.19/client-server-api/#room-upgrades
"""

from collections.abc import Mapping
from typing import Any, Final

from homeserver.errors import InvalidParam, NotFound
from homeserver.runtime.tasks import Tasks
from homeserver.services.account_data import ACCOUNT, AccountData
from homeserver.services.push_rules import PushRules
from storage import memberships
from storage.database import Database

_DIRECT: Final = "m.direct"
_CONTENTS: Final = ("actions", "conditions", "pattern")


class SettingsFollow:
    """`Succession`: copies in the background what the user has set for the old room and not yet for the new one."""

    def __init__(self, database: Database, account_data: AccountData, push_rules: PushRules, tasks: Tasks) -> None:
        self._database = database
        self._account_data = account_data
        self._push_rules = push_rules
        self._tasks = tasks

    def joined(self, user_id: str, predecessor: str, room_id: str) -> None:
        """The user has come into a room that says that it replaces `predecessor`."""
        self._tasks.start("settings follow into a new room", self.copy(user_id, predecessor, room_id))

    async def copy(self, user_id: str, old: str, new: str) -> None:
        """Copy what there is, if the user is in the old room: any room can say that it replaces another."""
        async with self._database.read() as tx:
            member = await memberships.membership_of(tx, old, user_id)
        if member is None or member.membership != "join":
            return
        await self._copy_push_rules(user_id, old, new)
        await self._copy_tags(user_id, old, new)
        await self._copy_direct(user_id, old, new)

    async def _copy_push_rules(self, user_id: str, old: str, new: str) -> None:
        ruleset = await self._push_rules.ruleset(user_id)
        for kind, rules in ruleset.items():
            existing = {rule["rule_id"] for rule in rules}
            for rule in reversed(rules):
                successor = _for_room(kind, rule, old, new)
                if successor is None or successor["rule_id"] in existing:
                    continue
                rule_id, contents = successor["rule_id"], {name: successor[name] for name in _CONTENTS if name in rule}
                try:
                    await self._push_rules.put(user_id, kind, rule_id, contents, None, None)
                    if rule.get("enabled") is False:
                        await self._push_rules.set_enabled(user_id, kind, rule_id, False)
                except (InvalidParam, NotFound):
                    # An id that has become too long, say.
                    continue

    async def _copy_tags(self, user_id: str, old: str, new: str) -> None:
        present = await self._account_data.tags(user_id, new)
        for tag, content in (await self._account_data.tags(user_id, old)).items():
            if tag not in present:
                await self._account_data.put_tag(user_id, new, tag, content)

    async def _copy_direct(self, user_id: str, old: str, new: str) -> None:
        async with self._account_data.lock(user_id):
            try:
                content = await self._account_data.get(user_id, ACCOUNT, _DIRECT)
            except NotFound:
                return
            changed = {
                other: [*rooms, new] if isinstance(rooms, list) and old in rooms and new not in rooms else rooms
                for other, rooms in content.items()
            }
            if changed != content:
                await self._account_data.put(user_id, ACCOUNT, _DIRECT, changed)


def _for_room(kind: str, rule: Mapping[str, Any], old: str, new: str) -> dict[str, Any] | None:
    """The same rule for the new room, if it is one for the old room."""
    if rule.get("default"):
        return None
    if kind == "room":
        return {**rule, "rule_id": new} if rule["rule_id"] == old else None
    conditions = rule.get("conditions")
    if not isinstance(conditions, list):
        return None
    changed = [{**condition, "pattern": new} if _names(condition, old) else condition for condition in conditions]
    if changed == conditions:
        return None
    rule_id = rule["rule_id"]
    return {
        **rule,
        "conditions": changed,
        "rule_id": rule_id.replace(old, new) if old in rule_id else f"{rule_id}_{new}",
    }


def _names(condition: Any, room_id: str) -> bool:
    return (
        isinstance(condition, dict)
        and condition.get("kind") == "event_match"
        and condition.get("key") == "room_id"
        and condition.get("pattern") == room_id
    )
