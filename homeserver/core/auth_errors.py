"""What core raises when an event is not authorised, or when it was not given enough events to decide."""

from collections.abc import Iterable


class AuthError(Exception):
    """An event is not allowed by the authorization rules of its room version.

    `rule` is the number of the rule in the room version's own list, such as "4.3.1"; `reason` is a sentence that
    may be shown to the sender.
    """

    def __init__(self, rule: str, reason: str) -> None:
        super().__init__(rule, reason)
        self.rule = rule
        self.reason = reason

    def __str__(self) -> str:
        return f"{self.reason} (rule {self.rule})"


class MissingEvents(Exception):
    """Deciding needs events that were not handed in: load `event_ids` and call again with them added."""

    def __init__(self, event_ids: Iterable[str]) -> None:
        self.event_ids = frozenset(event_ids)
        super().__init__(self.event_ids)

    def __str__(self) -> str:
        return f"{len(self.event_ids)} events are missing: {', '.join(sorted(self.event_ids)[:5])}"
