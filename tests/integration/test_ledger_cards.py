"""Cards in PostgreSQL: in many hands as they are, in one hand while they change, and in none of a dead worker."""

import asyncio
from collections.abc import AsyncIterator

import asyncpg
import pytest
from support.ledgers import connected

from worker.core.card import Card, CardError, Hold, card
from worker.ledger import cards
from worker.ledger.cards import CardBook
from worker.ledger.connection import Pool, create_pool

NUMBER = "3201234567890"
NANJING = card("power", "1001", NUMBER, {"card_num": NUMBER, "city": "南京市"})
SUZHOU = card("power", "1001", NUMBER, {"card_num": NUMBER, "city": "苏州市"})
OTHER = card("power", "1001", "3209999999999", {"city": "南京市"})


@pytest.fixture
async def pool(ledger_dsn: str) -> AsyncIterator[Pool]:
    it = await create_pool(ledger_dsn, 4)
    yield it
    it.terminate()


@pytest.fixture
def book(pool: Pool) -> CardBook:
    return CardBook(pool)


async def take(book: CardBook, wanted: Card, seconds: float = 60) -> Hold:
    """Take a card that nobody else has."""
    hold = await book.hold("one", wanted, seconds)
    assert hold is not None
    return hold


async def add(book: CardBook, wanted: Card, card_id: str) -> None:
    """Add a card and let go of it."""
    hold = await take(book, wanted)
    assert await book.keep("one", wanted, hold.token, card_id, wanted.digest)
    await book.release("one", wanted, hold._replace(current=True))


async def test_a_new_card_is_one_hands_to_add(book: CardBook) -> None:
    holds = await asyncio.gather(*(book.hold("one", NANJING, 60) for _ in range(20)))
    (hold,) = (hold for hold in holds if hold is not None)
    assert (hold.card_id, hold.current) == (None, False)
    assert await book.keep("one", NANJING, hold.token, "42", NANJING.digest)
    assert (await take(book, NANJING))[1:3] == ("42", True)


async def test_a_card_as_it_is_is_in_many_hands(book: CardBook) -> None:
    await add(book, NANJING, "42")
    holds = [await take(book, NANJING) for _ in range(5)]
    assert [hold[1:3] for hold in holds] == [("42", True)] * 5


async def test_nobody_changes_a_card_that_is_being_paid_onto(book: CardBook) -> None:
    """Money would go onto a card with other fields than those of its order."""
    await add(book, NANJING, "42")
    users = [await take(book, NANJING) for _ in range(2)]
    for user in users:
        assert await book.hold("one", SUZHOU, 60) is None
        await book.release("one", NANJING, user)
    assert (await take(book, SUZHOU))[1:3] == ("42", False)


async def test_nobody_pays_onto_a_card_that_is_being_changed(book: CardBook) -> None:
    await add(book, NANJING, "42")
    changer = await take(book, SUZHOU)
    assert await book.hold("one", NANJING, 60) is None
    assert await book.hold("one", SUZHOU, 60) is None
    await book.keep("one", SUZHOU, changer.token, "42", SUZHOU.digest)
    assert await book.hold("one", NANJING, 60) is None, "whoever changed it pays onto it now"
    assert (await take(book, SUZHOU)).current


async def test_what_a_change_came_to_is_unknown_until_it_is_kept(book: CardBook) -> None:
    """Its answer was lost: neither the old nor the new fields are known to be there."""
    await add(book, NANJING, "42")
    await book.release("one", SUZHOU, await take(book, SUZHOU))
    hold = await take(book, NANJING)
    assert hold[1:3] == ("42", False)
    await book.release("one", NANJING, hold)
    assert (await take(book, SUZHOU))[1:3] == ("42", False)


async def test_what_a_dead_worker_held_is_free_when_its_lease_ends(book: CardBook) -> None:
    dead = await take(book, NANJING, 0.3)
    assert await book.hold("one", NANJING, 60) is None
    await asyncio.sleep(0.35)
    heir = await take(book, NANJING)
    assert heir[1:3] == (None, False)
    assert not await book.keep("one", NANJING, dead.token, "41", NANJING.digest), "it has woken too late"
    await book.release("one", NANJING, dead)
    await book.forget("one", NANJING, dead.token)
    assert await book.hold("one", NANJING, 60) is None, "the heir still has it"
    assert await book.keep("one", NANJING, heir.token, "42", NANJING.digest)


async def test_uses_of_a_dead_worker_end_too(book: CardBook) -> None:
    await add(book, NANJING, "42")
    for _ in range(3):
        await take(book, NANJING, 0.3)
    assert await book.hold("one", SUZHOU, 60) is None
    await asyncio.sleep(0.35)
    await book.release("one", NANJING, await take(book, NANJING, 0.1))
    assert not (await take(book, SUZHOU)).current


