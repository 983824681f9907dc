"""Events whose past their own server does not tell: it is had from others, or arrives later, and they count then."""

import pytest

from federation.outbound.transport import Answer
from homeserver.runtime.clock import FrozenClock
from homeserver.services import undecided
from tests.federation.conftest import Until
from tests.federation.hearth import Hearth
from tests.federation.network import Network, Sent
from tests.federation.test_receiving import make, shared_room

_TYPE = {"content-type": "application/json"}
_REFUSED = Answer(403, _TYPE, b'{"errcode":"M_FORBIDDEN","error":"no"}')
_NOTHING = Answer(200, _TYPE, b'{"events":[]}')
_OF_THE_PAST = ("/get_missing_events/", "/state_ids/", "/state/", "/event/", "/event_auth/")


async def test_what_a_newcomer_says_is_taken_in_as_soon_as_its_coming_is_known(
    hs1: Hearth, hs2: Hearth, hs3: Hearth, network: Network, until: Until
) -> None:
    room_id = await shared_room(hs1, hs3)
    network.partition("hs1", "hs3")
    await hs1.join("ann", room_id)
    # Its part of the room begins with its own join, and what that builds on is known at hs1 only.
    await hs2.join("carl", room_id, hs1)
    said = await hs2.send("carl", room_id, "hello")
    await until(lambda: _has_sent(hs2))
    assert not await hs3.has(said)
    network.heal()
    await until(lambda: hs3.has(said))
    assert await hs3.state(room_id) == await hs1.state(room_id) == await hs2.state(room_id)
    assert await hs3.extremities(room_id) == await hs1.extremities(room_id) == {said}


@pytest.mark.parametrize("told", [_REFUSED, _NOTHING], ids=["refused", "nothing"])
async def test_what_its_server_does_not_tell_is_had_from_another(
    hs1: Hearth, hs2: Hearth, hs3: Hearth, network: Network, until: Until, told: Answer
) -> None:
    room_id = await shared_room(hs1, hs2)
    await hs3.join("carl", room_id, hs1)

    async def interfere(sent: Sent) -> Answer | None:
        if (sent.source, sent.destination) == ("hs2", "hs3") and is_lost and "/send/" in sent.target:
            return Answer(400, _TYPE, b'{"errcode":"M_UNKNOWN","error":"lost"}')
        if (sent.source, sent.destination) != ("hs3", "hs2") or not any(part in sent.target for part in _OF_THE_PAST):
            return None
        return told if "/get_missing_events/" in sent.target else _REFUSED

    is_lost = True
    network.interferences.append(interfere)
    lost = await hs2.send("bob", room_id, "lost")
    await until(lambda: hs1.has(lost))
    await until(lambda: _has_sent(hs2))
    is_lost = False
    last = await hs2.send("bob", room_id, "the last that is ever said")
    await until(lambda: hs3.has(last))
    assert await hs3.has(lost)
    await until(lambda: _has_decided_all(hs3))


async def test_one_server_fills_only_its_part_of_what_is_kept(hs1: Hearth, hs2: Hearth, clock: FrozenClock) -> None:
    room_id = await shared_room(hs1, hs2)
    for number in range(undecided.MOST_OF_ONE + 5):
        event = await make(hs2, room_id, prev=[f"$nothing{number}"])
        assert (await hs1.writing.receive.receive_event("hs2", event)).outcome == "undecided"
    assert len(hs1.undecided) == undecided.MOST_OF_ONE
    for _ in range(undecided.TRIES):
        clock.advance(undecided.FIRST_PAUSE_S * undecided.FACTOR**undecided.TRIES)
        await hs1.undecided.retry()
    assert len(hs1.undecided) == 0
    event = await make(hs2, room_id, prev=["$nothing"])
    await hs1.writing.receive.receive_event("hs2", event)
    assert len(hs1.undecided) == 1


async def _has_sent(server: Hearth) -> bool:
    return not server.sender.waiting()


async def _has_decided_all(server: Hearth) -> bool:
    return not len(server.undecided)
