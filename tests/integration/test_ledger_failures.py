"""The ledger when things break at the worst moment: a lost commit, two writers at once, a database that dies."""

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from itertools import pairwise

import pytest
from support.ledgers import ARRIVED, EVIDENCE, House, connected, house, make
from support.proxy import Proxy

from worker.core.machine import Decision, Ignored
from worker.core.order import Event, Fact, Order, State
from worker.core.policy import Policy
from worker.embedded import Postgres
from worker.ledger.admission import Admission
from worker.ledger.migrate import migrate

PATIENT = Policy(settle_seconds=3600, query_deadline=86_400)


class DeafProxy(Proxy):
    """A network that can lose everything the server says, while the server hears everything."""

    deaf = False

    async def _pump(self, source: asyncio.StreamReader, sink: asyncio.StreamWriter, gate: asyncio.Event) -> None:
        if sink.get_extra_info("peername")[1] == self._parts.port:
            return await super()._pump(source, sink, gate)
        heard = asyncio.StreamReader()
        forward = asyncio.create_task(super()._pump(heard, sink, gate))
        while data := await source.read(65536):
            if not self.deaf:
                heard.feed_data(data)
        heard.feed_eof()
        await forward
        return None


@pytest.fixture
async def proxy(ledger_dsn: str) -> AsyncIterator[DeafProxy]:
    async with DeafProxy(ledger_dsn) as it:
        yield it


@pytest.fixture
async def far(proxy: DeafProxy) -> AsyncIterator[House]:
    """A ledger behind the proxy, on one connection that knows its statements already."""
    async with house(proxy.url, size=1) as it:
        await it.step(await it.admit("WARM"), Event.ARRIVED)
        it.told.clear()
        yield it


@pytest.fixture
async def near(ledger_dsn: str) -> AsyncIterator[House]:
    """A ledger of another worker, on a healthy network."""
    async with house(ledger_dsn) as it:
        yield it


async def _version(near: House, version: int) -> None:
    """Wait until T1 has been committed at this version."""
    async with asyncio.timeout(10):
        while await near.value("SELECT version FROM orders WHERE order_no = 'T1'") != version:  # noqa: ASYNC110 - a row
            await asyncio.sleep(0.01)


async def _count(near: House, table: str) -> int:
    found: int = await near.value(
        {
            "orders": "SELECT count(*) FROM orders WHERE order_no = 'T1'",
            "journal": "SELECT count(*) FROM journal JOIN orders o ON o.id = order_id WHERE order_no = 'T1'",
            "outbox": "SELECT count(*) FROM outbox WHERE message_id LIKE 'T1:%'",
        }[table]
    )
    return found


# --- the commit that nobody heard of ---------------------------------------------------------------


async def test_an_admission_whose_commit_was_not_heard_of_is_new_and_there_once(
    proxy: DeafProxy, far: House, near: House
) -> None:
    proxy.deaf = True
    call = asyncio.create_task(far.admitted("T1"))
    await _version(near, 1)
    assert not call.done()
    proxy.deaf = False
    proxy.cut()
    async with asyncio.timeout(10):
        admitted = await call
    assert admitted.admission is Admission.NEW
    assert admitted.order == await near.ledger.find("T1")
    assert [await _count(near, table) for table in ("orders", "journal", "outbox")] == [1, 1, 1]
    assert far.told == []  # its event is in the outbox, from where any worker takes it


async def test_a_step_whose_commit_was_not_heard_of_is_done_once_and_answered_as_done(
    proxy: DeafProxy, far: House, near: House
) -> None:
    order = await far.admit("T1")
    proxy.deaf = True
    call = asyncio.create_task(far.ledger.apply(order, ARRIVED))
    await _version(near, 2)
    proxy.deaf = False
    proxy.cut()
    async with asyncio.timeout(10):
        decision = await call
    assert isinstance(decision, Decision)
    assert decision.order == await near.ledger.find("T1")
    assert [await _count(near, table) for table in ("orders", "journal", "outbox")] == [1, 2, 2]


async def test_a_step_that_was_not_heard_of_and_then_overtaken_is_decided_again(
    proxy: DeafProxy, far: House, near: House
) -> None:
    """The order as it is now decides, and no version is in the journal twice."""
    order = await far.admit("T1")
    proxy.deaf = True
    call = asyncio.create_task(far.ledger.apply(order, Fact(Event.ACCEPTED, sending=1, evidence=EVIDENCE)))
    await _version(near, 2)
    await near.step(order, Event.ARRIVED)
    proxy.deaf = False
    proxy.cut()
    async with asyncio.timeout(10):
        decision = await call
    assert isinstance(decision, Ignored)
    assert decision.order.state is State.SUCCEEDED
    assert [line[0] for line in await near.journal()] == [1, 2, 3]


async def test_an_admission_that_never_reached_the_server_is_made_on_the_next_connection(
    proxy: DeafProxy, far: House, near: House
) -> None:
    await proxy.refuse()
    call = asyncio.create_task(far.admitted("T1"))
    await asyncio.sleep(0.3)
    assert not call.done()
    await proxy.accept()
    async with asyncio.timeout(10):
        assert (await call).admission is Admission.NEW
    assert await _count(near, "journal") == 1


