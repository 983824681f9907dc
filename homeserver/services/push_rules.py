"""A user's push rules: read, changed, and kept as account data of type m.push_rules.

https://spec.matrix.org/v1.19/client-server-api/#push-rules-api
"""

from collections.abc import Callable, Mapping
from typing import Any

import orjson

from homeserver.core import push_rule_editing as editing
from homeserver.core.push_rule_editing import (
    InvalidPushRule,
    MutableRuleset,
    UnknownPushRule,
    UnknownRelativeRule,
)
from homeserver.core.push_rules import default_ruleset
from homeserver.errors import InvalidParam, NotFound
from homeserver.services.account_data import ACCOUNT, PUSH_RULES, AccountData


class PushRules:
    """Reads and edits rulesets. A user who never changed anything has no row."""

    def __init__(self, account_data: AccountData) -> None:
        self._account_data = account_data

    async def ruleset(self, user_id: str) -> MutableRuleset:
        """All rules of the user by kind, as clients see them under `global`."""
        row = (await self._account_data.of_user(user_id)).rows.get((ACCOUNT, PUSH_RULES))
        legacy, threads = self._account_data.legacy_mentions, self._account_data.thread_subscriptions
        if row is None:
            return default_ruleset(user_id, legacy_mentions=legacy, thread_subscriptions=threads)
        return parse_ruleset(row.content, user_id, legacy_mentions=legacy, thread_subscriptions=threads)

    async def rule(self, user_id: str, kind: str, rule_id: str) -> Mapping[str, Any]:
        """One rule; raises NotFound."""
        try:
            return editing.get_rule(await self.ruleset(user_id), kind, rule_id)
        except UnknownPushRule as error:
            raise NotFound(str(error)) from None

    async def put(
        self, user_id: str, kind: str, rule_id: str, rule: Mapping[str, Any], before: str | None, after: str | None
    ) -> None:
        """Create or change a rule of the user's own, placed next to another one where that is wanted."""
        await self._edit(user_id, lambda rules: editing.add_rule(rules, kind, rule_id, rule, before, after))

    async def delete(self, user_id: str, kind: str, rule_id: str) -> None:
        """Remove a rule of the user's own."""
        await self._edit(user_id, lambda rules: editing.delete_rule(rules, kind, rule_id))

    async def set_enabled(self, user_id: str, kind: str, rule_id: str, enabled: bool) -> None:
        """Enable or disable any rule."""
        await self._edit(user_id, lambda rules: editing.set_enabled(rules, kind, rule_id, enabled))

    async def set_actions(self, user_id: str, kind: str, rule_id: str, actions: object) -> None:
        """Give any rule other actions."""
        await self._edit(user_id, lambda rules: editing.set_actions(rules, kind, rule_id, actions))

    async def _edit(self, user_id: str, change: Callable[[MutableRuleset], MutableRuleset]) -> None:
        async with self._account_data.lock(user_id):
            rules = await self.ruleset(user_id)
            try:
                changed = change(rules)
            except UnknownPushRule as error:
                raise NotFound(str(error)) from None
            except UnknownRelativeRule as error:
                raise InvalidParam(str(error)) from None
            except InvalidPushRule as error:
                raise InvalidParam(str(error)) from None
            content = orjson.dumps({"global": changed})
            await self._account_data.write(user_id, ACCOUNT, PUSH_RULES, content)


def parse_ruleset(
    content: bytes, user_id: str, *, legacy_mentions: bool = False, thread_subscriptions: bool = False
) -> MutableRuleset:
    """The ruleset in the account data, brought to this version's predefined rules."""
    stored = orjson.loads(content).get("global")
    own = stored if isinstance(stored, dict) else {}
    return editing.with_predefined(
        own, user_id, legacy_mentions=legacy_mentions, thread_subscriptions=thread_subscriptions
    )
