"""The sender: what goes out and comes back byte for byte, also over a connection that is used again."""

import asyncio
import gzip
from typing import Any

import aiohttp
import pytest
from support.peers import OK, reset, serving
from support.senders import assert_nothing_held, failing, fails, request, sending

from worker.gateways.http import NotSentError, UnansweredError

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
