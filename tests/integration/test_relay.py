"""The relay between HTTP and a real broker: what it relays, what it refuses, and what each gateway hears."""

import asyncio
import base64
import gzip
import json
import signal
import socket
from collections.abc import AsyncIterator
from http import HTTPStatus
from pathlib import Path

import pytest
from support import amqp, wire
from support.process import WorkerProcess
from support.proxy import Proxy
from support.relaying import Relaying, dingyin, post, relaying
from support.waiting import until

from schemas.callbacks import GatewayCallback
from schemas.dead import DeadHeaders
from worker.broker.topology import Topology, declare
from worker.embedded.service import free_ports
from worker.relay.receiver import LETTERS_A_MINUTE

FORM = "Content-Type: application/x-www-form-urlencoded"
CALLBACK = b"order_no=T1&order_number=W1&status=2"


@pytest.fixture
async def relay(amqp_url: str, amqp_prefix: str, tmp_path: Path) -> AsyncIterator[Relaying]:
    async with relaying(amqp_url, amqp_prefix, tmp_path) as running:
        yield running


# --- what is relayed -----------------------------------------------------------------------------


async def test_a_callback_is_published_untouched_and_acknowledged_as_its_gateway_wants(relay: Relaying) -> None:
    body = bytes(range(256)) + CALLBACK
    status, head, answer = await relay.exchange(
        post("/callbacks/wikeyun?a=%2f&b", body, FORM, "X-Twice: one", "x-twice: two", "X-Odd: Stra\xdfe")
    )
    assert (status, answer) == (200, b"success")
    assert b"Connection: close" in head
    ((method, properties, raw),) = relay.relayed()
    assert method.routing_key == "callback.wikeyun"
    assert method.exchange == relay.prefix
    assert (properties.type, properties.content_type, properties.delivery_mode) == (
        "gateway.callback",
        "application/json",
        2,
    )
    message = json.loads(raw)
    GatewayCallback.model_validate_json(raw)
    assert base64.b64decode(message["body"]) == body
    assert (message["gateway"], message["method"], message["path"], message["query"]) == (
        "wikeyun",
        "POST",
        "/callbacks/wikeyun",
        "a=%2f&b",
    )
    assert message["headers"]["x-twice"] == "one, two"
    assert message["headers"]["x-odd"] == "Straße"
    assert message["headers"]["content-type"] == "application/x-www-form-urlencoded"
    assert message["remote_addr"] == "127.0.0.1"
    assert wire.moment(-60) < message["received_at"] < wire.moment(1)


async def test_the_peer_is_the_remote_address_whatever_a_header_says(relay: Relaying) -> None:
    await relay.exchange(post("/callbacks/wikeyun", CALLBACK, FORM, "X-Forwarded-For: 203.0.113.9"))
    ((_, _, raw),) = relay.relayed()
    message = json.loads(raw)
    assert message["remote_addr"] == "127.0.0.1"
    assert message["headers"]["x-forwarded-for"] == "203.0.113.9"


async def test_bodies_come_chunked_compressed_empty_or_unreadable_and_go_on_as_they_are(relay: Relaying) -> None:
    packed = gzip.compress(CALLBACK)
    chunked = b"5\r\norder\r\n3\r\n_no\r\n0\r\n\r\n"
    head = b"POST /callbacks/wikeyun HTTP/1.1\r\nHost: relay\r\nTransfer-Encoding: chunked\r\n\r\n"
    for request in (
        head + chunked,
        post("/callbacks/wikeyun", packed, FORM, "Content-Encoding: gzip"),
        post("/callbacks/wikeyun", b""),
        post("/callbacks/wikeyun", b'{"order_no', "Content-Type: application/json"),
        post("/callbacks/wikeyun", b"\xff" * 128 * 1024, FORM),
    ):
        assert (await relay.exchange(request))[::2] == (200, b"success")
    bodies = [base64.b64decode(json.loads(raw)["body"]) for _, _, raw in relay.relayed()]
    assert sorted(bodies) == sorted([b"order_no", packed, b"", b'{"order_no', b"\xff" * 128 * 1024])


async def test_a_client_that_waits_to_be_asked_for_its_body_is_asked(relay: Relaying) -> None:
    client = await relay.connect()
    await client.send(post("/callbacks/wikeyun", b"", FORM, "Expect: 100-continue", length=len(CALLBACK)))
    await asyncio.sleep(0.1)
    await client.send(CALLBACK)
    status, _, rest = await client.answer()
    assert status == HTTPStatus.CONTINUE
    assert rest.startswith(b"HTTP/1.1 200")
    assert len(relay.relayed()) == 1


# --- signatures ----------------------------------------------------------------------------------


