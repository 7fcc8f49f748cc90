"""Deliveries put together from frames: each whole and once, and nothing of one that the end of its channel cuts."""

import asyncio
from typing import Any

import pytest
from pamqp.body import ContentBody
from pamqp.commands import Basic, Channel
from pamqp.header import ContentHeader

from worker.broker.inlet import Inlet

Taken = list[tuple[int | None, bytes]]


@pytest.fixture
def others() -> asyncio.Queue[Any]:
    """What goes to aiormq's reader."""
    return asyncio.Queue()


@pytest.fixture
def taken() -> Taken:
    return []


@pytest.fixture
def inlet(others: asyncio.Queue[Any], taken: Taken) -> Inlet:
    return Inlet(others, lambda deliver, _header, body: taken.append((deliver.delivery_tag, body)))


def delivery(tag: int, *parts: bytes) -> list[object]:
    size = sum(map(len, parts))
    return [Basic.Deliver("tag", tag), ContentHeader(body_size=size), *map(ContentBody, parts)]


async def put(inlet: Inlet, *frames: object) -> None:
    for frame in frames:
        await inlet.put((1, frame))


async def test_deliveries_are_handed_over_whole_and_everything_else_goes_on(
    inlet: Inlet, others: asyncio.Queue[Any], taken: Taken
) -> None:
    answer, ack = Basic.QosOk(), Basic.CancelOk("tag")
    await put(inlet, *delivery(1), answer, *delivery(2, b"a", b"b", b"c"), *delivery(3, b"d"), ack)
    assert taken == [(1, b""), (2, b"abc"), (3, b"d")]
    assert [await others.get() for _ in range(others.qsize())] == [(1, answer), (1, ack)]


@pytest.mark.parametrize("begun", range(1, 4), ids=["method", "header", "half a body"])
async def test_a_channel_that_ends_within_a_delivery_hands_nothing_of_it_over(
    inlet: Inlet, others: asyncio.Queue[Any], taken: Taken, begun: int
) -> None:
    close = Channel.Close(406, "timeout", 0, 0)
    await put(inlet, *delivery(1, b"a", b"b")[:begun], close)
    assert others.get_nowait() == (1, close)
    await put(inlet, *delivery(1, b"c"))  # not on a channel that has ended; but nothing old is left either
    assert taken == [(1, b"c")]


async def test_the_content_of_what_is_no_delivery_is_not_ours(
    inlet: Inlet, others: asyncio.Queue[Any], taken: Taken
) -> None:
    returned = [Basic.Return(312, "NO_ROUTE", "", "x"), ContentHeader(body_size=1), ContentBody(b"r")]
    await put(inlet, *returned, *delivery(1, b"a"))
    assert taken == [(1, b"a")]
    assert [others.get_nowait()[1] for _ in range(3)] == returned
