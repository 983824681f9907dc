"""Looking at an event once for everybody gives each user what their own rules would have given."""

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from homeserver.core.events import Event
from homeserver.core.power_levels import PowerLevels
from homeserver.core.push_rules import CompiledRules, DefaultRules, RoomContext, default_ruleset
from tests.core.sample_events import V11, a_create_pdu, a_pdu

CREATE = Event.from_pdu(a_create_pdu(V11), V11)
SHARED = {legacy: DefaultRules(legacy_mentions=legacy) for legacy in (False, True)}

users = st.sampled_from(["@alice:x", "@Bob:x", "@bob:x", "@b*b:x", "@b?b:x", "@:x", "@carol:x"])
names = st.sampled_from([None, "", "Alice", "b*b", "Bob B", "@room", "carol."])
types = st.sampled_from([
    "m.room.message", "m.room.encrypted", "m.room.member", "m.reaction", "m.room.tombstone", "m.room.server_acl",
    "m.call.invite", "M.ROOM.MESSAGE", "org.example.other",
])  # fmt: skip
junk = st.one_of(st.none(), st.booleans(), st.integers(-3, 3), users, st.lists(users, max_size=2))
mentions = st.one_of(
    junk,
    st.fixed_dictionaries(
        {}, optional={"user_ids": st.one_of(junk, st.lists(st.one_of(users, junk), max_size=3)), "room": junk}
    ),
)
contents = st.fixed_dictionaries(
    {},
    optional={
        "msgtype": st.sampled_from(["m.text", "m.notice", "M.Notice", 5]),
        "body": st.one_of(
            junk, st.lists(st.sampled_from(["bob", "Alice", "@room", "b*b", " ", "!", "x"])).map("".join)
        ),
        "membership": st.sampled_from(["invite", "join", "INVITE"]),
        "m.mentions": mentions,
        "m.relates_to": st.one_of(junk, st.just({"rel_type": "m.replace"})),
    },
)
levels = st.one_of(st.none(), st.fixed_dictionaries({"users": st.dictionaries(users, st.integers(0, 100), max_size=3)}))


@given(contents, types, users, st.one_of(st.none(), st.just(""), users), levels, st.integers(1, 3), st.booleans())
def test_shared_verdict_equals_the_compiled_default_ruleset(
    content: dict[str, Any],
    event_type: str,
    sender: str,
    state_key: str | None,
    power: dict[str, Any] | None,
    members: int,
    legacy: bool,
) -> None:
    event = Event.from_pdu(a_pdu(V11, type=event_type, content=content, sender=sender, state_key=state_key), V11)
    room = RoomContext(members, PowerLevels.of(power, CREATE), V11)
    shared = SHARED[legacy].shared(event, room)
    for user_id in ("@alice:x", "@Bob:x", "@bob:x", "@b*b:x", "@b?b:x", "@:x"):
        rules = CompiledRules.compile(default_ruleset(user_id, legacy_mentions=legacy), user_id)
        for display_name in (None, "", "Alice", "b*b", "@room"):
            expected = rules.evaluate(event, room, display_name=display_name)
            assert shared.for_user(user_id, display_name) == expected


conditions = st.recursive(
    st.one_of(junk, names, types),
    lambda children: st.dictionaries(
        st.sampled_from(["kind", "key", "pattern", "value", "is"]),
        st.one_of(
            children,
            st.sampled_from(["event_match", "event_property_is", "event_property_contains", "room_member_count"]),
            st.sampled_from(["content.body", "type", "state_key", r"content.m\.mentions.user_ids", "content", ""]),
        ),
        max_size=4,
    ),
    max_leaves=6,
)


@given(st.lists(conditions, max_size=3), contents, users, names)
def test_no_condition_makes_evaluation_fail(
    some: list[Any], content: dict[str, Any], sender: str, display_name: str | None
) -> None:
    event = Event.from_pdu(a_pdu(V11, content=content, sender=sender), V11)
    ruleset = {"override": [{"rule_id": "a", "enabled": True, "conditions": some, "actions": ["notify"]}]}
    verdict = CompiledRules.compile(ruleset, "@dave:x").evaluate(
        event, RoomContext(2, None, V11), display_name=display_name
    )
    assert verdict.notify in (True, False)
