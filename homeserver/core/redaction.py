"""The redaction algorithm: what is left of an event once it is redacted.

Hashes and signatures of events are made over the redacted form, so this runs for every event sent and received.
Source: the section "Redactions" of each room version, https://spec.matrix.org/v1.19/rooms/.
"""

from typing import Any, Final

from homeserver.core.room_versions import KNOWN_VERSIONS, RoomVersion

_KEPT: Final = frozenset(
    {
        "auth_events",
        "content",
        "depth",
        "event_id",
        "hashes",
        "origin_server_ts",
        "prev_events",
        "room_id",
        "sender",
        "signatures",
        "state_key",
        "type",
    }
)
_KEPT_BEFORE_V11: Final = _KEPT | {"membership", "origin", "prev_state"}
_POWER_LEVELS: Final = frozenset(
    {"ban", "events", "events_default", "kick", "redact", "state_default", "users", "users_default"}
)


def redact(pdu: dict[str, Any], version: RoomVersion) -> dict[str, Any]:
    """A redacted copy of `pdu`, which is not changed. Values that are kept are shared with it."""
    kept = _KEPT if version.updated_redaction_rules else _KEPT_BEFORE_V11
    redacted = {key: value for key, value in pdu.items() if key in kept}
    redacted["content"] = _redact_content(pdu["type"], pdu["content"], version)
    return redacted


def _redact_content(event_type: str, content: dict[str, Any], version: RoomVersion) -> dict[str, Any]:
    if event_type == "m.room.create" and version.updated_redaction_rules:
        return content
    keys = _KEPT_CONTENT[version.identifier].get(event_type)
    if keys is None:
        return {}
    kept = {key: value for key, value in content.items() if key in keys}
    if event_type == "m.room.member" and version.updated_redaction_rules:
        _keep_signed_invite(content, kept)
    return kept


def _keep_signed_invite(content: dict[str, Any], kept: dict[str, Any]) -> None:
    """From room version 11 on `third_party_invite` survives with nothing but its `signed`."""
    invite = content.get("third_party_invite")
    if isinstance(invite, dict) and "signed" in invite:
        kept["third_party_invite"] = {"signed": invite["signed"]}


def kept_content_keys(version: RoomVersion) -> dict[str, frozenset[str]]:
    """Which keys of `content` survive redaction, by event type. Types that are missing keep none.

    Two cases are not a plain list of keys and are not in the result: from room version 11 on m.room.create keeps all
    of its content, and m.room.member keeps `third_party_invite.signed`.
    """
    member = {"membership"}
    if version.redaction_keeps_join_authorisation:
        member.add("join_authorised_via_users_server")
    join_rules = {"join_rule"}
    if version.redaction_keeps_join_rule_allow:
        join_rules.add("allow")
    keys = {
        "m.room.member": frozenset(member),
        "m.room.create": frozenset({"creator"}),
        "m.room.join_rules": frozenset(join_rules),
        "m.room.power_levels": _POWER_LEVELS,
        "m.room.history_visibility": frozenset({"history_visibility"}),
    }
    if version.redaction_keeps_aliases:
        keys["m.room.aliases"] = frozenset({"aliases"})
    if version.updated_redaction_rules:
        keys["m.room.power_levels"] = _POWER_LEVELS | {"invite"}
        keys["m.room.redaction"] = frozenset({"redacts"})
    return keys


_KEPT_CONTENT: Final = {identifier: kept_content_keys(version) for identifier, version in KNOWN_VERSIONS.items()}
