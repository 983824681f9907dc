"""The push rules API. client-server-api §Push Rules: API"""

from typing import Any

from homeserver.services.push_rules import PushRules
from homeserver.web.request import Request


class PushRulesHandlers:
    """A user's push rules, all of them `global`."""

    def __init__(self, push_rules: PushRules) -> None:
        self._push_rules = push_rules

    async def get_all(self, request: Request) -> dict[str, Any]:
        """Every rule."""
        return {"global": await self._push_rules.ruleset(request.user.user_id)}

    async def get_global(self, request: Request) -> dict[str, Any]:
        """Every rule, without the scope around."""
        return await self._push_rules.ruleset(request.user.user_id)

    async def get(self, request: Request) -> dict[str, Any]:
        """One rule."""
        return dict(await self._push_rules.rule(request.user.user_id, *_rule(request)))

    async def put(self, request: Request) -> dict[str, Any]:
        """Create or change a rule."""
        query = request.query
        kind, rule_id = _rule(request)
        await self._push_rules.put(
            request.user.user_id, kind, rule_id, request.body, query.str_("before"), query.str_("after")
        )
        return {}

    async def delete(self, request: Request) -> dict[str, Any]:
        """Remove a rule."""
        await self._push_rules.delete(request.user.user_id, *_rule(request))
        return {}

    async def get_enabled(self, request: Request) -> dict[str, Any]:
        """Whether a rule is enabled."""
        rule = await self._push_rules.rule(request.user.user_id, *_rule(request))
        return {"enabled": rule["enabled"]}

    async def set_enabled(self, request: Request) -> dict[str, Any]:
        """Enable or disable a rule."""
        await self._push_rules.set_enabled(request.user.user_id, *_rule(request), request.body["enabled"])
        return {}

    async def get_actions(self, request: Request) -> dict[str, Any]:
        """What a rule does."""
        rule = await self._push_rules.rule(request.user.user_id, *_rule(request))
        return {"actions": rule["actions"]}

    async def set_actions(self, request: Request) -> dict[str, Any]:
        """Change what a rule does."""
        await self._push_rules.set_actions(request.user.user_id, *_rule(request), request.body["actions"])
        return {}


def _rule(request: Request) -> tuple[str, str]:
    return request.path["kind"], request.path["ruleId"]
