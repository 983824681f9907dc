"""Answers questions with Synapse's own code: JSON lines on stdin, one JSON line each on stdout.

Runs under a Python that has matrix-synapse installed, and so imports nothing of Hearth. A line holds one room:

    {"version", "pdus": {event id: PDU}, "checks": [{"event", "state": [event ids]}], "independent": [event ids],
     "resolutions": [[[event ids of one state], ...], ...], "redactions": [event ids]}

and is answered with what Synapse makes of it:

    {"ids": {event id: [id, content hash, reference hash]}, "checks": [verdict], "independent": [verdict],
     "resolutions": [[event ids]], "redactions": [PDU]}

where a verdict is null for allowed and otherwise the error's class and message. A line {"canonical": [values]} is
answered with {"canonical": [strings, null where Synapse refuses the value]}.
"""

import asyncio
import hashlib
import json
import sys
from typing import Any

from canonicaljson import encode_canonical_json
from synapse import event_auth
from synapse.api.room_versions import KNOWN_ROOM_VERSIONS
from synapse.crypto.event_signing import compute_content_hash, compute_event_reference_hash
from synapse.events import make_event_from_dict
from synapse.events.utils import prune_event, validate_canonicaljson
from synapse.state import v1, v2
from synapse.storage.databases.main.event_federation import StateDifference
from unpaddedbase64 import encode_base64


class Store:
    """The events of one room, as Synapse's state resolution and auth checks ask their store for them."""

    def __init__(self, events: dict[str, Any]) -> None:
        self.events = events
        self._chains: dict[str, frozenset[str]] = {}

    async def get_events(self, event_ids: Any, redact_behaviour: Any = None, allow_rejected: bool = False) -> Any:
        return {event_id: self.events[event_id] for event_id in event_ids if event_id in self.events}

    async def get_auth_chain_difference(
        self, room_id: str, state_sets: list[set[str]], conflicted_state: Any, additional: Any
    ) -> StateDifference:
        chains = [self._chain_of(state) for state in state_sets]
        difference = set(frozenset.union(*chains) - frozenset.intersection(*chains))
        if conflicted_state is None:
            return StateDifference(auth_difference=difference, conflicted_subgraph=None)
        subgraph = {e for e in self._chain_of(conflicted_state) if self.chain(e) & conflicted_state}
        return StateDifference(auth_difference=difference, conflicted_subgraph=subgraph)

    def chain(self, event_id: str) -> frozenset[str]:
        """An event and all that it cites. Events arrive in an order in which cited ones come first."""
        chain = self._chains.get(event_id)
        if chain is None:
            cited = [self.chain(auth_id) for auth_id in self.events[event_id].auth_event_ids()]
            chain = self._chains[event_id] = frozenset({event_id}).union(*cited)
        return chain

    def _chain_of(self, event_ids: Any) -> frozenset[str]:
        return frozenset().union(*(self.chain(event_id) for event_id in event_ids))


class FakeClock:
    async def sleep(self, duration: Any) -> None:
        """State resolution sleeps only to let others run."""


def answer(question: dict[str, Any]) -> dict[str, Any]:
    if "canonical" in question:
        return {"canonical": [canonical(value) for value in question["canonical"]]}
    version = KNOWN_ROOM_VERSIONS[question["version"]]
    events = {event_id: make_event_from_dict(pdu, version) for event_id, pdu in question["pdus"].items()}
    store = Store(events)
    for event_id in events:
        store.chain(event_id)
    return {
        "ids": {event_id: hashes(event) for event_id, event in events.items()},
        "checks": [check(events, asked) for asked in question["checks"]],
        "independent": [check_independent(store, event_id) for event_id in question["independent"]],
        "resolutions": [resolve(store, version, sets) for sets in question["resolutions"]],
        "redactions": [prune_event(events[event_id]).get_dict() for event_id in question["redactions"]],
    }


def canonical(value: Any) -> str | None:
    try:
        validate_canonicaljson(value)
        return encode_canonical_json(value).decode()
    except Exception:  # noqa: BLE001 - whatever Synapse raises, it refuses the value
        return None


def hashes(event: Any) -> list[str]:
    _, content = compute_content_hash(event.get_pdu_json(), hashlib.sha256)
    _, reference = compute_event_reference_hash(event)
    return [event.event_id, encode_base64(content), encode_base64(reference)]


def verdict_of(error: Exception) -> str:
    return f"{type(error).__name__}: {error}"


def check(events: dict[str, Any], asked: dict[str, Any]) -> str | None:
    try:
        event_auth.check_state_dependent_auth_rules(events[asked["event"]], [events[e] for e in asked["state"]])
    except Exception as error:  # noqa: BLE001 - whatever Synapse raises, it refuses the event
        return verdict_of(error)
    return None


def check_independent(store: Store, event_id: str) -> str | None:
    try:
        run(event_auth.check_state_independent_auth_rules(store, store.events[event_id]))
    except Exception as error:  # noqa: BLE001 - whatever Synapse raises, it refuses the event
        return verdict_of(error)
    return None


def resolve(store: Store, version: Any, sets: list[list[str]]) -> list[str]:
    states = [{(store.events[e].type, store.events[e].state_key): e for e in event_ids} for event_ids in sets]
    room_id = store.events[sets[0][0]].room_id
    if version.identifier == "1":
        resolved = run(v1.resolve_events_with_store(room_id, version, states, {}, store.get_events))
    else:
        resolved = run(v2.resolve_events_with_store(FakeClock(), room_id, version, states, {}, store))
    return sorted(resolved.values())


def run(coroutine: Any) -> Any:
    return loop.run_until_complete(coroutine)


if __name__ == "__main__":
    loop = asyncio.new_event_loop()
    for line in sys.stdin:
        print(json.dumps(answer(json.loads(line))), flush=True)