async def test_a_call_that_is_given_up_does_not_disturb_its_neighbours(near: House) -> None:
    calls = [asyncio.create_task(near.admitted(f"T{number}")) for number in range(20)]
    await asyncio.sleep(0)
    calls[7].cancel()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert isinstance(results.pop(7), asyncio.CancelledError)
    assert not [result for result in results if isinstance(result, BaseException)]


# --- two writers -----------------------------------------------------------------------------------


async def _unknown(home: House, order_no: str = "T1") -> Order:
    order = await home.admit(order_no)
    decision = await home.ledger.apply(order, Fact(Event.LEASE_ENDED, sending=1))
    assert decision.order.state is State.UNKNOWN
    return decision.order


async def test_200_answers_at_once_on_two_ledgers_are_all_counted(ledger_dsn: str) -> None:
    """Each counts one up on what it read; not one update is lost, and the journal has a line for each."""
    async with house(ledger_dsn, policy=PATIENT) as left, house(ledger_dsn, policy=PATIENT) as right:
        order = await _unknown(left)
        absent = Fact(Event.ABSENT, evidence=EVIDENCE)
        async with asyncio.timeout(60):
            await asyncio.gather(*(each.ledger.apply(order, absent) for _ in range(100) for each in (left, right)))
        stored = await left.ledger.find("T1")
        assert stored is not None
        assert (stored.absent_count, stored.queries, stored.revision) == (200, 200, order.revision + 200)
        assert Counter(line[3] for line in await left.journal())["absent"] == 200


async def test_two_ledgers_that_move_one_order_write_each_version_once(ledger_dsn: str) -> None:
    """200 steps to and fro between `queued` and `submitting`, each side as fast as it can."""

    async def rounds(home: House) -> None:
        for _ in range(100):
            current = await home.ledger.find("T1")
            assert current is not None
            sent = Fact(Event.NOT_SENT, sending=current.sending)
            fact = Fact(Event.TAKEN) if current.state is State.QUEUED else sent
            await home.ledger.apply(current, fact)

    async with house(ledger_dsn) as left, house(ledger_dsn) as right:
        await left.admit("T1", sending=False)
        async with asyncio.timeout(60):
            await asyncio.gather(rounds(left), rounds(right))
        journal = await left.journal()
        stored = await left.ledger.find("T1")
        assert stored is not None
        assert [line[0] for line in journal] == list(range(1, stored.version + 1))
        assert all(after[1] == before[2] for before, after in pairwise(journal))
        assert stored.version > 50


async def test_batches_in_opposite_order_do_not_deadlock(ledger_dsn: str) -> None:
    async with house(ledger_dsn) as left, house(ledger_dsn) as right:
        numbers = [f"T{number}" for number in range(300)]
        both = [(each, number) for each in (left, right) for number in random.sample(numbers, len(numbers))]
        async with asyncio.timeout(30):
            admitted = await asyncio.gather(*(each.admitted(number) for each, number in both))
            assert Counter(one.admission for one in admitted) == {Admission.NEW: 300, Admission.DUPLICATE: 300}
            orders = [one.order for one in admitted]
            random.shuffle(orders)
            await asyncio.gather(*(each.ledger.apply(order, ARRIVED) for order in orders for each in (left, right)))
        assert await left.value("SELECT count(*) FROM journal") == 600
        assert await left.value("SELECT deadlocks FROM pg_stat_database WHERE datname = current_database()") == 0


# --- the database dies -----------------------------------------------------------------------------


async def test_500_calls_in_flight_survive_a_crash_of_the_database() -> None:
    """Stopped without a word and started again: every call ends, and what it answers is what is written."""
    with Postgres() as server:
        dsn = server.create_database("ledger")
        await migrate(dsn)
        async with house(dsn, size=3) as home:
            before = await asyncio.gather(*(home.admit(f"A{number}") for number in range(250)))
            calls: list[asyncio.Task[object]] = []
            crash = asyncio.create_task(asyncio.to_thread(server.stop_immediate))
            for number, order in enumerate(before):
                calls.append(asyncio.create_task(home.step(order, Event.ARRIVED)))
                calls.append(asyncio.create_task(home.admit(f"B{number}")))
                if number % 10 == 0:
                    await asyncio.sleep(0.001)
            await crash
            unanswered = sum(not call.done() for call in calls)
            await asyncio.to_thread(server.start)
            async with asyncio.timeout(60):
                answers = await asyncio.gather(*calls)
            assert unanswered
            stored = await asyncio.gather(*(home.ledger.find(o.order_no) for o in answers if isinstance(o, Order)))
            assert stored == answers
        async with connected(dsn) as connection:
            assert await connection.fetchval("SELECT count(*) FROM orders") == 500
            assert await connection.fetchval("SELECT count(*) FROM journal") == 750
            lines = await connection.fetchval("SELECT count(DISTINCT (order_id, version)) FROM journal")
            assert lines == 750
            assert await connection.fetchval("SELECT count(*) FROM outbox") == 750


async def test_stopping_ends_every_call_and_takes_no_more(near: House) -> None:
    calls = [asyncio.create_task(near.admitted(f"T{number}")) for number in range(50)]
    await asyncio.sleep(0)
    await near.ledger.stop()
    async with asyncio.timeout(5):
        results = await asyncio.gather(*calls, return_exceptions=True)
        assert all(isinstance(result, asyncio.CancelledError) for result in results)
        with pytest.raises(asyncio.CancelledError):
            await near.ledger.admit(make("LATE"), b"", sending=False)
