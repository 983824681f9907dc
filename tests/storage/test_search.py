"""What full-text search looks through, as the database keeps it."""

from sqlalchemy import select

from homeserver.core.search_words import MAX_LETTERS, words_of
from storage import search
from storage.database import Database, Write
from storage.tables import search_documents


async def test_a_text_of_as_many_words_as_there_can_be_is_kept(database: Database) -> None:
    words = words_of("".join(chr(0x20000 + number) for number in range(MAX_LETTERS)))
    assert len(words) == MAX_LETTERS

    async def operation(tx: Write) -> None:
        search.put_document(tx, 1, room_nid=1, key="content.body", sender="@a:hs", sent_at=1, words=words)

    await database.write(operation)


async def test_many_documents_of_one_write_are_put_and_replaced_alike(database: Database) -> None:
    def put(tx: Write, nid: int, words: str) -> None:
        search.put_document(
            tx, nid, room_nid=2**40, key="content.body", sender='@"ä\\:hs', sent_at=2**45 + nid, words=words.split()
        )

    async def several(tx: Write) -> None:
        for nid in (1, 2, 3):
            put(tx, nid, f"all {nid}")
        put(tx, 2, "again 2")

    async def one(tx: Write) -> None:
        put(tx, 3, "again 3")

    await database.write(several)
    await database.write(one)
    found = database.engine.full_text(search_documents, "event_nid", [("again",)])
    async with database.read() as tx:
        rows = await tx.fetch_all(select(search_documents).select_from(found.source).where(found.where))
    assert sorted(map(tuple, rows)) == [
        (nid, 2**40, "content.body", '@"ä\\:hs', 2**45 + nid, f"again {nid}") for nid in (2, 3)
    ]
