"""Group commit by itself: who waits, who is answered, who is told of an error, and which errors mean "try again"."""

import asyncio
from collections.abc import Sequence
from unittest.mock import Mock

import asyncpg
import pytest

from worker.ledger.batch import Batcher
from worker.ledger.connection import create_pool, is_away


class Flush:
    """Answers each number with its double; raises what `troubles` holds for a number, or for the next flushes."""

    def __init__(self, troubles: dict[int, BaseException] | None = None, away: int = 0) -> None:
        self.batches: list[list[int]] = []
        self.troubles = troubles or {}
        self.away = away
        self.begun = asyncio.Event()
        self.gate = asyncio.Event()
        self.gate.set()

    async def __call__(self, items: Sequence[int]) -> list[int]:
        """Flush."""
        self.batches.append(list(items))
        self.begun.set()
        await self.gate.wait()
        if self.away:
            self.away -= 1
            raise ConnectionResetError
        for item in items:
            if item in self.troubles:
                raise self.troubles[item]
        return [2 * item for item in items]


async def test_calls_that_come_during_a_flush_share_the_next_one_in_their_order() -> None:
    flush = Flush()
    batcher = Batcher(flush, name="test", pace=0)
    batcher.start()
    flush.gate.clear()
    first = asyncio.create_task(batcher(0))
    await flush.begun.wait()
    others = [asyncio.create_task(batcher(number)) for number in range(1, 6)]
    await asyncio.sleep(0.01)
    flush.gate.set()
    assert await asyncio.gather(first, *others) == [0, 2, 4, 6, 8, 10]
    assert flush.batches == [[0], [1, 2, 3, 4, 5]]
    await batcher.stop()


async def test_a_batch_holds_no_more_than_its_limit() -> None:
    flush = Flush()
    batcher = Batcher(flush, name="test", limit=4)
    batcher.start()
    assert await asyncio.gather(*map(batcher, range(10))) == [2 * number for number in range(10)]
    assert [len(batch) for batch in flush.batches] == [4, 4, 2]
    await batcher.stop()


async def test_while_the_database_is_away_the_same_batch_is_tried_again() -> None:
    flush = Flush(away=2)
    batcher = Batcher(flush, name="test")
    batcher.start()
    assert await asyncio.gather(*map(batcher, range(3))) == [0, 2, 4]
    assert flush.batches == [[0, 1, 2]] * 3
    await batcher.stop()


@pytest.mark.parametrize(
    "trouble",
    [asyncpg.CheckViolationError(), asyncpg.DataError(), ValueError(), TypeError(), RecursionError(), KeyError("x")],
    ids=lambda trouble: type(trouble).__name__,
)
async def test_whatever_is_wrong_with_one_item_is_its_caller_s_alone(trouble: Exception) -> None:
    batcher = Batcher(Flush({3: trouble}), name="test")
    batcher.start()
    results = await asyncio.gather(*map(batcher, range(8)), return_exceptions=True)
    assert results == [0, 2, 4, trouble, 8, 10, 12, 14]
    await batcher.stop()


