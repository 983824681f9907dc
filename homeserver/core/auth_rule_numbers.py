"""Where each authorization rule stands in the numbered list of each room version.

The rules hardly change between room versions but their numbers do, and an error is only useful to an operator with
the number that the specification of *that* room version prints. https://spec.matrix.org/v1.19/rooms/
"""

from dataclasses import dataclass
from typing import Final

from homeserver.core.room_versions import KNOWN_VERSIONS, RoomVersion


@dataclass(frozen=True, slots=True)
class RuleNumbers:
    """The numbers of the top-level rules, and of the parts of them that move, in one room version."""

    create: str
    room: str
    auth_events: str
    federate: str
    aliases: str
    member: str
    join: str
    invite: str
    leave: str
    ban: str
    knock: str
    unknown_membership: str
    restricted_join: str
    join_otherwise: str
    sender_joined: str
    third_party_invite: str
    required_level: str
    state_key: str
    power_levels: str
    power_levels_integers: str
    power_levels_users: str
    power_levels_creators: str
    power_levels_properties: str
    power_levels_events_old: str
    power_levels_events_new: str
    power_levels_users_old: str
    power_levels_users_new: str
    redaction: str


def numbers_of(version: RoomVersion) -> RuleNumbers:
    """The numbers of one room version's rules."""
    return _NUMBERS[version.identifier]


def _number(version: RoomVersion) -> RuleNumbers:
    """The numbers follow from which rules the version has."""
    room_rule = version.room_id_is_create_event_hash
    auth_events = 3 if room_rule else 2
    member = auth_events + (3 if version.special_case_aliases_auth else 2)
    first_membership = 3 if version.restricted_joins else 2
    power_levels = member + 5
    users = 3 if version.integer_power_levels else 1
    properties = users + (3 if version.privileged_creators else 2)
    knock = f"{member}.{first_membership + 4}"
    join = f"{member}.{first_membership}"
    return RuleNumbers(
        create="1",
        room="2",
        auth_events=str(auth_events),
        federate=str(auth_events + 1),
        aliases=str(auth_events + 2),
        member=str(member),
        join=join,
        invite=f"{member}.{first_membership + 1}",
        leave=f"{member}.{first_membership + 2}",
        ban=f"{member}.{first_membership + 3}",
        knock=knock,
        unknown_membership=f"{member}.{first_membership + (5 if version.knocking else 4)}",
        restricted_join=f"{join}.5",
        join_otherwise=f"{join}.{7 if version.restricted_joins else 6}",
        sender_joined=str(member + 1),
        third_party_invite=str(member + 2),
        required_level=str(member + 3),
        state_key=str(member + 4),
        power_levels=str(power_levels),
        power_levels_integers=f"{power_levels}.1",
        power_levels_users=f"{power_levels}.{users}",
        power_levels_creators=f"{power_levels}.{users + 1}",
        power_levels_properties=f"{power_levels}.{properties}",
        power_levels_events_old=f"{power_levels}.{properties + 1}",
        power_levels_events_new=f"{power_levels}.{properties + 2}",
        power_levels_users_old=f"{power_levels}.{properties + 3}",
        power_levels_users_new=f"{power_levels}.{properties + 4}",
        redaction=str(power_levels + 1),
    )


_NUMBERS: Final = {identifier: _number(version) for identifier, version in KNOWN_VERSIONS.items()}
