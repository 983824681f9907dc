"""Checks the signatures of events: keys gathered for all of them at once, verified on threads where there are many."""

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import Executor
from typing import Final

from homeserver.core.canonical_json import CanonicalJSONError
from homeserver.core.events import Event
from homeserver.core.identifiers import InvalidIdentifier
from homeserver.core.signatures import SignatureCheck, signatures_to_check, verify
from homeserver.runtime.clock import Clock
from homeserver.services.keyring import Keyring, is_missing, was_valid
from homeserver.services.vouched_keys import VouchedKeys
from storage.server_keys import ServerKey

INLINE: Final = 8
"""Up to so many signatures are verified on the spot: a thread's hop costs about as much."""
CHUNK: Final = 256

_Keys = Mapping[str, Mapping[str, ServerKey]]
_NONE: Final[Mapping[str, bytes]] = {}


class EventSignatures:
    """Step 2 of the checks on a received PDU, for any number of events."""

    def __init__(
        self, keyring: Keyring, vouched: VouchedKeys, clock: Clock, executor: Executor | None = None
    ) -> None:
        self._keyring = keyring
        self._vouched = vouched
        self._clock = clock
        self._executor = executor

    async def failures(
        self, events: Sequence[Event], messages: Mapping[str, bytes] = _NONE, *, told_by: str | None = None
    ) -> dict[str, str]:
        """Event id → what is wrong with its signatures; events that are as they should be are not in it.

        `messages`: event id → its `hashes.signed_bytes`, of events of which they are at hand. `told_by`: the server
        whose word is taken for keys that can be had from nobody else.
        """
        failed: dict[str, str] = {}
        checks: list[tuple[Event, list[SignatureCheck]]] = []
        for event in events:
            try:
                checks.append((event, signatures_to_check(event, messages.get(event.event_id))))
            except (CanonicalJSONError, InvalidIdentifier) as error:
                failed[event.event_id] = str(error)
        keys = await self._gather_keys(checks, told_by)
        if len(checks) <= INLINE:
            return failed | _verify(checks, keys)
        loop = asyncio.get_running_loop()
        chunks = [checks[at : at + CHUNK] for at in range(0, len(checks), CHUNK)]
        results = await asyncio.gather(
            *(loop.run_in_executor(self._executor, _verify, chunk, keys) for chunk in chunks)
        )
        for result in results:
            failed |= result
        return failed

    async def _gather_keys(
        self, checks: Sequence[tuple[Event, list[SignatureCheck]]], told_by: str | None
    ) -> _Keys:
        wanted: dict[str, set[str]] = {}
        latest: dict[str, int] = {}
        now = self._clock.now_ms()
        for event, of_event in checks:
            for check in of_event:
                wanted.setdefault(check.server_name, set()).update(check.signatures)
                if event.room_version.enforces_key_validity:
                    # An event from the future cannot ask for keys that are not published yet.
                    at = min(event.origin_server_ts, now)
                    latest[check.server_name] = max(latest.get(check.server_name, 0), at)
        servers = [name for name, key_ids in wanted.items() if name and key_ids]
        asked = [self._keyring.records(name, wanted[name], latest.get(name, 0)) for name in servers]
        # Most events are of one server, whose keys are in memory: no task for that.
        found = [await asked[0]] if len(asked) == 1 else await asyncio.gather(*asked)
        keys = dict(zip(servers, found, strict=True))
        missing = {name: wanted[name] for name in servers if is_missing(keys[name], wanted[name], latest.get(name, 0))}
        if told_by is not None and missing:
            for name, vouched in (await self._vouched.records(told_by, missing, latest)).items():
                keys[name] = {**keys[name], **vouched}
        return keys


def _verify(checks: Sequence[tuple[Event, list[SignatureCheck]]], keys: _Keys) -> dict[str, str]:
    failed: dict[str, str] = {}
    for event, of_event in checks:
        for check in of_event:
            reason = _failure(event, check, keys.get(check.server_name, {}))
            if reason is not None:
                failed[event.event_id] = reason
                break
    return failed


def _failure(event: Event, check: SignatureCheck, keys: Mapping[str, ServerKey]) -> str | None:
    """Keys that are unknown, or were not valid then, are skipped; all others must verify, and there must be one."""
    if not check.signatures:
        return f"not signed by {check.server_name or 'anybody'}"
    verified = False
    for key_id, signature in check.signatures.items():
        key = keys.get(key_id)
        if key is None or not _may_sign(event, key):
            continue
        if not verify(check.message, signature, key.verify_key):
            return f"the signature of {check.server_name} with {key_id} is wrong"
        verified = True
    return None if verified else f"no valid key of {check.server_name} is known"


def _may_sign(event: Event, key: ServerKey) -> bool:
    if event.room_version.enforces_key_validity or key.expired_at is not None:
        return was_valid(key, event.origin_server_ts)
    return True