async def test_a_use_that_ended_by_itself_lets_go_of_nobody_elses(book: CardBook) -> None:
    """Its worker was slow: else the card would be changed while the next order is being paid onto it."""
    await add(book, NANJING, "42")
    slow = await take(book, NANJING, 0.3)
    await asyncio.sleep(0.35)
    paying = await take(book, NANJING)
    await book.release("one", NANJING, slow)
    assert await book.hold("one", SUZHOU, 60) is None
    await book.release("one", NANJING, paying)
    assert not (await take(book, SUZHOU)).current


async def test_keeping_twice_is_keeping_once(book: CardBook) -> None:
    """The commit of the first was not heard of."""
    hold = await take(book, NANJING)
    for _ in range(2):
        assert await book.keep("one", NANJING, hold.token, "42", NANJING.digest)
    await book.release("one", NANJING, hold._replace(current=True))
    assert (await take(book, SUZHOU))[1:3] == ("42", False)


async def test_one_id_stands_for_one_card(book: CardBook) -> None:
    """The gateway itself has said what it stands for now; the other card is to be added anew."""
    await add(book, OTHER, "42")
    await add(book, NANJING, "42")
    assert [found.key for found in await book.find("one", ("power", "1001"), OTHER.key, "42")] == [NANJING.key]
    assert (await take(book, OTHER))[1:3] == (None, False)


async def test_the_database_refuses_one_id_for_two_cards(pool: Pool, book: CardBook) -> None:
    await add(book, OTHER, "42")
    await add(book, NANJING, "43")
    with pytest.raises(asyncpg.UniqueViolationError):
        await pool.execute("UPDATE cards SET card_id = '42' WHERE key = $1", NANJING.key)
    with pytest.raises(asyncpg.CheckViolationError):
        await pool.execute("UPDATE cards SET card_id = NULL WHERE key = $1", NANJING.key)


async def test_a_card_is_found_by_its_number_or_its_id(book: CardBook) -> None:
    await add(book, NANJING, "42")
    await add(book, OTHER, "43")
    where = ("power", "1001")
    by_both = await book.find("one", where, NANJING.key, "43")
    assert {(found.shown, found.card_id) for found in by_both} == {("320****7890", "42"), ("320****9999", "43")}
    assert len(await book.find("one", where, NANJING.key, "42")) == 1
    assert len(await book.find("one", where, None, "43")) == 1
    for elsewhere in (("power", "1002"), ("oil", "1001")):
        assert await book.find("one", elsewhere, NANJING.key, "42") == []
    assert await book.find("two", where, NANJING.key, "42") == []


async def test_each_gateway_and_each_store_has_cards_of_its_own(book: CardBook) -> None:
    await add(book, NANJING, "42")
    assert (await take(book, NANJING._replace(owner="1002"))).card_id is None
    assert (await book.hold("two", NANJING, 60) or NANJING)[1] is None


async def test_a_deleted_card_is_forgotten(pool: Pool, book: CardBook) -> None:
    await add(book, NANJING, "42")
    hold = await take(book, NANJING._replace(digest=b""))
    assert hold[1:3] == ("42", False)
    assert await book.keep("one", NANJING, hold.token, None, None)
    assert await book.hold("one", NANJING, 60) is None, "it is being deleted"
    await book.forget("one", NANJING, hold.token)
    assert await pool.fetchval("SELECT count(*) FROM cards") == 0


async def test_no_number_is_kept(pool: Pool, book: CardBook) -> None:
    await add(book, NANJING, "42")
    row = await pool.fetchval("SELECT to_jsonb(c)::text FROM cards c")
    assert "320****7890" in row
    assert NUMBER not in row


async def test_a_database_that_comes_back_loses_nothing(ledger_dsn: str, book: CardBook) -> None:
    """An id that was heard is written although every connection has just been cut."""
    hold = await take(book, NANJING)
    async with connected(ledger_dsn) as connection:
        await connection.execute(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
            " WHERE datname = current_database() AND pid <> pg_backend_pid()"
        )
    assert await book.keep("one", NANJING, hold.token, "42", NANJING.digest)
    assert (await take(book, NANJING)).card_id == "42"


async def test_a_database_that_stays_away_is_said_so(
    pool: Pool, book: CardBook, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cards, "PATIENCE_SECONDS", 0.5)
    pool.terminate()
    with pytest.raises(CardError, match="database_away"):
        await book.hold("one", NANJING, 60)
