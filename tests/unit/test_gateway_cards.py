"""The driver's card steps: what a hold covers, when it ends, and that no failure of the book can move money."""
# ruff: noqa: ARG002, D102 - the fakes take what the real ones take, and mean the same

from datetime import UTC, datetime
from typing import Any

import pytest
from structlog.testing import capture_logs

from worker.core.card import Card, CardError, Hold, Known, card
from worker.core.order import Order
from worker.core.outcome import Outcome, Report, Status, Submitted
from worker.core.policy import Policy
from worker.gateways.base import Adapter, Call, CardCall, RefusedError, Reply, Request
from worker.gateways.cards import CardAnswer, CardRefusal, ForgetCard, HoldCard, KeepCard
from worker.gateways.gate import Gate
from worker.gateways.gateway import Gateway, GatewayUnavailableError
from worker.gateways.http import NotSentError, UnansweredError
from worker.gateways.lease import Lease
from worker.gateways.settings import GatewaySettings

NOW = datetime(2026, 1, 1, tzinfo=UTC)
NUMBER = "9030123456789012345"
ORDER = Order("T1", "shop", "oil", 100, {"card_no": NUMBER}, ("two",), "two")
CARD = card("oil", "1001", NUMBER, {"name": "x"})
LOST = UnansweredError("timeout", "no")


class Book:
    """One card, in memory; `fails` makes a verb raise."""

    def __init__(self, *, busy: bool = False, lost: bool = False, fails: str = "") -> None:
        self.busy, self.lost, self.fails = busy, lost, fails
        self.calls: list[str] = []

    def _note(self, verb: str) -> None:
        self.calls.append(verb)
        if verb == self.fails:
            raise CardError("database_away", "no")

    async def find(self, gateway: str, asked: tuple[str, str], key: bytes | None, card_id: str | None) -> list[Known]:
        self._note("find")
        return []

    async def hold(self, gateway: str, card: Card, seconds: float) -> Hold | None:
        self._note("hold")
        return None if self.busy else Hold(7, None, current=False)

    async def keep(self, gateway: str, card: Card, token: int, card_id: str | None, digest: bytes | None) -> bool:
        self._note("keep")
        return not self.lost

    async def forget(self, gateway: str, card: Card, token: int) -> None:
        self._note("forget")

    async def release(self, gateway: str, card: Card, hold: Hold) -> None:
        self._note("release shared" if hold.current else "release")


class WithCards(Adapter):
    """Holds, adds, keeps, pushes."""

    adapter = "two"
    products = frozenset({"oil"})
    settings_type = GatewaySettings

    def __init__(self) -> None:
        super().__init__("two", None)

    def submit(self, order: Order, now: datetime) -> CardCall[Submitted]:
        yield HoldCard(CARD)
        yield Request("add_card", "POST", "http://g/", b"a=1", None, moves_money=False)
        yield KeepCard("42", CARD.digest)
        yield Request("push", "POST", "http://g/", b"a=1", None, moves_money=True)
        return Submitted(Outcome.ACCEPTED, upstream_no="U1")

    def query(self, order: Order, now: datetime) -> Call[Report]:
        yield Request("query", "POST", "http://g/", b"", None, moves_money=False)
        return Report(Status.CHARGING)

    def card(self, action: Any, kind: str, fields: Any, card_id: str | None, now: datetime) -> Any:
        def call() -> CardCall[CardAnswer | CardRefusal]:
            yield HoldCard(CARD)
            if action == "delete":
                yield ForgetCard()
                return CardAnswer("42")
            if action == "add":
                return CardRefusal("2000", f"{NUMBER}?")
            yield HoldCard(CARD)
            return CardAnswer("1")

        return call()


class Script:
    """A sender that answers or fails as told."""

    def __init__(self, *steps: Exception | None) -> None:
        self.steps = list(steps)
        self.sent: list[tuple[str, Lease | None]] = []

    async def send(self, request: Request, lease: Lease | None = None) -> Reply:
        self.sent.append((request.operation, lease))
        if self.steps and (step := self.steps.pop(0)) is not None:
            raise step
        return Reply(200, {}, b"{}")

    async def close(self) -> None:
        pass


