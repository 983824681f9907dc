"""Hypothesis strategies for PDUs of any room version."""

from typing import Any

from hypothesis import strategies as st

from homeserver.core.room_versions import RoomVersion
from tests.core.sample_events import ALL_VERSIONS, a_pdu

versions = st.sampled_from(ALL_VERSIONS)
_TYPES = [
    "m.room.member", "m.room.create", "m.room.join_rules", "m.room.power_levels", "m.room.aliases",
    "m.room.history_visibility", "m.room.redaction", "m.room.message", "org.example.custom",
]  # fmt: skip
_CONTENT_KEYS = [
    "membership", "join_authorised_via_users_server", "third_party_invite", "creator", "join_rule", "allow", "ban",
    "events", "invite", "users", "aliases", "history_visibility", "redacts", "body",
]  # fmt: skip
_TOP_LEVEL_KEYS = ["unsigned", "prev_state", "origin", "membership", "redacts", "age_ts", "org.example.junk"]

_leaves = (
    st.none() | st.booleans() | st.integers(-100, 100) | st.text(st.characters(exclude_categories=["Cs"]), max_size=5)
)
values = st.recursive(
    _leaves,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.sampled_from(["signed", "a"]), inner),
    max_leaves=5,
)
contents = st.dictionaries(st.sampled_from(_CONTENT_KEYS) | st.text("ab", max_size=2), values, max_size=5)


@st.composite
def pdus(draw: st.DrawFn, version: RoomVersion) -> dict[str, Any]:
    changes: dict[str, Any] = draw(st.dictionaries(st.sampled_from(_TOP_LEVEL_KEYS), values, max_size=4))
    changes |= {"type": draw(st.sampled_from(_TYPES)), "content": draw(contents), "depth": draw(st.integers(0, 100))}
    if draw(st.booleans()):
        changes["state_key"] = draw(st.sampled_from(["", "@bob:example.org"]))
    return a_pdu(version, **changes)


versions_and_pdus = versions.flatmap(lambda version: st.tuples(st.just(version), pdus(version)))