async def test_a_flush_that_answers_too_little_is_an_error_not_a_wait_for_ever() -> None:
    async def nothing(_items: Sequence[int]) -> list[int]:
        return []

    batcher = Batcher(nothing, name="test")
    batcher.start()
    async with asyncio.timeout(2):
        results = await asyncio.gather(*map(batcher, range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [ValueError] * 3
    await batcher.stop()


async def test_a_caller_that_gives_up_leaves_the_others_their_answers() -> None:
    flush = Flush()
    flush.gate.clear()
    batcher = Batcher(flush, name="test")
    batcher.start()
    calls = [asyncio.create_task(batcher(number)) for number in range(3)]
    await flush.begun.wait()
    calls[1].cancel()
    await asyncio.sleep(0)
    flush.gate.set()
    results = await asyncio.gather(*calls, return_exceptions=True)
    assert (results[0], results[2]) == (0, 4)
    assert isinstance(results[1], asyncio.CancelledError)
    await batcher.stop()


async def test_stopping_cancels_those_in_the_flush_those_behind_it_and_those_after() -> None:
    flush = Flush()
    flush.gate.clear()
    batcher = Batcher(flush, name="test", limit=2)
    batcher.start()
    calls = [asyncio.create_task(batcher(number)) for number in range(5)]
    await flush.begun.wait()
    await batcher.stop()
    async with asyncio.timeout(2):
        results = await asyncio.gather(*calls, batcher(9), return_exceptions=True)
    assert all(isinstance(result, asyncio.CancelledError) for result in results)


async def test_stopping_ends_the_wait_for_a_database_that_is_away() -> None:
    batcher = Batcher(Flush(away=1000), name="test")
    batcher.start()
    call = asyncio.create_task(batcher(1))
    await asyncio.sleep(0.02)
    async with asyncio.timeout(2):
        await batcher.stop()
        with pytest.raises(asyncio.CancelledError):
            await call


# --- what an error means ---------------------------------------------------------------------------

AWAY = [
    ConnectionResetError(),
    TimeoutError(),
    asyncio.IncompleteReadError(b"", 1),
    asyncpg.ConnectionDoesNotExistError(),
    asyncpg.ConnectionFailureError(),
    asyncpg.DeadlockDetectedError(),
    asyncpg.SerializationError(),
    asyncpg.TooManyConnectionsError(),
    asyncpg.DiskFullError(),
    asyncpg.LockNotAvailableError(),
    asyncpg.QueryCanceledError(),
    asyncpg.AdminShutdownError(),
    asyncpg.CannotConnectNowError(),
    asyncpg.PostgresIOError(),
    asyncpg.InterfaceError("connection is closed"),
    asyncpg.InternalClientError(),  # and with it: no host among several takes writes
    asyncpg.ReadOnlySQLTransactionError(),  # a former primary
    asyncpg.InvalidPasswordError(),  # being changed
    asyncpg.InvalidCatalogNameError(),  # being restored
]
OURS = [
    asyncpg.CheckViolationError(),
    asyncpg.UniqueViolationError(),
    asyncpg.RestrictViolationError(),
    asyncpg.CharacterNotInRepertoireError(),
    asyncpg.DataError(),
    asyncpg.NumericValueOutOfRangeError(),
    asyncpg.UndefinedTableError(),
    asyncpg.ProgramLimitExceededError(),
    asyncpg.InsufficientPrivilegeError(),
    asyncpg.ClientConfigurationError("dsn"),
    ValueError(),
    LookupError(),
]


@pytest.mark.parametrize("error", AWAY, ids=lambda error: type(error).__name__)
def test_what_says_nothing_about_the_statement_is_tried_again(error: Exception) -> None:
    assert is_away(error)


@pytest.mark.parametrize("error", OURS, ids=lambda error: type(error).__name__)
def test_what_is_wrong_with_the_statement_is_not(error: Exception) -> None:
    assert not is_away(error)


@pytest.mark.parametrize("value", [2**63, "text", "\ud800", object()], ids=["huge", "text", "surrogate", "object"])
async def test_a_parameter_that_cannot_be_sent_is_the_caller_s_fault(ledger_dsn: str, value: object) -> None:
    """Raised by asyncpg itself, before anything is sent."""
    pool = await create_pool(ledger_dsn, 1)
    query = "SELECT $1::text" if value == "\ud800" else "SELECT $1::bigint"
    with pytest.raises((asyncpg.DataError, ValueError)) as raised:
        await pool.fetch(query, value)
    assert not is_away(raised.value)
    pool.terminate()


async def test_a_database_that_nobody_serves_is_away() -> None:
    with pytest.raises(ConnectionRefusedError) as raised:
        await create_pool("postgresql://worker@127.0.0.1:1/none", 1)
    assert is_away(raised.value)


def test_an_error_without_a_code_is_not_a_connection_s() -> None:
    assert not is_away(Mock(spec=asyncpg.PostgresError, sqlstate=None))
