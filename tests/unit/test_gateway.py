"""The driver: what each failure at each step means, and that money decides."""
# ruff: noqa: ARG002, D102 - the fakes take what the real ones take, and mean the same

import asyncio
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from worker.core.order import Order
from worker.core.outcome import Outcome, Report, Status, Submitted
from worker.core.policy import Policy
from worker.gateways.base import (
    Acknowledgement,
    Adapter,
    Call,
    CallbackRefusal,
    CallbackReport,
    RawCallback,
    Reply,
    Request,
    UnreadableReplyError,
)
from worker.gateways.breaker import BreakerState
from worker.gateways.gate import Gate
from worker.gateways.gateway import Gateway, GatewayUnavailableError
from worker.gateways.http import NotSentError, UnansweredError
from worker.gateways.lease import Lease
from worker.gateways.settings import GatewaySettings

NOW = datetime(2026, 1, 1, tzinfo=UTC)
ORDER = Order("T1", "shop", "oil", 100, {"card_no": "9030123456789012345"}, ("two",), "two")
REPLY = Reply(200, {}, b'{"ok":1}')
NOT_SENT = NotSentError("connect_refused", "no")
UNANSWERED = UnansweredError("timeout", "no")
BUG = KeyError("9030123456789012345")
UNREADABLE = UnreadableReplyError("card 9030123456789012345?")

Step = Exception | None


class TwoSteps(Adapter):
    """Adds a card, which moves no money, then pushes; `reads` are raised when the answers are read."""

    adapter = "two"
    products = frozenset({"oil"})
    settings_type = GatewaySettings

    def __init__(self, *, first: Step = None, second: Step = None, before: Step = None) -> None:
        super().__init__("two", None)
        self.before, self.first, self.second = before, first, second

    def submit(self, order: Order, now: datetime) -> Call[Submitted]:
        if self.before:
            raise self.before
        yield asking("card")
        if self.first:
            raise self.first
        yield asking("push", moves_money=True)
        if self.second:
            raise self.second
        return Submitted(Outcome.ACCEPTED, upstream_no="U1")

    def query(self, order: Order, now: datetime) -> Call[Report]:
        yield asking("query")
        if self.first:
            raise self.first
        return Report(Status.CHARGING)

    def balance(self, now: datetime) -> Call[int]:
        yield asking("balance")
        if self.first:
            raise self.first
        return 5

    def parse_callback(self, raw: RawCallback) -> CallbackReport | CallbackRefusal:
        if self.first:
            raise self.first
        return CallbackReport("T1", None, Report(Status.SUCCEEDED, proven=False))

    def acknowledge(self, *, ok: bool) -> Acknowledgement:
        return Acknowledgement(200, b"")


def asking(operation: str, *, moves_money: bool = False) -> Request:
    return Request(operation, "POST", "http://g/?x=1", b"a=1", None, moves_money)


class Script:
    """A sender that answers or fails as told."""

    def __init__(self, *steps: Step) -> None:
        self.steps = list(steps)
        self.sent: list[tuple[str, Lease | None]] = []

    async def send(self, request: Request, lease: Lease | None = None) -> Reply:
        self.sent.append((request.operation, lease))
        step = self.steps.pop(0) if self.steps else None
        if step is not None:
            raise step
        return REPLY

    async def close(self) -> None:
        self.sent.append(("close", None))


def gateway(adapter: Adapter, *steps: Step, observe: Callable[..., None] | None = None) -> Gateway:
    return Gateway(adapter, Script(*steps), Gate(4), Policy(), observe=observe)


async def submit(adapter: Adapter, *steps: Step) -> Submitted:
    return await gateway(adapter, *steps).submit(ORDER, NOW, None)


async def test_both_steps() -> None:
    script = Script()
    seen: list[tuple[Any, ...]] = []
    lease = Lease.lasting(60)
    gate = Gate(4)
    one = Gateway(TwoSteps(), script, gate, Policy(), observe=lambda *facts: seen.append(facts))
    outcome = await one.submit(ORDER, NOW, lease)
    assert (outcome.outcome, outcome.upstream_no) == (Outcome.ACCEPTED, "U1")
    assert script.sent == [("card", None), ("push", lease)]
    assert [(name, operation, result) for name, operation, _seconds, result in seen] == [
        ("two", "card", "http_200"),
        ("two", "push", "http_200"),
    ]
    exchange = {"request": {"a": "1"}, "http_status": 200, "reply": {"ok": 1}}
    assert outcome.evidence == {"operation": "push", **exchange, "earlier": [{"operation": "card", **exchange}]}