async def test_a_good_signature_is_relayed_and_a_bad_one_is_a_dead_letter(relay: Relaying) -> None:
    good, forged = dingyin(), dingyin(key="another")
    status, _, answer = await relay.exchange(post("/callbacks/dingyin", good, FORM))
    assert (status, answer) == (200, b"OK")
    status, _, answer = await relay.exchange(post("/callbacks/dingyin", forged, FORM))
    assert answer != b"OK"
    ((_, _, raw),) = relay.relayed()
    assert base64.b64decode(json.loads(raw)["body"]) == good
    ((method, properties, raw),) = relay.letters()
    assert method.routing_key == "callback.dingyin"
    assert base64.b64decode(json.loads(raw)["body"]) == forged
    headers = DeadHeaders.model_validate({k: v for k, v in properties.headers.items() if k.startswith("x-dead")})
    assert (headers.reason, headers.queue) == ("bad_signature", f"{relay.prefix}.callbacks")


async def test_strangers_fill_no_disk(relay: Relaying) -> None:
    for _ in range(LETTERS_A_MINUTE + 5):
        _, _, answer = await relay.exchange(post("/callbacks/dingyin", dingyin(key="another"), FORM))
        assert answer != b"OK"
    assert (await relay.exchange(post("/callbacks/dingyin", dingyin(), FORM)))[2] == b"OK"
    assert len(relay.letters()) == LETTERS_A_MINUTE
    assert len(relay.relayed()) == 1


# --- what is refused -----------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("status", "request_"),
    [
        (404, post("/callbacks/nobody", CALLBACK, FORM)),
        (404, post("/callbacks/campus", CALLBACK, FORM)),  # zjzdy sends none
        (404, post("/callbacks/", CALLBACK, FORM)),
        (404, post("/callbacks/wikeyun/", CALLBACK, FORM)),
        (404, post("/callbacks/%77ikeyun", CALLBACK, FORM)),
        (404, post("/", CALLBACK, FORM)),
        (405, b"GET /callbacks/wikeyun HTTP/1.1\r\nHost: relay\r\n\r\n"),
        (405, b"PUT /callbacks/wikeyun HTTP/1.1\r\nHost: relay\r\nContent-Length: 1\r\n\r\nx"),
        (415, post("/callbacks/wikeyun", CALLBACK, "Content-Type: multipart/form-data; boundary=x")),
        (415, post("/callbacks/wikeyun", CALLBACK, "Content-Type: image/png")),
        (413, post("/callbacks/wikeyun", b"x" * (128 * 1024 + 1), FORM)),
        (413, post("/callbacks/wikeyun", b"x", FORM, length=10**9)),
        (400, post("/callbacks/wikeyun", CALLBACK, "no header at all")),
        (400, b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + bytes(64) + b"\r\n\r\n"),
        (400, post("/callbacks/wikeyun", CALLBACK, "X-Long: " + "x" * 9000)),
        (431, post("/callbacks/wikeyun", b"x" * 128 * 1024, *[f"X-{n}: {'x' * 8000}" for n in range(12)])),
    ],
)
async def test_what_no_gateway_of_ours_can_have_meant_is_refused(relay: Relaying, status: int, request_: bytes) -> None:
    seen, _, _ = await relay.exchange(request_)
    assert seen == status
    assert (await relay.exchange(post("/callbacks/wikeyun", CALLBACK, FORM)))[0] == 200
    assert len(relay.relayed()) == 1
    assert not relay.letters()


async def test_a_method_that_is_not_allowed_names_the_one_that_is(relay: Relaying) -> None:
    _, head, _ = await relay.exchange(b"DELETE /callbacks/wikeyun HTTP/1.1\r\nHost: relay\r\n\r\n")
    assert b"\r\nAllow: POST" in head


async def test_a_chunked_body_is_limited_too(relay: Relaying) -> None:
    client = await relay.connect()
    await client.send(b"POST /callbacks/wikeyun HTTP/1.1\r\nHost: relay\r\nTransfer-Encoding: chunked\r\n\r\n")
    await client.send(b"10000\r\n" + b"x" * 0x10000 + b"\r\n")
    await client.send(b"10000\r\n" + b"x" * 0x10000 + b"\r\n1\r\nx\r\n0\r\n\r\n")
    assert (await client.answer())[0] == 413
    assert not relay.relayed()


# --- the broker is away --------------------------------------------------------------------------


async def test_with_the_broker_away_a_gateway_is_told_in_time_to_come_again(
    amqp_url: str, amqp_prefix: str, tmp_path: Path
) -> None:
    loop = asyncio.get_running_loop()
    request = post("/callbacks/wikeyun", CALLBACK, FORM)
    async with Proxy(amqp_url) as proxy, relaying(amqp_url, amqp_prefix, tmp_path, through=proxy) as relay:
        await relay.await_ready(200)
        assert (await relay.exchange(request))[0] == 200
        await proxy.refuse()
        await relay.await_ready(503)
        began = loop.time()
        status, head, answer = await relay.exchange(request)
        assert (status, b"success" in answer, b"Retry-After" in head) == (503, False, True)
        assert loop.time() - began < 6
        assert await relay.alive()
        await proxy.accept()
        await relay.await_ready(200)
        proxy.blackhole()  # the message may have got there, and nobody knows: it must come again
        began = loop.time()
        assert (await relay.exchange(request))[0] == 503
        assert loop.time() - began < 6
        await relay.await_ready(200)
        assert (await relay.exchange(request))[0] == 200
        assert len(relay.relayed()) >= 2


