"""The sender against real sockets: every way a call can fail, which phase it is in, and one hit at most."""

import asyncio
import gzip
import inspect
import socket

import aiohttp
import aiohttp.client_exceptions
import pytest
from support.peers import CANARY, OK, Peer, accepting, free_port, reset, serving, silence
from support.senders import assert_nothing_held, failing, fails, request, sending

from worker.gateways import http
from worker.gateways.http import NotSentError, Sender, UnansweredError

# --- not sent ------------------------------------------------------------------------------------


async def test_refused() -> None:
    async with sending() as sender:
        fails(await failing(sender, f"http://127.0.0.1:{free_port()}/?{CANARY}"), NotSentError, "connect_refused")


async def test_refused_on_both_families() -> None:
    async with sending() as sender:
        error = await failing(sender, f"http://localhost:{free_port()}/?{CANARY}")
        assert isinstance(error, NotSentError)
        assert error.code in {"connect_refused", "connect_failed"}


async def test_dns_failure(monkeypatch: pytest.MonkeyPatch) -> None:
    async def unknown(*_arguments: object, **_named: object) -> list[object]:
        raise socket.gaierror(socket.EAI_NONAME, "Name or service not known")

    async with sending() as sender:
        monkeypatch.setattr(asyncio.get_running_loop(), "getaddrinfo", unknown)
        fails(await failing(sender, f"http://gateway.invalid/?{CANARY}"), NotSentError, "dns")


async def test_tls_to_a_plain_port() -> None:
    async def plain(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)

    async with accepting(plain) as server, sending() as sender:
        fails(await failing(sender, server.url.replace("http:", "https:")), NotSentError, "tls")


async def test_tls_to_a_silent_port_ends_with_the_time_for_connecting() -> None:
    async with accepting(silence) as server, sending(seconds=0.3) as sender:
        error = await failing(sender, server.url.replace("http:", "https:"))
        assert isinstance(error, NotSentError)
        assert error.code in {"connect_timeout", "timeout"}


async def test_no_free_connection_in_time() -> None:
    async with serving(silence) as server, sending(seconds=0.5, concurrency=1) as sender:
        first = asyncio.create_task(sender.send(request(server.url)))
        await asyncio.sleep(0.1)
        # the same pool with less patience
        assert sender._session is not None
        sender._session._timeout = aiohttp.ClientTimeout(total=0.2)
        with pytest.raises(NotSentError) as caught:
            await sender.send(request(server.url))
        assert caught.value.code in {"timeout", "connect_timeout"}
        with pytest.raises(UnansweredError):
            await first
        assert server.hits == 1


@pytest.mark.parametrize("url", ["http:///nowhere?sign=CANARY", "ftp://127.0.0.1/?sign=CANARY"])
async def test_an_address_that_is_none(url: str) -> None:
    async with sending() as sender:
        fails(await failing(sender, url), NotSentError, "bad_url")


async def test_closed_sender() -> None:
    sender = Sender(1, 1)
    await sender.close()
    fails(await failing(sender, f"http://127.0.0.1:{free_port()}/"), NotSentError, "closed")


# --- unanswered ----------------------------------------------------------------------------------


