"""The rules for memberships (rule 5 of room version 12): joining, inviting, leaving, kicking, banning, knocking.

https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules. Numbers in comments are those of room version 12.
"""

from homeserver.core.auth_context import AuthContext, reject
from homeserver.core.auth_third_party_invite import check_third_party_invite
from homeserver.core.power_levels import creator_of


def check_member(context: AuthContext) -> None:
    """Rule 5. Raises `AuthError`."""
    event, numbers = context.event, context.numbers
    # Rule 5.1
    if event.state_key is None:
        reject(f"{numbers.member}.1", "an m.room.member event is a state event")
    if "membership" not in event.content:
        reject(f"{numbers.member}.1", "the content has no membership")
    # Rule 5.2 needs the signatures: `signatures.required_signers` names the server that must have signed.
    match event.membership:
        case "join":
            _check_join(context, event.state_key)
        case "invite":
            _check_invite(context, event.state_key)
        case "leave":
            _check_leave(context, event.state_key)
        case "ban":
            _check_ban(context, event.state_key)
        case "knock" if context.version.knocking:
            _check_knock(context, event.state_key)
        case _:
            # Rule 5.8
            reject(numbers.unknown_membership, "the membership is not known")


def _check_join(context: AuthContext, target: str) -> None:
    event, rule = context.event, context.numbers.join
    # Rule 5.3.1
    if event.prev_events == (context.create.event_id,) and target == creator_of(context.create):
        return
    # Rule 5.3.2
    if event.sender != target:
        reject(f"{rule}.2", "nobody can join another user")
    membership = context.membership(target)
    # Rule 5.3.3
    if membership == "ban":
        reject(f"{rule}.3", "the sender is banned from the room")
    join_rule = context.join_rule()
    if _is_restricted(context, join_rule):
        _check_restricted_join(context, membership)
    elif join_rule == "invite" or (join_rule == "knock" and context.version.knocking):
        # Rule 5.3.4
        if membership not in ("invite", "join"):
            reject(context.numbers.join_otherwise, "the sender is not invited to the room")
    # Rule 5.3.6
    elif join_rule != "public":
        # Rule 5.3.7
        reject(context.numbers.join_otherwise, "the join rule of the room lets nobody join")


def _is_restricted(context: AuthContext, join_rule: object) -> bool:
    return (join_rule == "restricted" and context.version.restricted_joins) or (
        join_rule == "knock_restricted" and context.version.knock_restricted_joins
    )


def _check_restricted_join(context: AuthContext, membership: str) -> None:
    rule = context.numbers.restricted_join
    # Rule 5.3.5.1
    if membership in ("join", "invite"):
        return
    # Rule 5.3.5.2
    authorised_via = context.event.content.get("join_authorised_via_users_server")
    if not isinstance(authorised_via, str):
        reject(f"{rule}.2", "no user of the room has authorised the join")
    if context.membership(authorised_via) != "join":
        reject(f"{rule}.2", f"{authorised_via}, who authorised the join, is not joined to the room")
    if context.power_levels.user(authorised_via) < context.power_levels.invite:
        reject(f"{rule}.2", f"{authorised_via}, who authorised the join, may not invite")
    # Rule 5.3.5.3


def _check_invite(context: AuthContext, target: str) -> None:
    event, rule = context.event, context.numbers.invite
    target_membership = context.membership(target)
    # Rule 5.4.1
    if "third_party_invite" in event.content:
        check_third_party_invite(context, target, target_membership)
        return
    # Rule 5.4.2
    if context.membership(event.sender) != "join":
        reject(f"{rule}.2", "the sender is not joined to the room")
    # Rule 5.4.3
    if target_membership == "join":
        reject(f"{rule}.3", f"{target} is already in the room")
    if target_membership == "ban":
        reject(f"{rule}.3", f"{target} is banned from the room")
    # Rule 5.4.4
    if context.sender_level() < context.power_levels.invite:
        # Rule 5.4.5
        reject(f"{rule}.5", "the sender's power level is too low to invite")


def _check_leave(context: AuthContext, target: str) -> None:
    event, rule = context.event, context.numbers.leave
    membership = context.membership(event.sender)
    # Rule 5.5.1
    if event.sender == target:
        may_leave = ("invite", "join", "knock") if context.version.knocking else ("invite", "join")
        if membership not in may_leave:
            reject(f"{rule}.1", "the sender is not in the room")
        return
    # Rule 5.5.2
    if membership != "join":
        reject(f"{rule}.2", "the sender is not joined to the room")
    levels = context.power_levels
    sender_level = context.sender_level()
    # Rule 5.5.3
    if context.membership(target) == "ban" and sender_level < levels.ban:
        reject(f"{rule}.3", "the sender's power level is too low to unban")
    # Rule 5.5.4
    if sender_level < levels.kick or levels.user(target) >= sender_level:
        # Rule 5.5.5
        reject(f"{rule}.5", f"the sender's power level is too low to kick {target}")


def _check_ban(context: AuthContext, target: str) -> None:
    event, rule = context.event, context.numbers.ban
    # Rule 5.6.1
    if context.membership(event.sender) != "join":
        reject(f"{rule}.1", "the sender is not joined to the room")
    # Rule 5.6.2
    sender_level = context.sender_level()
    if sender_level < context.power_levels.ban or context.power_levels.user(target) >= sender_level:
        # Rule 5.6.3
        reject(f"{rule}.3", f"the sender's power level is too low to ban {target}")


def _check_knock(context: AuthContext, target: str) -> None:
    event, rule = context.event, context.numbers.knock
    join_rule = context.join_rule()
    # Rule 5.7.1
    if join_rule != "knock" and not (join_rule == "knock_restricted" and context.version.knock_restricted_joins):
        reject(f"{rule}.1", "the join rule of the room does not let anyone knock")
    # Rule 5.7.2
    if event.sender != target:
        reject(f"{rule}.2", "nobody can knock for another user")
    # Rule 5.7.3
    membership = context.membership(event.sender)
    if membership in ("ban", "invite", "join"):
        # Rule 5.7.4
        reject(f"{rule}.4", f"the sender's membership is already {membership}")
