"""The figures against the tables that they are about."""

import asyncio
from collections import Counter
from contextlib import suppress
from typing import Any

from support.ledgers import ARRIVED, EVIDENCE, House, house

from worker.core.order import Event, Fact, Order, State, Task
from worker.core.policy import Policy
from worker.ledger.figures import FigureBook, Figures

WATCHED = ("unknown", "awaiting_payment", "review")


INTO: dict[State, tuple[Event, dict[str, Any]]] = {
    State.UNKNOWN: (Event.UNANSWERED, {"sending": 1}),
    State.PENDING: (Event.ACCEPTED, {"sending": 1}),
    State.AWAITING_PAYMENT: (Event.PAYMENT_DUE, {"sending": 1, "payment": {"charge": "x"}}),
    State.REVIEW: (Event.DISPUTED, {}),
    State.SUCCEEDED: (Event.ARRIVED, {}),
    State.FAILED: (Event.REJECTED, {"sending": 1}),
}
"""What leads an order that is being sent into a state."""


async def in_state(home: House, number: str, state: State, **others: object) -> Order:
    """Admit an order and lead it into a state."""
    order = await home.admit(number, sending=state is not State.QUEUED, **others)
    if state in INTO:
        event, details = INTO[state]
        order = await home.step(order, event, **details)
    assert order.state is state
    return order


async def agree(home: House, figures: Figures) -> None:
    """Compare with a plain count of everything."""
    rows = await home.pool.fetch(
        "SELECT gateway, state, amount_fen FROM orders WHERE state NOT IN ('succeeded', 'failed')"
    )
    assert Counter(figures.orders()) == Counter((row["gateway"], row["state"]) for row in rows)
    fen: Counter[tuple[str, str]] = Counter()
    for row in rows:
        if row["state"] in ("unknown", "review"):
            fen[row["gateway"], row["state"]] += row["amount_fen"]
    assert Counter(figures.at_risk()) == fen
    kept = await home.pool.fetch("SELECT order_id, gateway, state, amount_fen FROM watched")
    real = await home.pool.fetch(
        "SELECT id, gateway, state, amount_fen FROM orders WHERE state = ANY($1)", list(WATCHED)
    )
    assert {tuple(row) for row in kept} == {tuple(row) for row in real}


async def test_figures_are_what_the_tables_say(ledger_dsn: str) -> None:
    """Orders of every open state, at two gateways, and some of them as they move on."""
    async with house(ledger_dsn) as home:
        book = FigureBook(home.pool)
        assert book.latest is None
        assert (await book.look()).orders() == {}
        orders = {}
        for number, state in enumerate((State.QUEUED, State.SUBMITTING, *INTO)):
            for gateway in ("one", "two"):
                name = f"{gateway}-{number}"
                others = {"gateway": gateway, "route": (gateway,), "amount_fen": 1000 + number}
                orders[gateway, state] = await in_state(home, name, state, **others)
        await agree(home, await book.look())
        unknown = orders["one", State.UNKNOWN]
        await home.step(unknown, Event.ARRIVED)
        await home.step(orders["two", State.UNKNOWN], Event.DISPUTED)  # from one watched state to another
        await home.step(orders["one", State.REVIEW], Event.RESOLVED_FAILED)
        await agree(home, await book.look())
        assert book.latest is not None
        assert (book.age or 0) < 5


async def test_an_order_is_watched_since_it_came_there(ledger_dsn: str) -> None:
    """However often it is asked about, which writes it anew."""
    async with house(ledger_dsn) as home:
        order = await in_state(home, "T1", State.UNKNOWN)
        since = await home.value("SELECT since FROM watched")
        asked = await home.ledger.apply(order, Fact(Event.SILENT, evidence=EVIDENCE))
        assert asked.order.revision > order.revision
        assert await home.value("SELECT since FROM watched") == since
        await home.step(asked.order, Event.DISPUTED)
        assert await home.value("SELECT since FROM watched") > since


async def test_an_order_is_in_doubt_since_it_was_first_sent(ledger_dsn: str) -> None:
    """Where submits are lost it goes round and comes into `unknown` again; other states count from the last change."""
    async with house(ledger_dsn, policy=Policy(settle_queries=1, settle_seconds=0)) as home:
        order = await in_state(home, "T1", State.UNKNOWN)
        await home.sent_ago(await in_state(home, "T2", State.REVIEW), 2400)
        order = await home.sent_ago(order, 2400)
        for _ in range(2):
            order = await home.step(order, Event.ABSENT)
            assert order.state is State.QUEUED
            assert ("one", State.UNKNOWN) not in (await FigureBook(home.pool).look()).watched
            order = await home.step(await home.step(order, Event.TAKEN), Event.UNANSWERED)
            figures = await FigureBook(home.pool).look()
            assert 2399 < figures.watched["one", State.UNKNOWN].age < 2460
            assert figures.watched["one", State.REVIEW].age < 60


async def test_what_is_due_and_for_how_long(ledger_dsn: str) -> None:
    async with house(ledger_dsn) as home:
        for number in range(5):
            await in_state(home, f"P{number}", State.PENDING)
        await in_state(home, "Q1", State.QUEUED)
        await home.pool.execute(
            "UPDATE alarms SET due_at = now() + CASE WHEN order_id % 2 = 0 THEN interval '1 hour' ELSE '-90 s' END"
            " WHERE task = 'query'"
        )
        late = await home.value("SELECT count(*) FROM alarms WHERE task = 'query' AND due_at <= now()")
        found = (await FigureBook(home.pool).look()).backlog
        assert (found["one", Task.QUERY].orders, found["one", Task.QUERY].due) == (5, late)
        assert 89 < found["one", Task.QUERY].overdue < 120
        assert found["one", Task.SUBMIT].due == 1
        assert found["one", Task.LEASE].orders == 0


async def test_events_and_hints_that_wait(ledger_dsn: str) -> None:
    async with house(ledger_dsn) as home:
        book = FigureBook(home.pool)
        order = await in_state(home, "T1", State.SUCCEEDED)
        await home.pool.execute("UPDATE outbox SET created_at = now() - interval '2 minutes'")
        await home.pool.execute("INSERT INTO hints (order_id, attempt, gateway) VALUES ($1, 1, 'one')", order.id)
        figures = await book.look()
        assert (figures.events, figures.hints) == (len(home.told), {"one": 1})
        assert 119 < figures.oldest_event < 150
        await home.ledger.forget_events([event.id for event in home.told])
        assert ((await book.look()).events, (await book.look()).oldest_event) == (0, 0)


async def test_what_cannot_be_read_stops_nobody(ledger_dsn: str) -> None:
    """It is tried again; orders go on, and what was seen grows old."""
    async with house(ledger_dsn) as home:
        book = FigureBook(home.pool)
        await home.pool.execute("ALTER TABLE watched RENAME TO elsewhere")
        looking = asyncio.create_task(book.run())
        await asyncio.sleep(0.3)
        assert not looking.done()
        assert book.latest is None
        looking.cancel()
        with suppress(asyncio.CancelledError):
            await looking
        await home.pool.execute("ALTER TABLE elsewhere RENAME TO watched")
        await home.ledger.apply(await home.admit("T1"), ARRIVED)
        assert (await book.look()).orders() == {}
