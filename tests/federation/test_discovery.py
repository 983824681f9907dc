import asyncio

import pytest

from federation.outbound.discovery import Discovery
from federation.outbound.dns import ServiceRecord
from federation.outbound.failures import FederationError
from federation.outbound.transport import Address
from federation.outbound.well_known import Delegation, lifetime, parse_delegation
from homeserver.runtime.clock import FrozenClock
from homeserver.runtime.random import SeededRandomness


class WellKnown:
    def __init__(self, delegations: dict[str, str | None]) -> None:
        self.delegations = delegations
        self.asked: list[str] = []

    async def read(self, host: str) -> Delegation | None:
        self.asked.append(host)
        await asyncio.sleep(0)
        name = self.delegations.get(host)
        return None if name is None else Delegation(name, 3600)


class Records:
    def __init__(self, records: dict[str, list[ServiceRecord]]) -> None:
        self.records = records
        self.asked: list[str] = []

    async def look_up(self, name: str) -> list[ServiceRecord]:
        self.asked.append(name)
        return self.records.get(name, [])


SRV = [ServiceRecord(20, 0, "late.example", 2), ServiceRecord(10, 5, "early.example", 1)]


def discovery(
    delegations: dict[str, str | None] | None = None, records: dict[str, list[ServiceRecord]] | None = None
) -> tuple[Discovery, WellKnown, Records, FrozenClock]:
    well_known, srv, clock = WellKnown(delegations or {}), Records(records or {}), FrozenClock()
    return Discovery(well_known, srv, clock, SeededRandomness()), well_known, srv, clock


@pytest.mark.parametrize(
    ("name", "address"),
    [
        ("1.2.3.4", Address((("1.2.3.4", 8448),), "1.2.3.4", "1.2.3.4")),
        ("1.2.3.4:80", Address((("1.2.3.4", 80),), "1.2.3.4:80", "1.2.3.4")),
        ("[2001:db8::1]:80", Address((("2001:db8::1", 80),), "[2001:db8::1]:80", "2001:db8::1")),
        ("a.example:80", Address((("a.example", 80),), "a.example:80", "a.example")),
    ],
)
async def test_literals_and_ports_need_no_look_up(name: str, address: Address) -> None:
    subject, well_known, srv, _ = discovery({"a.example": "b.example"})
    assert await subject.locate(name) == address
    assert not well_known.asked
    assert not srv.asked


@pytest.mark.parametrize(
    ("delegated", "address"),
    [
        ("9.9.9.9", Address((("9.9.9.9", 8448),), "9.9.9.9", "9.9.9.9")),
        ("9.9.9.9:1", Address((("9.9.9.9", 1),), "9.9.9.9:1", "9.9.9.9")),
        ("b.example:1", Address((("b.example", 1),), "b.example:1", "b.example")),
        ("b.example", Address((("b.example", 8448),), "b.example", "b.example")),
        ("c.example", Address((("early.example", 1), ("late.example", 2)), "c.example", "c.example")),
        ("d.example", Address((("early.example", 1), ("late.example", 2)), "d.example", "d.example")),
    ],
)
async def test_well_known_delegates(delegated: str, address: Address) -> None:
    records = {"_matrix-fed._tcp.c.example": SRV, "_matrix._tcp.d.example": SRV}
    subject, *_ = discovery({"a.example": delegated}, records)
    assert await subject.locate("a.example") == address


async def test_without_well_known_the_newer_service_record_counts_first() -> None:
    records = {"_matrix-fed._tcp.a.example": SRV[:1], "_matrix._tcp.a.example": SRV[1:]}
    subject, *_ = discovery({}, records)
    assert await subject.locate("a.example") == Address((("late.example", 2),), "a.example", "a.example")


async def test_the_last_resort_is_port_8448() -> None:
    subject, *_ = discovery()
    assert await subject.locate("a.example") == Address((("a.example", 8448),), "a.example", "a.example")


async def test_many_who_ask_at_once_share_one_look_up() -> None:
    subject, well_known, *_ = discovery({"a.example": "b.example:1"})
    assert len(set(await asyncio.gather(*(subject.locate("a.example") for _ in range(5))))) == 1
    assert well_known.asked == ["a.example"]


async def test_failures_of_well_known_are_remembered_and_a_known_delegation_survives_them() -> None:
    subject, well_known, _, clock = discovery({"a.example": "b.example:1"})
    first = await subject.locate("a.example")
    well_known.delegations.clear()
    clock.advance(4000)
    assert await subject.locate("a.example") == first
    assert len(well_known.asked) == 2
    subject.forget("a.example")
    assert await subject.locate("a.example") == first
    assert len(well_known.asked) == 2


async def test_what_is_no_server_name_is_refused() -> None:
    subject, *_ = discovery()
    with pytest.raises(FederationError):
        await subject.locate("a.example/path")


@pytest.mark.parametrize(
    ("header", "seconds"),
    [("", 86400), ("max-age=600", 600), ("public, max-age=1", 300), ("max-age=99999999", 172800), ("no-store", 300)],
)
def test_lifetimes_are_kept_within_limits(header: str, seconds: float) -> None:
    assert lifetime(header) == seconds


@pytest.mark.parametrize("body", [b"", b"[]", b"{}", b'{"m.server": 1}', b'{"m.server": "a b"}', b'{"m.server": ""}'])
def test_invalid_delegations_count_as_none(body: bytes) -> None:
    assert parse_delegation(body, "") is None
