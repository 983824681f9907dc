"""Rooms with random forks, for comparing and for properties. The same random source makes the same room."""

from dataclasses import dataclass, field
from random import Random
from typing import Any

from homeserver.core.auth_rules import AuthError, check_auth
from homeserver.core.events import Event
from homeserver.core.signatures import generate_signing_key, sign_json
from tests.core.room_dag import START_MS, RoomDag, State

USERS = ("@alice:a.example", "@bob:a.example", "@carol:b.example", "@dave:c.example", "@eve:c.example")
LEVELS = (-1, 0, 1, 49, 50, 50, 51, 75, 99, 100, 100, 101)
PROPERTIES = ("users_default", "events_default", "state_default", "ban", "redact", "kick", "invite")
JOIN_RULES = ("public", "public", "invite", "knock", "restricted", "knock_restricted", "private")
INVITE_KEY = generate_signing_key("1", b"i" * 32)


@dataclass
class Check:
    """An event, a state, and the rule by which the event was refused against that state (None: allowed)."""

    event: Event
    state: State
    rule: str | None


@dataclass
class RandomRoom:
    """A room grown by `grow`, with every decision taken on the way."""

    rng: Random
    version: str
    federated: bool = True
    room: RoomDag = field(init=False)
    tried: dict[str, Event] = field(default_factory=dict)
    checks: list[Check] = field(default_factory=list)
    resolutions: list[tuple[list[State], State]] = field(default_factory=list)

    def __post_init__(self) -> None:
        create_content: dict[str, Any] = {}
        if not self.federated:
            create_content["m.federate"] = False
        if self.rng.random() < 0.4:
            create_content["additional_creators"] = [self.rng.choice(USERS[1:])]
        self.room = RoomDag(self.version, create_content=create_content)
        self.tried[self.room.create.event_id] = self.room.create
        self._start()

    def _start(self) -> None:
        creator = self.room.creator
        self.attempt("m.room.member", creator, {"membership": "join"}, creator, [self.room.last])
        for _ in range(2):
            if self.rng.random() < 0.9:
                self.attempt("m.room.power_levels", creator, self.power_levels({}), "", [self.room.last])
        self.attempt("m.room.join_rules", creator, {"join_rule": "public"}, "", [self.room.last])
        for user in self.rng.sample(USERS[1:], 3):
            self.attempt("m.room.member", user, {"membership": "join"}, user, [self.room.last])
        self.attempt("m.room.join_rules", creator, {"join_rule": self.rng.choice(JOIN_RULES)}, "", [self.room.last])

    def grow(self, steps: int) -> "RandomRoom":
        """Tries `steps` random events after random earlier ones, and resolves random sets of states."""
        for _ in range(steps):
            previous = self.random_previous()
            event_type, sender, content, state_key = self.random_event(self.room.state_before(previous))
            self.attempt(event_type, sender, content, state_key, previous)
        for _ in range(steps // 4):
            self.resolve_random_states()
        return self

    def attempt(
        self, event_type: str, sender: str, content: dict[str, Any], state_key: str | None, previous: list[Event]
    ) -> None:
        """Makes an event, takes down whether it is allowed here and at another random point, and adds it if it is."""
        state = self.room.state_before(previous)
        extra = {}
        if event_type == "m.room.redaction" and not self.room.version.redacts_in_content:
            extra["redacts"] = content.pop("redacts", None) or "$nothing:a.example"
        timestamp = START_MS + self.rng.randrange(60)
        event = self.room.event(
            event_type, sender, content, state_key, prev=previous, state=state, ts=timestamp, **extra
        )
        self.tried[event.event_id] = event
        elsewhere = self.rng.choice(list(self.room.state_after.values()))
        if elsewhere:
            self.check(event, elsewhere)
        if self.check(event, state):
            self.room.add(event, state)

    def check(self, event: Event, state: State) -> bool:
        rule = None
        try:
            check_auth(event, self.room.loaded(state))
        except AuthError as error:
            rule = error.rule
        self.checks.append(Check(event, state, rule))
        return rule is None

    def resolve_random_states(self) -> None:
        states = list(self.room.state_after.values())
        chosen = [self.rng.choice(states) for _ in range(self.rng.choice((2, 2, 2, 3, 4)))]
        self.resolutions.append((chosen, self.room.resolve(chosen)))

    def random_previous(self) -> list[Event]:
        events = list(self.room.events.values())
        if self.rng.random() < 0.6:
            return [self.room.last]
        count = min(self.rng.choice((1, 1, 2, 3)), len(events))
        return self.rng.sample(events[-12:] if self.rng.random() < 0.7 else events, min(count, len(events[-12:])))

    def random_event(self, state: State) -> tuple[str, str, dict[str, Any], str | None]:
        sender = self.rng.choice(USERS)
        kinds = {
            "member": 12,
            "power_levels": 4,
            "join_rules": 2,
            "topic": 2,
            "message": 2,
            "own_state": 1,
            "third_party_invite": 1,
            "aliases": 1,
            "redaction": 1,
        }
        kind = self.rng.choices(list(kinds), list(kinds.values()))[0]
        if self.rng.random() < 0.5:
            sender = self.room.creator
        match kind:
            case "member":
                return self.random_member(sender, state)
            case "power_levels":
                current = state.get(("m.room.power_levels", ""))
                old = {} if current is None else self.room.events[current].content
                return "m.room.power_levels", sender, self.power_levels(old), ""
            case "join_rules":
                return "m.room.join_rules", sender, {"join_rule": self.rng.choice(JOIN_RULES)}, ""
            case "topic":
                return "m.room.topic", sender, {"topic": str(self.rng.random())}, self.rng.choice(("", "", sender))
            case "message":
                return "m.room.message", sender, {"body": "hello"}, None
            case "own_state":
                return "org.example.state", sender, {}, self.rng.choice((sender, self.rng.choice(USERS)))
            case "third_party_invite":
                key = self.rng.choice(({"public_key": _public_key()}, {"public_keys": [{"public_key": _public_key()}]}))
                return "m.room.third_party_invite", sender, {"display_name": "x", **key}, "token"
            case "aliases":
                domain = self.rng.choice((sender.partition(":")[2], "b.example"))
                return "m.room.aliases", sender, {"aliases": []}, domain
            case _:
                return "m.room.redaction", sender, {"redacts": self.rng.choice(list(self.room.events))}, None

    def random_member(self, sender: str, state: State) -> tuple[str, str, dict[str, Any], str]:
        memberships = ("join", "join", "invite", "leave", "leave", "ban", "knock", "nonsense")
        content: dict[str, Any] = {"membership": self.rng.choice(memberships)}
        target = self.rng.choice((sender, self.rng.choice(USERS)))
        if content["membership"] in ("join", "knock") and self.rng.random() < 0.9:
            sender = target = self.rng.choice(USERS)
        if content["membership"] == "join" and self.rng.random() < 0.4:
            content["join_authorised_via_users_server"] = self.rng.choice(USERS)
        if content["membership"] == "invite" and self.rng.random() < 0.3:
            content["third_party_invite"] = {"display_name": "x", "signed": self.signed(target)}
        return "m.room.member", sender, content, target

    def signed(self, target: str) -> dict[str, Any]:
        signed = {"mxid": self.rng.choice((target, target, target, USERS[0])), "token": "token"}
        if self.rng.random() < 0.1:
            signed["token"] = "other"
        key = INVITE_KEY if self.rng.random() < 0.8 else generate_signing_key("1", b"x" * 32)
        return sign_json(signed, "id.example", key)

    def power_levels(self, old: dict[str, Any]) -> dict[str, Any]:
        """`old` with a few changes, as likely as not beyond what the sender may do."""
        content = {name: dict(value) if isinstance(value, dict) else value for name, value in old.items()}
        if not old:
            creator_too = not self.room.version.privileged_creators or self.rng.random() < 0.1
            content = {"users": {self.room.creator: 100} if creator_too else {}}
        for _ in range(self.rng.randrange(3)):
            self._change_level(content)
        if self.rng.random() < 0.04:
            content["users"] = self.rng.choice(([], {"nobody": 5}, {"@x:a.example": "none"}, {"@x:a.example": None}))
        return content

    def _change_level(self, content: dict[str, Any]) -> None:
        name = self.rng.choice(("users", "users", "users", "events", "notifications", *PROPERTIES))
        if name in ("users", "events", "notifications"):
            keys = {"users": USERS, "events": ("m.room.topic", "m.room.power_levels"), "notifications": ("room", "x")}
            if not isinstance(content.setdefault(name, {}), dict):
                return
            _set_or_remove(content[name], self.rng.choice(keys[name]), self.random_level(), self.rng)
        else:
            _set_or_remove(content, name, self.random_level(), self.rng)

    def random_level(self) -> Any:
        level: Any = self.rng.choice(LEVELS)
        if self.rng.random() < 0.05:
            level = self.rng.choice((str(level), f" {level} ", f"+{abs(level)}", f"00{abs(level)}"))
        elif not self.room.version.strict_canonical_json and self.rng.random() < 0.05:
            level += 0.7
        return level


def _set_or_remove(levels: dict[str, Any], key: str, level: Any, rng: Random) -> None:
    if rng.random() < 0.25:
        levels.pop(key, None)
    else:
        levels[key] = level


def _public_key() -> str:
    from homeserver.core.hashes import unpadded_base64

    return unpadded_base64(bytes(INVITE_KEY.verify_key))