async def test_without_queues_it_waits_and_says_what_is_missing(
    amqp_url: str, amqp_prefix: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("worker.relay.process.RETRY_SECONDS", 0.2)
    async with relaying(amqp_url, amqp_prefix, tmp_path, migrated=False) as relay:
        detail = await relay.await_ready(503, "is missing")
        assert "worker migrate --broker" in detail
        assert (await relay.exchange(post("/callbacks/wikeyun", CALLBACK, FORM)))[0] == 503
        await declare(amqp_url, Topology(amqp_prefix))
        await relay.await_ready(200)
        assert (await relay.exchange(post("/callbacks/wikeyun", CALLBACK, FORM)))[0] == 200


async def test_what_is_being_relayed_when_it_is_told_to_stop_is_answered(
    amqp_url: str, amqp_prefix: str, tmp_path: Path
) -> None:
    async with Proxy(amqp_url) as proxy:
        async with relaying(amqp_url, amqp_prefix, tmp_path, through=proxy) as relay:
            await relay.await_ready()
            proxy.blackhole()
            waiting = asyncio.create_task(relay.exchange(post("/callbacks/wikeyun", CALLBACK, FORM)))
            await asyncio.sleep(0.3)
            assert not waiting.done()
        assert (await waiting)[0] == 503


# --- the process ---------------------------------------------------------------------------------


def _settings(directory: Path, url: str, prefix: str, port: int, ops: int) -> Path:
    config = directory / "relay.toml"
    config.write_text(
        f"""
[amqp]
url = "{url}"
prefix = "{prefix}"
[ops]
listen = "127.0.0.1:{ops}"
[relay]
listen = "127.0.0.1:{port}"
[gateways.wikeyun]
adapter = "wikeyun"
base_url = "http://127.0.0.1:1/wikeyun"
notify_url = "https://relay.example.com/callbacks/wikeyun"
store_id = "1"
app_key = "2"
app_secret = "3"
"""
    )
    return config


def test_the_command_relays_without_a_database_and_a_signal_ends_it_well(
    amqp_url: str, amqp_prefix: str, tmp_path: Path
) -> None:
    asyncio.run(declare(amqp_url, Topology(amqp_prefix)))
    port, ops = free_ports(2)
    config = _settings(tmp_path, amqp_url, amqp_prefix, port, ops)
    with WorkerProcess(config, ops, tmp_path / "relay.log", spawn=True, command="relay") as relay:
        relay.await_ready()
        with socket.create_connection(("127.0.0.1", port)) as idle, socket.create_connection(("127.0.0.1", port)) as it:
            it.sendall(post("/callbacks/wikeyun", CALLBACK, FORM))
            assert b"success" in it.recv(4096)
            assert relay.terminate(10) == 0
            assert idle.recv(1) == b""
    assert len(amqp.take(amqp_url, f"{amqp_prefix}.callbacks")) == 1
    assert '"outcome":"relayed","count":1' in relay.log.read_text()


def test_with_the_broker_away_at_start_it_waits_and_can_be_ended(tmp_path: Path) -> None:
    port, ops, nobody = free_ports(3)
    config = _settings(tmp_path, f"amqp://guest:guest@127.0.0.1:{nobody}/", "orders", port, ops)
    with WorkerProcess(config, ops, tmp_path / "relay.log", command="relay") as relay:
        until(lambda: relay.probe("/healthz") == 200, 20, relay.tail)
        assert relay.probe("/readyz") == 503
        with socket.create_connection(("127.0.0.1", port)) as it:
            it.sendall(post("/callbacks/wikeyun", CALLBACK, FORM))
            assert it.recv(4096).startswith(b"HTTP/1.1 503")
        until(lambda: "the broker cannot be used" in relay.tail(), 10, relay.tail)
        relay.send(signal.SIGINT)
        assert relay.await_end(10) == 0


def test_a_taken_port_names_the_setting_and_exits_2(amqp_url: str, tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        (ops,) = free_ports(1)
        config = _settings(tmp_path, amqp_url, "orders", taken.getsockname()[1], ops)
        with WorkerProcess(config, ops, tmp_path / "relay.log", command="relay") as relay:
            assert relay.await_end() == 2
            assert "relay.listen: expected an address that is free" in relay.tail()
