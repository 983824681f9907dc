"""Hearth's core and Synapse's own code must decide alike, on random rooms of every room version.

Where Synapse deviates from the specification, `test_deviations_of_synapse` says how. A failure names its room's seed:
HEARTH_DIFFERENTIAL_SEED (default 1) sets the first one, HEARTH_DIFFERENTIAL_ROOMS how many rooms a version gets.
"""

import os
from random import Random
from typing import Any

import pytest

from homeserver.core.events import Event
from homeserver.core.hashes import content_hash, reference_hash, unpadded_base64
from homeserver.core.redaction import redact
from homeserver.core.room_versions import ROOM_VERSIONS
from tests.core.random_rooms import RandomRoom
from tests.differential.reference import Synapse

FIRST_SEED = int(os.environ.get("HEARTH_DIFFERENTIAL_SEED", "1"))
ROOMS = int(os.environ.get("HEARTH_DIFFERENTIAL_ROOMS", "20"))
STEPS = 60


def question_about(grown: RandomRoom) -> dict[str, Any]:
    return {
        "version": grown.version,
        "pdus": {event_id: event.pdu for event_id, event in grown.tried.items()},
        "checks": [{"event": c.event.event_id, "state": list(c.state.values())} for c in grown.checks],
        "independent": list(grown.room.events),
        "resolutions": [[list(state.values()) for state in states] for states, _ in grown.resolutions],
        "redactions": list(grown.tried),
    }


@pytest.fixture(scope="module", params=list(ROOM_VERSIONS))
def compared(request: pytest.FixtureRequest, synapse: Synapse) -> list[tuple[int, RandomRoom, dict[str, Any]]]:
    """(seed, room, Synapse's answer) for the rooms of one room version."""
    rooms = []
    for seed in range(FIRST_SEED, FIRST_SEED + ROOMS):
        grown = RandomRoom(Random(f"{seed} {request.param}"), request.param).grow(STEPS)
        rooms.append((seed, grown, synapse.ask(question_about(grown))))
    return rooms


Compared = list[tuple[int, RandomRoom, dict[str, Any]]]


def test_the_same_events_are_allowed(compared: Compared) -> None:
    decisions = [0, 0]
    for seed, grown, answer in compared:
        for check, verdict in zip(grown.checks, answer["checks"], strict=True):
            decisions[check.rule is None] += 1
            assert (check.rule is None) == (verdict is None), (
                f"seed {seed}: {check.event!r} {check.event.content} by rule {check.rule}, Synapse: {verdict}"
            )
    assert min(decisions) > len(compared) * STEPS // 4, f"refused and allowed: {decisions}"


def test_events_pass_the_state_independent_rules_alike(compared: Compared) -> None:
    for seed, _, answer in compared:
        assert set(answer["independent"]) == {None}, f"seed {seed}"


def test_the_same_state_is_resolved(compared: Compared) -> None:
    for seed, grown, answer in compared:
        for (states, resolved), theirs in zip(grown.resolutions, answer["resolutions"], strict=True):
            ours = sorted(resolved.values())
            differing = set(ours) ^ set(theirs)
            assert not differing, f"seed {seed}: {[grown.room.events[e] for e in differing]} of {states}"


def test_events_have_the_same_ids_and_hashes(compared: Compared) -> None:
    for seed, grown, answer in compared:
        for event_id, event in grown.tried.items():
            assert answer["ids"][event_id] == _hashes(event), f"seed {seed}: {event!r}"


def test_redaction_leaves_the_same(compared: Compared) -> None:
    for seed, grown, answer in compared:
        for event, theirs in zip(grown.tried.values(), answer["redactions"], strict=True):
            # Synapse keeps `unsigned`, which is not part of what is hashed and signed.
            theirs.pop("unsigned", None)
            assert redact(event.pdu, event.room_version) == theirs, f"seed {seed}: {event!r}"


def _hashes(event: Event) -> list[str]:
    reference = unpadded_base64(reference_hash(event.pdu, event.room_version))
    return [event.event_id, content_hash(event.pdu, event.room_version), reference]
