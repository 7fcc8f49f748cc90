"""dingyin behind its gateway: a balance that is used up, a cost too high, and what must not be shown."""

import json

import pytest
from structlog.testing import capture_logs
from support.dingyin import HOLDER, KEY, METER, NOW, NUMBER, Answers, adapter, answer, order

from worker.core.outcome import Outcome
from worker.gateways.gate import Gate
from worker.gateways.gateway import Gateway


def gateway(*bodies: bytes, pause: float = 60) -> Gateway:
    dialect = adapter(unfunded_pause_seconds=pause)
    return Gateway(dialect, Answers(*bodies), Gate(8), dialect.settings.policy(repeat_safe=False))


async def test_a_used_up_balance_pauses_submits_and_is_told_once() -> None:
    one = gateway(answer("5002"), answer("5002"), answer("2", sporderid=NUMBER), pause=30)
    with capture_logs() as logs:
        for _ in range(2):  # both were on their way
            assert (await one.submit(order(), NOW, None)).outcome is Outcome.UNFUNDED
    assert [(line["event"], line["log_level"], line["gateway"], line["code"], line["seconds"]) for line in logs] == [
        ("gateway_unfunded", "error", "dingyin", "5002", 30)
    ]
    assert one.gate.free_submits() == 0
    assert one.gate.breaker == "closed"
    assert (await one.query(order(), NOW)).code == "2", "questions go on"


async def test_the_pause_ends_by_itself() -> None:
    one = gateway(answer("5002"), pause=0.05)
    with capture_logs():
        await one.submit(order(), NOW, None)
    assert not one.gate.try_enter_submit()
    assert await one.gate.enter_submit(5)


async def test_a_refusal_pauses_nothing() -> None:
    one = gateway(answer("5003"))
    with capture_logs() as logs:
        assert (await one.submit(order(), NOW, None)).outcome is Outcome.REJECTED
    assert one.gate.try_enter_submit()
    assert logs == []


@pytest.mark.parametrize(("cash", "told"), [("99.99", False), ("100", False), ("100.01", True)])
async def test_a_cost_above_the_amount_is_journalled_and_warned_about(cash: str, told: bool) -> None:  # noqa: FBT001
    one = gateway(answer("0", ordercash=cash, orderid="XS1"))
    with capture_logs() as logs:
        outcome = await one.submit(order(amount_fen=10_000), NOW, None)
        report = await one.query(order(amount_fen=10_000, cost_fen=outcome.cost_fen), NOW)
    assert outcome.outcome is Outcome.ACCEPTED
    assert report.cost_fen == outcome.cost_fen
    assert ("it costs 100.01 yuan, above the order's 100.00" in str(outcome.message)) is told
    assert [(line["event"], line["log_level"], line["cost_fen"]) for line in logs] == [
        ("cost_above_amount", "warning", 10_001)
    ] * told, "once: the query finds it known"


@pytest.mark.parametrize(
    "body",
    [answer("0", orderid="XS1", account=METER, userip=HOLDER, username=HOLDER[-6:]),
     answer("5003", sign="S1GN", productname=f"朱镕基 {HOLDER} {KEY}"),
     answer("0", account=f'{{"userid":"{METER}","username":"{HOLDER[-6:]}"}}'.replace('"', "&quot;")),
     f"<html>{METER} sign=S1GN&key={KEY} {HOLDER}".encode("gbk"), b"\xff" + METER.encode() + KEY.encode()],
)  # fmt: skip
async def test_what_must_not_be_shown_is_not(body: bytes) -> None:
    one = gateway(body)
    secretive = order("power", grid="southern", holder_id=HOLDER)
    with capture_logs() as logs:
        outcome = await one.submit(secretive, NOW, None)
        fact = (await one.query(secretive, NOW)).fact(secretive, 1)
    for shown in (repr(outcome), repr(fact), repr(logs)):
        for secret in (METER, HOLDER, HOLDER[-6:], KEY, "S1GN"):
            assert secret not in shown
    request = outcome.evidence["request"]
    assert request["account"] == (
        '{"product_type":"3","userid":"320****7890","username":"****","type":"1","area":"江苏","city":"南京"}'
    )
    assert (request["sporderid"], request["userip"], request["num"]) == (NUMBER, "320****1234", "100")
    assert "sign" not in request
    assert "镕" in outcome.evidence["reply"] or "镕".encode("gbk") not in body, "the journal keeps what GBK says"
    assert len(json.dumps(dict(outcome.evidence))) < 4096
