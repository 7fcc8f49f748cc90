"""TLS to broker and database: what is verified, whole messages both ways, and again after a cut."""

import asyncio
import contextlib
import ssl
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from support import amqp
from support.certificates import certificate
from support.consumers import Handling
from support.doctor import TINY, about, collect, settings
from support.proxy import Proxy

from worker.broker.consumer import Consumer
from worker.broker.message import Outgoing
from worker.broker.publisher import Publisher
from worker.ops.doctor.broker import check_broker
from worker.ops.doctor.database import check_database

BODIES = [b"", b"x", b"y" * 65_536, b"z" * 2_000_000] + [b"%d" % number for number in range(200)]


def never(reason: str) -> None:
    pytest.fail(f"stuck: {reason}")


@pytest.fixture
def pem(tmp_path: Path) -> Path:
    """A key and the certificate that it signed itself."""
    path = tmp_path / "broker.pem"
    path.write_bytes(certificate())
    return path


@pytest.fixture
async def proxy(amqp_url: str, pem: Path) -> AsyncIterator[Proxy]:
    """The broker, behind what ends TLS."""
    async with Proxy(amqp_url, serving(pem)) as it:
        yield it


def serving(pem: Path) -> ssl.SSLContext:
    """How a server with this key and certificate ends TLS."""
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    context.load_cert_chain(pem)
    return context


async def test_messages_arrive_whole_and_again_after_a_cut(
    proxy: Proxy, pem: Path, amqp_url: str, amqp_prefix: str
) -> None:
    queue, url, handle = f"{amqp_prefix}.seen", f"{proxy.url}?cafile={pem}", Handling()
    amqp.quorum(amqp_url, queue)
    publisher = Publisher(url, on_stuck=never, chance=lambda: 0)
    await publisher.start()
    consumer = Consumer(
        url, [queue], handle, publish=publisher.publish, dead_exchange="", on_stuck=never, chance=lambda: 0
    )
    await consumer.start()
    try:
        for number in (1, 2):
            await amqp.until(lambda: consumer.ready and publisher.ready)
            assert await publisher.publish_many([Outgoing("", queue, body) for body in BODIES]) == [True] * len(BODIES)
            await amqp.until(lambda number=number: sum(handle.bodies.values()) >= number * len(BODIES))
            assert set(handle.bodies) == set(BODIES)
            proxy.cut()
            await amqp.until(lambda: not consumer.ready)
    finally:
        await consumer.stop()
        await publisher.stop()


async def test_a_stranger_s_broker_is_not_believed(proxy: Proxy, pem: Path, tmp_path: Path) -> None:
    for url, words in {
        proxy.url: ("CERTIFICATE_VERIFY_FAILED", "cafile="),
        f"{proxy.url.replace('127.0.0.1', 'localhost')}?cafile={pem}": ("CERTIFICATE_VERIFY_FAILED", "for the host"),
    }.items():
        given = settings(tmp_path / "worker.toml", {"one": TINY}, amqp={"url": url, "prefix": "orders"})
        finding = about(await collect(check_broker(given)), "broker")
        assert finding.status == "failed"
        assert words[0] in finding.detail
        assert words[1] in str(finding.fix)


async def test_a_stranger_s_database_is_not_believed(pem: Path, tmp_path: Path) -> None:
    async def postgres(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """As far as TLS goes: the tests' PostgreSQL is built without."""
        await reader.readexactly(8)
        writer.write(b"S")
        with contextlib.suppress(ssl.SSLError, ConnectionError):
            await writer.start_tls(serving(pem))
        writer.transport.abort()

    other = tmp_path / "other.pem"
    other.write_bytes(certificate())
    async with await asyncio.start_server(postgres, "127.0.0.1", 0) as server:
        there = f"postgresql://worker@127.0.0.1:{server.sockets[0].getsockname()[1]}/worker"
        dsn = f"{there}?sslmode=verify-full&sslrootcert={other}"
        given = settings(tmp_path / "worker.toml", {"one": TINY}, database={"dsn": dsn})
        finding = about(await collect(check_database(given)), "database")
    assert finding.status == "failed"
    assert "certificate verify failed" in finding.detail
    assert "sslrootcert=" in str(finding.fix)
