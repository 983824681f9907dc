"""The differences between room versions, as one table of named flags.

Code asks for the behaviour (`rules.knocking`), never for the version number, so a new room version is one new row.
Source: https://spec.matrix.org/v1.19/rooms/ and the page of each version.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from types import MappingProxyType
from typing import Final, Literal

EventIdFormat = Literal["opaque", "base64", "urlsafe"]
StateResolution = Literal["v1", "v2", "v2.1"]


class UnsupportedRoomVersion(KeyError):
    """The room version is not one that this server implements. `args[0]` is its identifier."""


@dataclass(frozen=True, slots=True)
class RoomVersion:
    """What one room version does differently from the others. Room version 1 is the row of defaults.

    The comment above a field names the versions it holds for and where the specification says so.
    """

    identifier: str
    # v1–2: the sending server chooses `$opaque:domain`; v3: reference hash in base64; v4+: in URL-safe base64.
    # https://spec.matrix.org/v1.19/rooms/v3/#event-ids https://spec.matrix.org/v1.19/rooms/v4/#event-ids
    event_id_format: EventIdFormat = "opaque"
    # v1; v2–11: the second algorithm; v12: that algorithm with the conflicted subgraph and an empty first state.
    # https://spec.matrix.org/v1.19/rooms/v2/#state-resolution https://spec.matrix.org/v1.19/rooms/v12/#state-resolution
    state_resolution: StateResolution = "v1"
    # v1–2: entries of prev_events and auth_events are [event id, hashes] pairs.
    # https://spec.matrix.org/v1.19/rooms/v3/#event-format
    event_references_carry_hashes: bool = True
    # v1–2: who may redact is an authorisation rule; from v3 it is decided when the redaction is applied.
    # https://spec.matrix.org/v1.19/rooms/v3/#handling-redactions
    redaction_auth_rule: bool = True
    # v5+: a signature counts only if its key was valid at the event's origin_server_ts.
    # https://spec.matrix.org/v1.19/rooms/v5/#signing-key-validity-period
    enforces_key_validity: bool = False
    # v6+: floats and integers beyond 53 bits make an event invalid (so depth stays below 2^53 too).
    # https://spec.matrix.org/v1.19/rooms/v6/#canonical-json
    strict_canonical_json: bool = False
    # v1–5: m.room.aliases has an authorisation rule of its own.
    # https://spec.matrix.org/v1.19/rooms/v6/#authorisation-rules
    special_case_aliases_auth: bool = True
    # v1–5: redaction keeps `aliases` of m.room.aliases. https://spec.matrix.org/v1.19/rooms/v6/#redactions
    redaction_keeps_aliases: bool = True
    # v6+: changes of `notifications` in the power levels are checked like changes of `events`.
    # https://spec.matrix.org/v1.19/rooms/v6/#authorisation-rules
    limits_notification_power_levels: bool = False
    # v7+: membership and join rule `knock`. https://spec.matrix.org/v1.19/rooms/v7/#authorisation-rules
    knocking: bool = False
    # v8+: join rule `restricted`, join_authorised_via_users_server. https://spec.matrix.org/v1.19/rooms/v8/
    restricted_joins: bool = False
    # v8+: redaction keeps `allow` of m.room.join_rules. https://spec.matrix.org/v1.19/rooms/v8/#redactions
    redaction_keeps_join_rule_allow: bool = False
    # v9+: redaction keeps join_authorised_via_users_server of m.room.member.
    # https://spec.matrix.org/v1.19/rooms/v9/#redactions
    redaction_keeps_join_authorisation: bool = False
    # v10+: join rule `knock_restricted`. https://spec.matrix.org/v1.19/rooms/v10/#authorisation-rules
    knock_restricted_joins: bool = False
    # v10+: power levels are integers; before, strings that hold integers are accepted.
    # https://spec.matrix.org/v1.19/rooms/v10/#values-in-mroompower_levels-events-must-be-integers
    integer_power_levels: bool = False
    # v11+: the creator is the sender of m.room.create; `content.creator` is gone.
    # https://spec.matrix.org/v1.19/rooms/v11/#remove-the-creator-property-of-mroomcreate-events
    implicit_room_creator: bool = False
    # v11+: the tidied redaction algorithm. https://spec.matrix.org/v1.19/rooms/v11/#redactions
    updated_redaction_rules: bool = False
    # v11+: a redaction names its target in `content.redacts`, no longer at the top level.
    # https://spec.matrix.org/v1.19/rooms/v11/#moving-the-redacts-property-of-mroomredaction-events-to-a-content-property
    redacts_in_content: bool = False
    # v11+: `type` and `state_key` have at most 255 bytes; before, servers counted code points, and took what has more
    # bytes as rejected. https://spec.matrix.org/v1.19/client-server-api/#size-limits
    limits_keys_in_bytes: bool = False
    # v12: the room id is the create event's id with the sigil `!`; the create event has no room_id.
    # https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules (rules 1.2 and 2)
    room_id_is_create_event_hash: bool = False
    # v12: creators stand above every power level. https://spec.matrix.org/v1.19/rooms/v12/#authorisation-rules
    privileged_creators: bool = False
    # v12: `additional_creators` of m.room.create name further creators (rule 1.4 of the same list).
    additional_creators: bool = False
    # v1–11: auth_events must cite m.room.create; from v12 they must not.
    # https://spec.matrix.org/v1.19/server-server-api/#auth-events-selection
    create_event_in_auth_events: bool = True
    # No version yet: a state key that begins with a user id and `_` belongs to that user, and to those with more power.
    # Proposal 3757, https://github.com/matrix-org/matrix-spec-proposals/pull/3757
    owned_state: bool = False

    @property
    def event_id_in_pdu(self) -> bool:
        """Whether a PDU carries its own `event_id` (room versions 1 and 2)."""
        return self.event_id_format == "opaque"


_V1 = RoomVersion("1")
_V2 = replace(_V1, identifier="2", state_resolution="v2")
_V3 = replace(
    _V2, identifier="3", event_id_format="base64", event_references_carry_hashes=False, redaction_auth_rule=False
)
_V4 = replace(_V3, identifier="4", event_id_format="urlsafe")
_V5 = replace(_V4, identifier="5", enforces_key_validity=True)
_V6 = replace(
    _V5,
    identifier="6",
    strict_canonical_json=True,
    special_case_aliases_auth=False,
    redaction_keeps_aliases=False,
    limits_notification_power_levels=True,
)
_V7 = replace(_V6, identifier="7", knocking=True)
_V8 = replace(_V7, identifier="8", restricted_joins=True, redaction_keeps_join_rule_allow=True)
_V9 = replace(_V8, identifier="9", redaction_keeps_join_authorisation=True)
_V10 = replace(_V9, identifier="10", knock_restricted_joins=True, integer_power_levels=True)
_V11 = replace(
    _V10,
    identifier="11",
    implicit_room_creator=True,
    updated_redaction_rules=True,
    redacts_in_content=True,
    limits_keys_in_bytes=True,
)
_V12 = replace(
    _V11,
    identifier="12",
    state_resolution="v2.1",
    room_id_is_create_event_hash=True,
    privileged_creators=True,
    additional_creators=True,
    create_event_in_auth_events=False,
)

ROOM_VERSIONS: Final[Mapping[str, RoomVersion]] = MappingProxyType(
    {v.identifier: v for v in (_V1, _V2, _V3, _V4, _V5, _V6, _V7, _V8, _V9, _V10, _V11, _V12)}
)
"""Every room version of the specification, by identifier. All are stable."""

EXPERIMENTAL_VERSIONS: Final[Mapping[str, RoomVersion]] = MappingProxyType(
    {
        f"org.matrix.msc3757.{v.identifier}": replace(
            v, identifier=f"org.matrix.msc3757.{v.identifier}", owned_state=True
        )
        for v in (_V10, _V11)
    }
)
"""Room versions of proposals, for those who ask for one by its name."""

KNOWN_VERSIONS: Final[Mapping[str, RoomVersion]] = MappingProxyType({**ROOM_VERSIONS, **EXPERIMENTAL_VERSIONS})
"""Every room version that rooms here may have."""

DEFAULT_ROOM_VERSION: Final = "12"


def require_room_version(identifier: str) -> RoomVersion:
    """The row of `identifier`; raises `UnsupportedRoomVersion` where there is none."""
    version = KNOWN_VERSIONS.get(identifier)
    if version is None:
        raise UnsupportedRoomVersion(identifier)
    return version