async def close_at_once(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    pass


async def rst(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    reset(writer)


async def slow(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n")
    for _ in range(100):
        writer.write(b"x")
        await writer.drain()
        await asyncio.sleep(0.05)


def then_close(data: bytes) -> Peer:
    async def answer(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(data)
        await writer.drain()

    return answer


HUGE = b"HTTP/1.1 200 OK\r\nContent-Length: 2000000\r\n\r\n" + b"x" * 2_000_000
ENDLESS = b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + b"x" * 2_000_000
BOMB = gzip.compress(b"0" * 50_000_000)
BOMB_ANSWER = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(BOMB) + BOMB

UNANSWERED: list[tuple[str, "bytes | Peer", set[str]]] = [
    ("silence", silence, {"timeout"}),
    ("closed after reading", close_at_once, {"disconnected"}),
    ("reset after reading", rst, {"reset"}),
    ("partial head", then_close(b"HTTP/1.1 200 OK\r\nContent-Le"), {"disconnected"}),
    ("body cut", then_close(b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{"), {"cut"}),
    ("chunked body cut", then_close(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nhel"), {"cut"}),
    ("garbage", then_close(b"\x00\x01 not http at all\r\n\r\n"), {"garbage"}),
    ("bad header", then_close(b"HTTP/1.1 200 OK\r\nContent-Length: many\r\n\r\n"), {"garbage"}),
    ("redirect", b"HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n", {"redirect"}),
    ("redirect that keeps the method", b"HTTP/1.1 307 T\r\nLocation: /x\r\nContent-Length: 0\r\n\r\n", {"redirect"}),
    ("not modified", b"HTTP/1.1 304 Not Modified\r\n\r\n", {"redirect"}),
    ("huge body", then_close(HUGE), {"too_large"}),
    ("endless body", then_close(ENDLESS), {"too_large"}),
    ("gzip bomb", then_close(BOMB_ANSWER), {"too_large"}),
    ("gzip that is none", b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 4\r\n\r\nnope", {"cut"}),
    ("slow body", slow, {"timeout"}),
]


@pytest.mark.parametrize("method", ["POST", "GET", "PUT"])
@pytest.mark.parametrize(("answer", "codes"), [row[1:] for row in UNANSWERED], ids=[row[0] for row in UNANSWERED])
async def test_unanswered_with_exactly_one_hit(answer: "bytes | Peer", codes: set[str], method: str) -> None:
    async with serving(answer) as server, sending(seconds=0.4) as sender:
        error = await failing(sender, server.url, method=method)
        assert isinstance(error, UnansweredError)
        assert error.code in codes
        await asyncio.sleep(0.02)
        assert server.hits == 1


async def test_closed_before_reading() -> None:
    async def accept_and_reset(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        reset(writer)

    async with accepting(accept_and_reset) as server, sending() as sender:
        error = await failing(sender, server.url)
        # accepted: so the bytes may have been read, unless our own loop saw the end before it wrote
        assert (type(error), error.code) in {(UnansweredError, "reset"), (NotSentError, "stale_connection")}
        assert server.connections == 1


async def test_cancelled_call_leaves_nothing_behind() -> None:
    async with serving(silence) as server, sending() as sender:
        call = asyncio.create_task(sender.send(request(server.url)))
        async with asyncio.timeout(5):
            while not server.hits:  # noqa: ASYNC110 - a counter
                await asyncio.sleep(0.01)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert server.hits == 1
        assert_nothing_held(sender)


# --- the table -----------------------------------------------------------------------------------


def aiohttp_exceptions() -> set[type[BaseException]]:
    places = (aiohttp, aiohttp.client_exceptions)
    return {
        value
        for place in places
        for _name, value in inspect.getmembers(place, inspect.isclass)
        if issubclass(value, BaseException) and value.__module__.startswith("aiohttp.client")
    }


def test_every_exception_of_aiohttps_client_has_a_row() -> None:
    found = aiohttp_exceptions()
    assert len(found) > 20, "the reflection finds them"
    assert found - set(http.FAILURES) == set()


def test_a_failure_takes_the_row_of_its_nearest_class() -> None:
    class NewError(aiohttp.ServerDisconnectedError):
        pass

    assert http.explain(NewError()).code == "disconnected"
    assert http.explain(KeyError()).code == "unexpected"


async def test_a_sender_whose_marks_fail_believes_nothing_to_be_unsent() -> None:
    async with serving(OK) as server, sending() as sender:
        sender._marks_work = False
        error = await failing(sender, f"http://127.0.0.1:{free_port()}/")
        assert isinstance(error, UnansweredError)
        assert (await sender.send(request(server.url))).body == b"ok"
        assert not sender._marks_work


def test_connecting_has_no_more_time_than_the_call() -> None:
    assert Sender(1, 3)._timeout == aiohttp.ClientTimeout(
        total=3, connect=3, sock_connect=3, ceil_threshold=float("inf")
    )
    assert Sender(1, 30)._timeout.connect == 10
