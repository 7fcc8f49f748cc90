"""Senders to be tried, and what has to hold of each call that fails."""

import contextlib
from collections.abc import AsyncIterator

import pytest

from worker.gateways.base import Request
from worker.gateways.http import CallError, Sender
from worker.gateways.lease import Lease


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


def fails(error: CallError, kind: type[CallError], code: str) -> None:
    assert (type(error), error.code) == (kind, code), error