async def submit(book: Book | None, *steps: Exception | None) -> tuple[Submitted, Gateway, Script]:
    script = Script(*steps)
    one = Gateway(WithCards(), script, Gate(4), Policy())
    one.cards = book
    return await one.submit(ORDER, NOW, Lease.lasting(60)), one, script


async def test_a_hold_lasts_until_the_push_is_answered() -> None:
    book = Book()
    outcome, _, script = await submit(book)
    assert (outcome.outcome, book.calls) == (Outcome.ACCEPTED, ["hold", "keep", "release shared"])
    (added, hold), (pushed, lease) = script.sent
    assert (added, pushed) == ("add_card", "push")
    assert hold is not None
    assert lease is not None
    assert hold is not lease, "a request that relies on the hold alone ends with the hold"
    assert hold.allows(59)
    assert not hold.allows(61)


@pytest.mark.parametrize(
    ("book", "steps", "outcome", "code", "calls"),
    [
        (Book(busy=True), [], Outcome.NOT_SENT, "card_busy", ["hold"]),
        (Book(lost=True), [], Outcome.NOT_SENT, "card_busy", ["hold", "keep", "release"]),
        (Book(fails="hold"), [], Outcome.NOT_SENT, "database_away", ["hold"]),
        (Book(fails="keep"), [], Outcome.NOT_SENT, "database_away", ["hold", "keep", "release"]),
        (Book(), [LOST], Outcome.NOT_SENT, "timeout", ["hold", "release"]),
        (Book(), [None, NotSentError("lease_over", "")], Outcome.NOT_SENT, "lease_over",
         ["hold", "keep", "release shared"]),
        (Book(), [None, LOST], Outcome.UNKNOWN, "timeout", ["hold", "keep"]),
    ],
)  # fmt: skip
async def test_failures(book: Book, steps: list[Any], outcome: Outcome, code: str, calls: list[str]) -> None:
    """A push without an answer may still be under way: its card is not let go of, and nobody changes it."""
    found, _, _ = await submit(book, *steps)
    assert (found.outcome, found.code, book.calls) == (outcome, code, calls)


async def test_a_release_that_fails_changes_no_outcome() -> None:
    with capture_logs() as logs:
        outcome, _, _ = await submit(Book(fails="release shared"))
    assert outcome.outcome is Outcome.ACCEPTED
    assert [log["event"] for log in logs] == ["card_not_released"]


async def test_without_a_book_nothing_is_asked() -> None:
    outcome, _, script = await submit(None)
    assert (outcome.outcome, outcome.code, script.sent) == (Outcome.NOT_SENT, "no_card_book", [])


async def test_the_breaker_hears_of_calls_only() -> None:
    for _ in range(9):
        _, one, _ = await submit(Book(busy=True))
        assert one.gate.breaker == "closed"
    script = Script(*[LOST] * 9)
    one = Gateway(WithCards(), script, Gate(4), Policy())
    one.cards = Book()
    for n in range(9):
        await one.submit(ORDER.changed({"order_no": f"T{n}"}), NOW, None)
    assert one.gate.breaker == "open"


async def test_commands_let_go_and_say_what_went_wrong() -> None:
    book = Book()
    one = Gateway(WithCards(), Script(), Gate(4), Policy())
    one.cards = book
    assert await one.card("delete", "oil", {}, "42", NOW) == {"card_id": "42"}
    assert book.calls == ["hold", "forget"], "what is forgotten is in nobody's hands"
    with pytest.raises(RefusedError) as refused:
        await one.card("add", "oil", {}, None, NOW)
    assert (refused.value.code, NUMBER in str(refused.value)) == ("2000", False)
    assert book.calls[2:] == ["hold", "release"]
    with capture_logs(), pytest.raises(GatewayUnavailableError, match="adapter_error"):
        await one.card("edit", "oil", {}, None, NOW)
    assert book.calls[4:] == ["hold", "release"], "one call holds one card"
    one.cards = Book(busy=True)
    with pytest.raises(GatewayUnavailableError, match="card_busy"):
        await one.card("add", "oil", {}, None, NOW)
    assert one.gate.in_flight == 0
