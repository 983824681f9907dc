"""What full-text search looks through, as the database keeps it."""

from homeserver.core.search_words import MAX_LETTERS, words_of
from storage import search
from storage.database import Database, Write


async def test_a_text_of_as_many_words_as_there_can_be_is_kept(database: Database) -> None:
    words = words_of("".join(chr(0x20000 + number) for number in range(MAX_LETTERS)))
    assert len(words) == MAX_LETTERS

    async def operation(tx: Write) -> None:
        search.put_document(tx, 1, room_nid=1, key="content.body", sender="@a:hs", sent_at=1, words=words)

    await database.write(operation)
