"""A relay in the test's own loop, behind a proxy to the broker, and clients that speak to it as strangers do."""

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from http import HTTPStatus
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import aiohttp
from support import amqp
from support.amqp import Got
from support.proxy import Proxy

from worker.app import build_gateways
from worker.broker.topology import Topology, declare
from worker.config import load
from worker.embedded.service import free_ports
from worker.relay import RelayProcess

DINGYIN_KEY = "dingyin-key"
_SETTINGS = """
[amqp]
url = "{url}"
prefix = "{prefix}"
[ops]
listen = "127.0.0.1:{ops}"
[relay]
listen = "127.0.0.1:0"
[gateways.wikeyun]
adapter = "wikeyun"
base_url = "http://127.0.0.1:1/wikeyun"
notify_url = "https://relay.example.com/callbacks/wikeyun"
store_id = "1"
app_key = "2"
app_secret = "3"
[gateways.dingyin]
adapter = "dingyin"
base_url = "http://127.0.0.1:1/dingyin"
notify_url = "https://relay.example.com/callbacks/dingyin"
userid = "10001"
key = "dingyin-key"
[gateways.campus]
adapter = "zjzdy"
base_url = "http://127.0.0.1:1/zjzdy"
"""


class Relaying:
    """A running relay: where it answers, and what it published."""

    def __init__(self, amqp_url: str, prefix: str, host: str, port: int, ops: int) -> None:
        self._amqp_url = amqp_url
        self.prefix = prefix
        self.host, self.port = host, port
        self.url = f"http://{host}:{port}"
        self.ops = f"http://127.0.0.1:{ops}"

    def relayed(self) -> list[Got]:
        """The callback messages that came since."""
        return amqp.take(self._amqp_url, f"{self.prefix}.callbacks")

    def letters(self) -> list[Got]:
        """The dead letters that came since."""
        return amqp.take(self._amqp_url, f"{self.prefix}.dead")

    async def probe(self) -> tuple[int, str]:
        """Return the status of `/readyz`, and what it says about the broker."""
        async with aiohttp.ClientSession() as http, http.get(f"{self.ops}/readyz") as answer:
            return answer.status, (await answer.json())["dependencies"]["broker"]["detail"]

    async def alive(self) -> bool:
        """Whether `/healthz` says so."""
        async with aiohttp.ClientSession() as http, http.get(f"{self.ops}/healthz") as answer:
            return answer.status == HTTPStatus.OK

    async def await_ready(self, status: int = 200, says: str = "", seconds: float = 40) -> str:
        """Wait until `/readyz` answers this; return what it says about the broker."""
        seen: tuple[int, str] = (0, "")
        for _ in range(int(seconds * 10)):
            seen = await self.probe()
            if seen[0] == status and says in seen[1]:
                return seen[1]
            await asyncio.sleep(0.1)
        raise AssertionError(seen)

    async def connect(self) -> "Client":
        """Return a new connection."""
        return Client(*await asyncio.open_connection(self.host, self.port))

    async def exchange(self, raw: bytes) -> tuple[int, bytes, bytes]:
        """Send bytes on a connection of its own; return status, head and body of the answer."""
        client = await self.connect()
        await client.send(raw)
        return await client.answer()


class Client:
    """One raw connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer

    async def send(self, raw: bytes) -> None:
        """Send bytes; a peer that has closed is found out by reading."""
        try:
            self._writer.write(raw)
            await self._writer.drain()
        except ConnectionError:
            return

    async def answer(self, seconds: float = 15) -> tuple[int, bytes, bytes]:
        """Read until the relay closes; return status (0: it said nothing), head and body."""
        async with asyncio.timeout(seconds):
            try:
                raw = await self._reader.read()
            except ConnectionError:
                raw = b""
        self._writer.close()
        head, _, body = raw.partition(b"\r\n\r\n")
        return int(head.split()[1]) if head else 0, head, body

    def abort(self) -> None:
        """Vanish."""
        self._writer.transport.abort()


def post(path: str, body: bytes, *headers: str, length: int | None = None) -> bytes:
    """Return a request's bytes; `length` is what its head claims."""
    lines = [f"POST {path} HTTP/1.1", "Host: relay", f"Content-Length: {len(body) if length is None else length}"]
    return "\r\n".join([*lines, *headers, "", ""]).encode("latin-1") + body


def dingyin(key: str = DINGYIN_KEY, **changes: str) -> bytes:
    """Return a dingyin callback's body, signed by the rule of `gateways.md` with hashlib alone."""
    fields = {
        "userid": "10001",
        "orderid": "D1",
        "sporderid": "T1",
        "merchantsubmittime": "20261121120000",
        "resultno": "1",
    } | changes
    text = "&".join(f"{name}={value}" for name, value in fields.items()) + f"&key={key}"
    sign = hashlib.md5(text.encode("gbk")).hexdigest().upper()  # noqa: S324 - the gateway's rule
    return urlencode({**fields, "parvalue": "100", "sign": sign}, encoding="gbk").encode()


@asynccontextmanager
async def relaying(
    amqp_url: str, prefix: str, directory: Path, *, through: Proxy | None = None, migrated: bool = True
) -> AsyncIterator[Relaying]:
    """Run a relay; it is asked to stop afterwards, and must have ended well."""
    if migrated:
        await declare(amqp_url, Topology(prefix))
    (ops,) = free_ports(1)
    config = directory / f"{prefix}.toml"
    config.write_text(_SETTINGS.format(url=through.url if through else amqp_url, prefix=prefix, ops=ops))
    settings = load(config, {}, required=("amqp.url", "gateways"))
    gateways = build_gateways(settings)
    process = RelayProcess(settings, gateways)
    stop = asyncio.Event()
    running: asyncio.Task[Any] = asyncio.create_task(process.run(stop))
    try:
        await amqp.until(lambda: running.done() or process.address)
        assert process.address is not None, running.result()
        relay = Relaying(amqp_url, prefix, process.address.host, process.address.port, ops)
        if through is None and migrated:
            await amqp.until(lambda: process.ready)
        yield relay
    finally:
        stop.set()
        ended = await running
        for gateway in gateways.values():
            await gateway.close()
    assert ended == 0
