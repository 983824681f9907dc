"""What a local user may not send as a relation to another event."""

from homeserver.core.event_builder import EventDraft
from homeserver.errors import DuplicateAnnotation, Unknown
from homeserver.services.events import Events
from storage import relations
from storage.database import Write

_ANNOTATION = "m.annotation"


async def check_relation(tx: Write, events: Events, draft: EventDraft) -> None:
    """Raises `DuplicateAnnotation` for a second equal reaction, `Unknown` for a thread that would begin with an event
    which itself relates to another.

    https://spec.matrix.org/v1.19/client-server-api/#avoiding-duplicate-annotations,
    #validation-of-mthread-relationships
    """
    relates_to = draft.content.get("m.relates_to")
    if not isinstance(relates_to, dict):
        return
    parent, kind, key = relates_to.get("event_id"), relates_to.get("rel_type"), relates_to.get("key")
    if not isinstance(parent, str) or "\0" in parent:
        return
    if kind == relations.THREAD:
        root = await events.get(parent, tx)
        above = None if root is None else root.shown.content.get("m.relates_to")
        if isinstance(above, dict) and above.get("rel_type") is not None:
            raise Unknown("A thread cannot begin with an event that relates to another one")
    elif (
        kind == _ANNOTATION
        and isinstance(key, str)
        and "\0" not in key
        and await relations.has_annotation(tx, parent, draft.type, draft.sender, key)
    ):
        raise DuplicateAnnotation("You have annotated the event like this already")