@pytest.mark.parametrize(
    ("adapter", "steps", "outcome", "code"),
    [
        (TwoSteps(), [NOT_SENT], Outcome.NOT_SENT, "connect_refused"),
        (TwoSteps(), [UNANSWERED], Outcome.NOT_SENT, "timeout"),
        (TwoSteps(), [None, NOT_SENT], Outcome.NOT_SENT, "connect_refused"),
        (TwoSteps(), [None, UNANSWERED], Outcome.UNKNOWN, "timeout"),
        (TwoSteps(before=BUG), [], Outcome.NOT_SENT, "adapter_error"),
        (TwoSteps(first=BUG), [], Outcome.NOT_SENT, "adapter_error"),
        (TwoSteps(second=BUG), [], Outcome.UNKNOWN, "adapter_error"),
        (TwoSteps(first=UNREADABLE), [], Outcome.NOT_SENT, "unreadable"),
        (TwoSteps(second=UNREADABLE), [], Outcome.UNKNOWN, "unreadable"),
        (TwoSteps(), [None, RuntimeError("in the sender")], Outcome.UNKNOWN, "adapter_error"),
    ],
)
async def test_money_decides(adapter: Adapter, steps: list[Step], outcome: Outcome, code: str) -> None:
    with capture_logs() as logs:
        made = await submit(adapter, *steps)
    assert (made.outcome, made.code) == (outcome, code)
    for shown in (repr(made), repr(logs)):
        assert "9030123456789012345" not in shown
    assert bool(logs) == (code == "adapter_error")


async def test_not_sent_after_money_moved_is_unknown() -> None:
    class Twice(TwoSteps):
        def submit(self, order: Order, now: datetime) -> Call[Submitted]:
            yield asking("push", moves_money=True)
            yield asking("confirm", moves_money=True)
            return Submitted(Outcome.ACCEPTED)

    assert (await submit(Twice(), None, NOT_SENT)).outcome is Outcome.UNKNOWN


async def test_unknown_has_the_answer_as_evidence() -> None:
    outcome = await submit(TwoSteps(second=UNREADABLE))
    assert outcome.evidence["reply"] == {"ok": 1}
    silent = await submit(TwoSteps(), None, UNANSWERED)
    assert "reply" not in silent.evidence


async def test_cancellation_is_passed_on() -> None:
    class Never(Script):
        async def send(self, request: Request, lease: Lease | None = None) -> Reply:
            await asyncio.sleep(60)
            return REPLY

    task = asyncio.create_task(Gateway(TwoSteps(), Never(), Gate(4), Policy()).submit(ORDER, NOW, None))
    await asyncio.sleep(0)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task


async def test_the_breaker_hears_of_submits() -> None:
    one = gateway(TwoSteps(), *[UNANSWERED] * 5)
    for n in range(5):
        await one.submit(ORDER.changed({"order_no": f"T{n}"}), NOW, None)
    assert one.gate.breaker == "open"
    await one.submit(ORDER, NOW, None)
    assert one.gate.breaker == "closed"


async def test_the_breaker_does_not_hear_of_leases() -> None:
    one = gateway(TwoSteps(), *[NotSentError("lease_over", "")] * 9)
    for _ in range(9):
        assert (await one.submit(ORDER, NOW, None)).outcome is Outcome.NOT_SENT
    assert one.gate.breaker is BreakerState.CLOSED


@pytest.mark.parametrize(
    ("adapter", "steps", "code"),
    [
        (TwoSteps(), [NOT_SENT], "connect_refused"),
        (TwoSteps(), [UNANSWERED], "timeout"),
        (TwoSteps(first=UNREADABLE), [], "unreadable"),
        (TwoSteps(first=BUG), [], "adapter_error"),
    ],
)
async def test_a_query_or_balance_without_an_answer(adapter: Adapter, steps: list[Step], code: str) -> None:
    one = gateway(adapter, *steps)
    report = await one.query(ORDER, NOW)
    assert (report.status, report.code) == (Status.SILENT, code)
    assert "9030123456789012345" not in repr(report)
    other = gateway(adapter, *steps)
    with pytest.raises(GatewayUnavailableError) as caught:
        await other.balance(NOW)
    assert caught.value.code == code
    assert "9030123456789012345" not in str(caught.value)
    assert (one.gate.in_flight, other.gate.in_flight) == (0, 0)


async def test_queries_and_balances() -> None:
    one = gateway(TwoSteps())
    assert (await one.query(ORDER, NOW)).status is Status.CHARGING
    assert await one.balance(NOW) == 5
    await one.close()
    assert one.gate.in_flight == 0


async def test_an_observer_that_fails_changes_nothing() -> None:
    def observe(*_facts: object) -> None:
        raise ValueError

    with capture_logs():
        outcome = await gateway(TwoSteps(), observe=observe).submit(ORDER, NOW, None)
    assert outcome.outcome is Outcome.ACCEPTED


def test_callbacks_get_evidence_or_are_refused() -> None:
    raw = RawCallback(NOW, "POST", "/", "", {}, b"card=9030123456789012345")
    parsed = gateway(TwoSteps()).parse_callback(raw)
    assert isinstance(parsed, CallbackReport)
    assert parsed.report.evidence == {"operation": "callback", "body": {"card": "903****2345"}}
    for broken in (TwoSteps(first=BUG), TwoSteps(first=UNREADABLE)):
        with capture_logs():
            refused = gateway(broken).parse_callback(raw)
        assert isinstance(refused, CallbackRefusal)
        assert "9030123456789012345" not in refused.detail
