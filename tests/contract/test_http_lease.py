"""The sender's last look: nothing leaves once the lease, or the call's own time, is over."""

import asyncio
import time
from typing import Any

import aiohttp
import pytest
from aiohttp.http import StreamWriter
from support.peers import OK, serving
from support.senders import failing, fails, request, sending

from worker.gateways.http import NotSentError
from worker.gateways.lease import Lease


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
    """The head is buffered; the task that writes it runs at once, or, before Python 3.12, a loop iteration later."""
    clock = Hand()
    original = StreamWriter.write_headers

    async def stopped(self: StreamWriter, *arguments: Any) -> None:
        await original(self, *arguments)
        clock.now += 3600

    async with serving(OK) as server, sending(seconds=2, concurrency=1) as sender:
        monkeypatch.setattr(StreamWriter, "write_headers", stopped)
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
