"""The relay against clients that are slow, many or hostile, over raw sockets: honest callbacks get through."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support.proxy import Proxy
from support.relaying import Client, Relaying, post, relaying

FORM = "Content-Type: application/x-www-form-urlencoded"
CALLBACK = b"order_no=T1&order_number=W1&status=2"
HONEST = post("/callbacks/wikeyun", CALLBACK, FORM)
ROOM = 20


@pytest.fixture
async def relay(
    amqp_url: str, amqp_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Relaying]:
    monkeypatch.setattr("worker.relay.server.HEAD_SECONDS", 0.6)
    monkeypatch.setattr("worker.relay.server.MOST_CONNECTIONS", ROOM)
    monkeypatch.setattr("worker.relay.receiver.BODY_SECONDS", 0.6)
    async with relaying(amqp_url, amqp_prefix, tmp_path) as running:
        yield running


def _descriptors() -> int:
    return sum(1 for _ in Path("/proc/self/fd").iterdir())


async def _drip(client: Client, raw: bytes, pause: float) -> None:
    for byte in raw:
        await client.send(bytes([byte]))
        await asyncio.sleep(pause)


@pytest.mark.parametrize(
    ("begun", "drips"),
    [(b"", b""), (b"POST", b""), (b"POST /callbacks/wikeyun HTTP/1.1\r\nHost: relay\r\nX-Long: ", b"x" * 1000)],
    ids=["nothing", "a word", "half a head"],
)
async def test_a_head_that_does_not_come_is_not_waited_for(relay: Relaying, begun: bytes, drips: bytes) -> None:
    began = asyncio.get_running_loop().time()
    client = await relay.connect()
    await client.send(begun)
    dripping = asyncio.create_task(_drip(client, drips, 0.05))
    assert (await client.answer(5))[0] == 0
    assert 0.4 < asyncio.get_running_loop().time() - began < 3
    dripping.cancel()


async def test_a_body_that_drips_is_not_waited_for(relay: Relaying) -> None:
    began = asyncio.get_running_loop().time()
    client = await relay.connect()
    await client.send(post("/callbacks/wikeyun", b"", FORM, length=1000))
    dripping = asyncio.create_task(_drip(client, b"x" * 1000, 0.05))
    assert (await client.answer(8))[0] == 408
    assert asyncio.get_running_loop().time() - began < 6
    dripping.cancel()
    assert not relay.relayed()


@pytest.mark.parametrize("cut", [b"", b"order_no="], ids=["before", "within"])
async def test_a_client_that_vanishes_leaves_nothing_behind(relay: Relaying, cut: bytes) -> None:
    before = _descriptors()
    for _ in range(10):
        client = await relay.connect()
        await client.send(post("/callbacks/wikeyun", cut, FORM, length=100))
        client.abort()
    await asyncio.sleep(0.3)
    assert (await relay.exchange(HONEST))[0] == 200
    assert len(relay.relayed()) == 1
    assert _descriptors() <= before + 1


async def test_many_who_say_nothing_make_room_for_one_who_does(relay: Relaying) -> None:
    silent = [await relay.connect() for _ in range(ROOM)]
    slow = [await relay.connect() for _ in range(ROOM)]
    for each in slow:
        await each.send(post("/callbacks/wikeyun", b"o", FORM, length=1000))
    before = _descriptors()
    assert (await relay.exchange(HONEST))[0] == 200
    # who had to make room was closed without an answer, and long before its time was over
    assert [(await each.answer(5))[0] for each in silent] == [0] * ROOM
    assert [(await each.answer(8))[0] for each in slow].count(408) == ROOM - 1
    assert _descriptors() < before
    assert len(relay.relayed()) == 1


async def test_pipelined_requests_after_the_first_are_not_answered(relay: Relaying) -> None:
    status, head, rest = await relay.exchange(HONEST * 50)
    assert (status, rest) == (200, b"success")
    assert head.count(b"HTTP/1.1") == 1
    assert len(relay.relayed()) == 1


@pytest.mark.parametrize(
    "raw",
    [
        b"POST /callbacks/wikeyun HTTP/1.1\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /callbacks/wikeyun HTTP/1.1\r\nHost: r\r\nContent-Length: 1\r\nContent-Length: 2\r\n\r\nab",
        b"POST /callbacks/wikeyun HTTP/1.1\r\nHost: r\r\nContent-Length: -1\r\n\r\n",
        b"POST /callbacks/wikeyun HTTP/1.1\r\nHost: r\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\nab\r\n0\r\n\r\n",
        b"POST /callbacks/wikeyun\x00 HTTP/1.1\r\nHost: r\r\nContent-Length: 0\r\n\r\n",
        b"POST /callbacks/wikeyun?\xff\xfe HTTP/1.1\r\nHost: r\r\nContent-Length: 0\r\n\r\n",
        b"POST " + b"/" * 10_000 + b" HTTP/1.1\r\n\r\n",
        b"POST /callbacks/wikeyun HTTP/1.1\r\n" + b"X: y\r\n" * 500 + b"\r\n",
        b"\x00" * 100 + b"\r\n\r\n",
    ],
)
async def test_what_is_no_proper_request_is_refused_and_the_next_one_is_not(relay: Relaying, raw: bytes) -> None:
    status, _, _ = await relay.exchange(raw)
    assert status in (0, 400)
    assert (await relay.exchange(HONEST))[0] == 200
    assert len(relay.relayed()) == 1


async def test_what_arrives_while_too_much_waits_for_the_broker_is_told_to_come_again(
    amqp_url: str, amqp_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.relay.receiver.MOST_AT_ONCE", 2)
    async with Proxy(amqp_url) as proxy, relaying(amqp_url, amqp_prefix, tmp_path, through=proxy) as relay:
        await relay.await_ready()
        proxy.blackhole()
        answers = [asyncio.create_task(relay.exchange(HONEST)) for _ in range(10)]
        done, _ = await asyncio.wait(answers, timeout=2)
        busy = [each.result() for each in done]
        assert len(busy) == 8
        assert {(status, body) for status, _, body in busy} == {(503, b"busy: come again\n")}
        assert [(await each)[0] for each in answers] == [503] * 10
