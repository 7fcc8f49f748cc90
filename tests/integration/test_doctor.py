"""The doctor as a whole: nothing to say about what is in order, and never silent, late or broken by what is not."""

import asyncio
import ssl
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from support.certificates import certificate
from support.doctor import HOUSES, TINY, about, collect, gateway, settings, trouble
from support.peers import accepting, serving

from worker.broker.topology import Topology, declare
from worker.config import Settings
from worker.core.finding import Finding
from worker.ops.doctor import examine, visit
from worker.ops.doctor.gateways import check_gateway
from worker.sandbox import Sandbox, SandboxSettings


@asynccontextmanager
async def market(directory: Path) -> AsyncIterator[str]:
    """All simulators, as the houses want them; their keys are in `directory`."""
    simulated = {house.simulator: dict(house.simulated(directory)) for house in HOUSES.values()}
    async with Sandbox(SandboxSettings(port=0, simulators=simulated)) as sandbox:
        yield sandbox.url


async def silent(_reader: asyncio.StreamReader, _writer: asyncio.StreamWriter) -> None:
    """Take a connection, and say nothing."""
    await asyncio.sleep(60)


async def test_a_clean_run(amqp_url: str, amqp_prefix: str, ledger_dsn: str, tmp_path: Path) -> None:
    await declare(amqp_url, Topology(amqp_prefix))
    keys = tmp_path / "keys"
    async with market(keys) as base:
        gateways = {name: gateway(name, base, keys) for name in HOUSES}
        amqp, database = {"url": amqp_url, "prefix": amqp_prefix}, {"dsn": ledger_dsn}
        findings = await examine(settings(tmp_path / "worker.toml", gateways, amqp=amqp, database=database))
    assert not trouble(findings)
    told = {finding.check: finding.detail for finding in findings}
    assert told["gateways.wikeyun"].startswith("balance ")
    assert told["gateways.zjzdy"] == "it can be connected to; it keeps no balance for us"
    assert {"gateways.wikeyun.clock", "gateways.dingyin.signature", "gateways.wechat_ebike.private_key"} <= set(told)
    assert "canary" not in str(findings)


async def test_nothing_is_there(tmp_path: Path) -> None:
    given = settings(tmp_path / "worker.toml", {"one": TINY, "two": gateway("wikeyun", "http://127.0.0.1:1", tmp_path)})
    found = trouble(await examine(given))
    failed = {check for check, status in found.items() if status == "failed"}
    assert failed == {"broker", "database", "gateways.one", "gateways.two"}


async def test_everything_hangs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(visit, "BOUND_SECONDS", 2)
    async with AsyncExitStack() as stack:
        ports = [(await stack.enter_async_context(accepting(silent))).port for _ in range(3)]
        given = settings(
            tmp_path / "worker.toml",
            {"one": gateway("wikeyun", f"http://127.0.0.1:{ports[0]}", tmp_path)},
            amqp={"url": f"amqp://guest:guest@127.0.0.1:{ports[1]}/"},
            database={"dsn": f"postgresql://worker@127.0.0.1:{ports[2]}/worker"},
        )
        began = time.monotonic()
        findings = await examine(given)
        assert time.monotonic() - began < 7
    for check in ("database", "broker", "gateways.one"):
        assert about(findings, check).status == "failed"
        assert "no answer within 2 s" in about(findings, check).detail
    assert about(findings, "gateways.one.signature").status == "ok"  # what was found before still counts


async def test_a_check_that_breaks_hides_no_other(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    async def broken(_settings: Settings) -> AsyncIterator[Finding]:
        yield Finding.ok("broker", "so far")
        raise ZeroDivisionError("s3cret")

    monkeypatch.setattr(visit, "check_broker", broken)
    findings = await examine(settings(tmp_path / "worker.toml", {"one": TINY}))
    told = [finding for finding in findings if finding.check == "broker"]
    assert [finding.status for finding in told] == ["ok", "failed"]
    assert "ZeroDivisionError at " in told[1].detail
    assert "s3cret" not in str(findings)
    assert about(findings, "database").status == "failed"


# --- gateways --------------------------------------------------------------------------------------


async def found(path: Path, name: str, given: dict[str, Any]) -> list[Finding]:
    known = settings(path / "worker.toml", {name: given})
    return await collect(check_gateway(name, known.gateways[name]))


def dated(moment: datetime, body: bytes = b'{"code":"0000","msg":"ok","data":{"money":"12.50"}}') -> bytes:
    date = f"{moment:%a, %d %b %Y %H:%M:%S GMT}"
    return f"HTTP/1.1 200 OK\r\nDate: {date}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


@pytest.mark.parametrize(("seconds", "status"), [(0, "ok"), (120, "warning"), (-120, "warning")])
async def test_a_gateway_s_clock(seconds: float, status: str, tmp_path: Path) -> None:
    async with serving(dated(datetime.now(UTC) + timedelta(seconds=seconds))) as server:
        findings = await found(tmp_path, "wikeyun", gateway("wikeyun", f"http://127.0.0.1:{server.port}", tmp_path))
    assert about(findings, "gateways.wikeyun").detail == "balance 12.50 yuan"
    assert about(findings, "gateways.wikeyun.clock").status == status
    told = about(findings, "gateways.wikeyun.clock").detail
    assert not seconds or ("ahead of" if seconds > 0 else "behind") in told


@pytest.mark.parametrize("date", [b"", b"Date: yesterday\r\n", b"Date: Sun, 22 Nov 2026 12:00:00\r\n"])
async def test_a_gateway_that_does_not_tell_its_time(date: bytes, tmp_path: Path) -> None:
    body = b'{"code":"0000","data":{"money":"1"}}'
    answer = b"HTTP/1.1 200 OK\r\n%sContent-Length: %d\r\n\r\n%s" % (date, len(body), body)
    async with serving(answer) as server:
        findings = await found(tmp_path, "wikeyun", gateway("wikeyun", f"http://127.0.0.1:{server.port}", tmp_path))
    assert not trouble(findings)
    assert "gateways.wikeyun.clock" not in {finding.check for finding in findings}


async def test_a_secret_that_is_wrong(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    async with market(keys) as base:
        findings = await found(tmp_path, "wikeyun", gateway("wikeyun", base, keys, app_secret="another"))
    assert trouble(findings) == {"gateways.wikeyun": "failed"}
    assert "compare key, secret" in str(about(findings, "gateways.wikeyun").fix)


async def test_a_gateway_without_a_balance_that_is_away(tmp_path: Path) -> None:
    (finding,) = await found(tmp_path, "one", dict(TINY))
    assert (finding.status, finding.detail) == ("failed", "no connection: Connection refused")


async def test_a_certificate_that_nobody_vouches_for_or_that_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pem = tmp_path / "server.pem"
    pem.write_bytes(certificate(days=5))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(pem)
    listening = await asyncio.start_server(silent, "127.0.0.1", 0, ssl=context)
    try:
        given = {**TINY, "base_url": f"https://127.0.0.1:{listening.sockets[0].getsockname()[1]}"}
        findings = await found(tmp_path, "one", given)
        assert trouble(findings) == {"gateways.one": "failed"}
        assert "its certificate is not trusted" in about(findings, "gateways.one").detail
        monkeypatch.setenv("SSL_CERT_FILE", str(pem))
        findings = await found(tmp_path, "one", given)
        assert trouble(findings) == {"gateways.one.tls": "warning"}
    finally:
        listening.close()
