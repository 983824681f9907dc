"""Messages that wait for their device, as the database keeps them."""

from storage import to_device
from storage.database import Database, Write
from storage.streams import Stream

ALICE, PHONE = "@alice:hearth.test", "PHONE"


async def put(database: Database, *messages: bytes, device_id: str = PHONE) -> int:
    """Store messages, each at a place of its own; returns the place of the last."""

    async def operation(tx: Write) -> None:
        for message in messages:
            to_device.put(tx, tx.position(Stream.TO_DEVICE, ALICE), ALICE, device_id, message)

    await database.write(operation)
    return database.position


async def waiting(database: Database, since: int = 0, limit: int = 100) -> list[bytes]:
    async with database.read() as tx:
        found = await to_device.pending(tx, ALICE, PHONE, since, database.position, limit)
    return [row.message for row in found]


async def test_messages_wait_in_the_order_of_their_arrival(database: Database) -> None:
    await put(database, b"1", b"2")
    await put(database, b"other", device_id="DESK")
    await put(database, b"3")
    assert await waiting(database) == [b"1", b"2", b"3"]
    assert await waiting(database, limit=2) == [b"1", b"2"]


async def test_what_is_put_off_keeps_its_order_and_comes_before_what_arrives_later(database: Database) -> None:
    end = await put(database, b"1", b"2", b"3", b"4")
    async with database.read() as tx:
        second = (await to_device.pending(tx, ALICE, PHONE, 0, end, 2))[1].ordinal
    await database.write(lambda tx: to_device.postpone(tx, ALICE, PHONE, second, end))
    await put(database, b"5")
    assert await waiting(database) == [b"1", b"2", b"3", b"4", b"5"]
    assert await waiting(database, since=end) == [b"3", b"4", b"5"]
    await database.write(lambda tx: to_device.delete_up_to(tx, ALICE, PHONE, end))
    assert await waiting(database) == [b"3", b"4", b"5"]


async def test_putting_off_nothing_takes_no_place(database: Database) -> None:
    end = await put(database, b"1")
    await database.write(lambda tx: to_device.postpone(tx, ALICE, PHONE, end, end))
    assert database.position == end


async def test_the_oldest_go_where_there_are_too_many(database: Database) -> None:
    await put(database, *(b"%d" % number for number in range(5)))
    assert await database.write(lambda tx: to_device.forget_oldest(tx, ALICE, PHONE, 9)) == 0
    assert await database.write(lambda tx: to_device.forget_oldest(tx, ALICE, PHONE, 2)) == 3
    assert await waiting(database) == [b"3", b"4"]
