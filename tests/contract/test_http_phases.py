"""The sender against real sockets: every way a call can fail, which phase it is in, and one hit at most."""

import asyncio
import contextlib
import gzip
import inspect
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import aiohttp
import aiohttp.client_exceptions
import pytest

from worker.gateways import http
from worker.gateways.base import Request
from worker.gateways.http import CallError, NotSentError, Sender, UnansweredError
from worker.gateways.lease import Lease

CANARY = "sign=CANARY"
OK = b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

Peer = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]


class Server:
    """A listening socket that counts requests and answers them as told."""

    def __init__(self, answer: "bytes | Peer") -> None:
        self.answer = answer
        self.hits = 0
        self.connections = 0
        self.heads: list[bytes] = []
        self.port = 0
        self.writers: list[asyncio.StreamWriter] = []

    @property
    def url(self) -> str:
        """Where to send to."""
        return f"http://127.0.0.1:{self.port}/push?{CANARY}"

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Read requests and answer them; a peer answers once, then it is closed."""
        self.connections += 1
        self.writers.append(writer)
        with contextlib.suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                head = await reader.readuntil(b"\r\n\r\n")
                length = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length:")]
                if length:
                    await reader.readexactly(int(length[0].partition(b":")[2]))
                self.hits += 1
                self.heads.append(head)
                if isinstance(self.answer, bytes):
                    writer.write(self.answer)
                    await writer.drain()
                else:
                    await self.answer(reader, writer)
                    break
        writer.close()


@contextlib.asynccontextmanager
async def serving(answer: "bytes | Peer") -> AsyncIterator[Server]:
    server = Server(answer)
    listening = await asyncio.start_server(server.serve, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for writer in server.writers:
            writer.transport.abort()
        await asyncio.sleep(0)


@contextlib.asynccontextmanager
async def accepting(peer: Peer) -> AsyncIterator[Server]:
    """Serve with a peer that gets the bare connection, before anything is read."""
    server = Server(b"")

    async def accept(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        server.connections += 1
        server.writers.append(writer)
        await peer(reader, writer)

    listening = await asyncio.start_server(accept, "127.0.0.1", 0)
    server.port = listening.sockets[0].getsockname()[1]
    try:
        yield server
    finally:
        listening.close()
        for writer in server.writers:
            writer.transport.abort()
        await asyncio.sleep(0.01)


@contextlib.asynccontextmanager
async def sending(*, seconds: float = 2.0, concurrency: int = 4) -> AsyncIterator[Sender]:
    sender = Sender(concurrency, seconds)
    try:
        yield sender
    finally:
        await sender.close()


def request(url: str, method: str = "POST") -> Request:
    body = b"mobile=13800138000" if method == "POST" else b""
    return Request("push", method, url, body, "application/x-www-form-urlencoded" if body else None, moves_money=True)


async def failing(sender: Sender, url: str, lease: Lease | None = None, method: str = "POST") -> CallError:
    with pytest.raises(CallError) as caught:
        await sender.send(request(url, method), lease)
    error = caught.value
    assert "CANARY" not in str(error)
    assert error.__cause__ is None
    assert error.__context__ is None, "aiohttp's text holds the signed address"
    assert_nothing_held(sender)
    return error


def assert_nothing_held(sender: Sender) -> None:
    """No connection and no slot of the pool is still held by a call that has ended."""
    if sender._session is not None and sender._session.connector is not None:
        assert not sender._session.connector._acquired
        assert not sender._session.connector._waiters


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def reset(writer: asyncio.StreamWriter) -> None:
    writer.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


def fails(error: CallError, kind: type[CallError], code: str) -> None:
    assert (type(error), error.code) == (kind, code), error


async def silence(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    await asyncio.sleep(5)


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
        await asyncio.sleep(0.1)
        call.cancel()
        with pytest.raises(asyncio.CancelledError):
            await call
        assert server.hits == 1
        assert_nothing_held(sender)


# --- answers -------------------------------------------------------------------------------------


async def test_any_other_status_is_an_answer() -> None:
    answer = b"HTTP/1.1 502 Bad Gateway\r\nX-Trace: A\r\nContent-Length: 4\r\n\r\noops"
    async with serving(answer) as server, sending() as sender:
        reply = await sender.send(request(server.url))
        assert (reply.status, reply.headers["x-trace"], reply.body) == (502, "A", b"oops")


async def test_the_request_goes_out_byte_for_byte() -> None:
    async with serving(OK) as server, sending() as sender:
        query = "b=%2f%7E~%3a&a=+&empty="
        await sender.send(request(f"http://127.0.0.1:{server.port}/p%2Fq?{query}"))
        head = server.heads[0].decode()
        assert head.startswith(f"POST /p%2Fq?{query} HTTP/1.1\r\n")
        assert "\r\nAccept-Encoding: identity\r\n" in head
        assert "\r\nContent-Type: application/x-www-form-urlencoded\r\n" in head
        assert "cookie" not in head.lower()


async def test_a_get_has_no_body_and_cookies_are_forgotten() -> None:
    answer = b"HTTP/1.1 200 OK\r\nSet-Cookie: a=b\r\nContent-Length: 2\r\n\r\nok"
    async with serving(answer) as server, sending() as sender:
        for _ in range(2):
            await sender.send(request(server.url, "GET"))
        assert server.connections == 1
        assert b"ookie" not in server.heads[1]
        assert b"Content-Length" not in server.heads[1]


async def test_gzip_although_we_asked_for_none() -> None:
    body = gzip.compress(b'{"code":"0000"}')
    answer = b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: %d\r\n\r\n" % len(body) + body
    async with serving(answer) as server, sending() as sender:
        assert (await sender.send(request(server.url))).body == b'{"code":"0000"}'


# --- connections that are used again -------------------------------------------------------------


async def test_a_connection_that_the_server_closed_while_idle_is_replaced() -> None:
    async with serving(OK) as server, sending() as sender:
        await sender.send(request(server.url))
        server.writers[0].close()
        await asyncio.sleep(0.05)
        assert (await sender.send(request(server.url))).body == b"ok"
        assert (server.hits, server.connections) == (2, 2)


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_a_connection_that_dies_when_it_is_used_again_is_not_tried_twice(method: str) -> None:
    answers = iter([OK, b""])

    async def once(_reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(next(answers))
        await _reader.readuntil(b"\r\n\r\n")
        server.hits += 1
        reset(writer)

    async with serving(once) as server, sending() as sender:
        await sender.send(request(server.url, method))
        error = await failing(sender, server.url, method=method)
        fails(error, UnansweredError, "reset")
        assert (server.hits, server.connections) == (2, 1)


async def test_an_answer_nobody_asked_for_is_not_taken_for_the_next_calls() -> None:
    async def twice(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK)
        await asyncio.sleep(0.05)
        writer.write(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nother")
        await reader.read()

    async with serving(twice) as server, sending() as sender:
        await sender.send(request(server.url))
        await asyncio.sleep(0.15)
        try:
            assert (await sender.send(request(server.url))).body == b"ok"
        except NotSentError as error:
            assert error.code == "stale_connection"  # noqa: PT017 - either is right, the foreign answer is not
        assert_nothing_held(sender)


@pytest.mark.parametrize("method", ["POST", "GET"])
async def test_a_connection_that_ends_in_the_last_moment_is_not_written_to(
    monkeypatch: pytest.MonkeyPatch, method: str
) -> None:
    original = aiohttp.TCPConnector.connect

    async def closing(self: aiohttp.TCPConnector, *arguments: Any, **named: Any) -> object:
        connection = await original(self, *arguments, **named)
        assert connection.transport is not None
        connection.transport.close()
        return connection

    async with serving(OK) as server, sending() as sender:
        monkeypatch.setattr(aiohttp.TCPConnector, "connect", closing)
        fails(await failing(sender, server.url, method=method), NotSentError, "stale_connection")
        assert server.hits == 0


# --- the lease -----------------------------------------------------------------------------------


class Hand:
    """A clock that is moved by hand."""

    now = 1000.0

    def __call__(self) -> float:
        """Return the time that it was set to."""
        return self.now


async def test_a_call_that_could_outlive_its_lease_is_not_begun() -> None:
    async with serving(OK) as server, sending(seconds=2) as sender:
        fails(await failing(sender, server.url, Lease.lasting(1.5)), NotSentError, "lease_over")
        assert server.connections == 0
        assert (await sender.send(request(server.url), Lease.lasting(3))).body == b"ok"


@pytest.mark.parametrize("method", ["POST", "GET"])
@pytest.mark.parametrize("stage", ["connecting", "reusing"])
async def test_stopped_until_the_lease_is_over_before_the_bytes_leave(
    monkeypatch: pytest.MonkeyPatch, stage: str, method: str
) -> None:
    clock = Hand()
    async with serving(OK) as server, sending(seconds=2, concurrency=1) as sender:
        await sender.send(request(server.url))
        assert sender._session is not None
        connector = sender._session.connector
        assert isinstance(connector, aiohttp.TCPConnector)
        original = connector.connect
        if stage == "connecting":
            connector._keepalive_timeout = -1.0  # so that none is used again

        async def stopped(*arguments: Any, **named: Any) -> object:
            connection = await original(*arguments, **named)
            clock.now += 3600  # SIGSTOP here, SIGCONT an hour later
            return connection

        monkeypatch.setattr(connector, "connect", stopped)
        fails(await failing(sender, server.url, Lease.lasting(60, clock), method), NotSentError, "lease_over")
        assert server.hits == 1, "the connection was made, nothing was written"
        monkeypatch.undo()
        # the one slot of the pool is free again
        assert (await sender.send(request(server.url), Lease.lasting(60, clock))).body == b"ok"


async def test_stopped_between_the_head_and_the_bytes(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = Hand()
    original = aiohttp.ClientRequest.send

    async def stopped(self: aiohttp.ClientRequest, conn: Any) -> aiohttp.ClientResponse:
        response = await original(self, conn)
        clock.now += 3600  # the head is buffered, the task that writes has not run yet
        return response

    async with serving(OK) as server, sending(seconds=2, concurrency=1) as sender:
        monkeypatch.setattr(aiohttp.ClientRequest, "send", stopped)
        fails(await failing(sender, server.url, Lease.lasting(60, clock)), NotSentError, "lease_over")
        monkeypatch.undo()
        await asyncio.sleep(0.05)
        assert server.hits == 0
        assert (await sender.send(request(server.url), Lease.lasting(60, clock))).body == b"ok"
        assert server.hits == 1


async def test_time_that_is_over_before_the_bytes_leave_is_not_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    original = aiohttp.TCPConnector.connect

    async def blocked(self: aiohttp.TCPConnector, *arguments: Any, **named: Any) -> object:
        connection = await original(self, *arguments, **named)
        time.sleep(0.25)  # noqa: ASYNC251 - the whole process stands still
        return connection

    async with serving(OK) as server, sending(seconds=0.2) as sender:
        monkeypatch.setattr(aiohttp.TCPConnector, "connect", blocked)
        assert isinstance(await failing(sender, server.url), NotSentError)
        await asyncio.sleep(0.05)
        assert server.hits == 0


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
