"""Work that one process at a time may do."""

from storage.database import Database
from storage.leases import Lease

LIFE_MS = 10_000


def of(database: Database, holder: str) -> Lease:
    return Lease(database, "work", holder, LIFE_MS)


async def test_one_process_holds_a_lease_until_it_gives_it_up(database: Database) -> None:
    database.is_shared = True
    one, two = of(database, "one"), of(database, "two")
    assert await one.hold(0)
    assert not await two.hold(1)
    await two.give_up()  # what it does not hold
    assert not await two.hold(2)
    await one.give_up()
    assert await two.hold(3)
    assert not await one.hold(4)


async def test_a_lease_is_renewed_in_its_second_half_and_lost_by_who_does_not(database: Database) -> None:
    database.is_shared = True
    one, two = of(database, "one"), of(database, "two")
    assert await one.hold(0)
    assert await one.hold(LIFE_MS // 2 - 1)  # nothing is written yet
    assert await one.hold(LIFE_MS // 2 + 1)
    assert not await two.hold(LIFE_MS + 1)
    assert await two.hold(2 * LIFE_MS)
    assert not await one.hold(2 * LIFE_MS + 1)


async def test_who_shares_the_database_with_nobody_always_holds_it(database: Database) -> None:
    assert await of(database, "one").hold(0)
    assert await of(database, "two").hold(0)
