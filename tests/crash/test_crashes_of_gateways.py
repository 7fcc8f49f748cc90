"""What a crash leaves behind at each gateway: a worker is really ended in the middle of an order, and another goes on.

The rows are those of `test_crashes.py` that depend on the dialect, for one product of each gateway, and those that only
one has: cards, callbacks that prove something, a payer. The simulators charge a repeated number again.
"""

import signal
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from typing import Any

import pytest
from support.market import Market
from support.relay import Relay
from support.stage import stage
from support.street import HOUSES, Street, sandbox
from support.waiting import until

from worker.gateways.features import Callbacks
from worker.gateways.registry import adapters

AT_ONCE = 9
APART = 100  # accounts a row
NEVER = [600]  # a query schedule beyond any test: what happens then was not a query's doing


@dataclass(frozen=True)
class Scene:
    """What a row has to play with."""

    street: Street
    adapter: str
    product: str
    no: str  # the order's number, the row's own

    @property
    def repeatable(self) -> bool:
        """Whether a call whose answer was lost costs nothing, and is made again."""
        return adapters()[self.adapter].repeat_safe

    def open(self, **gateway: Any) -> None:
        """Configure the gateway."""
        self.street.open(self.adapter, self.adapter, **gateway)

    def submit(self, *, fault: str | None = None) -> None:
        """Publish the order, whose first push gets a fault."""
        order = self.street.order(self.no, self.adapter, self.product)
        if fault is not None:
            simulator = HOUSES[self.adapter].simulator
            self.street.market.force(self.street.accounts[self.no], fault, gateway=simulator)
        self.street.stage.producer.submit(order, correlation_id="c")

    def admitted_by_the_first(self, ends_at: str, **gateway: Any) -> None:
        """Let a first worker take the order and end itself at a point of its code."""
        self.open(**gateway)
        first = self.street.stage.worker(ends_at)
        self.submit()
        assert first.await_end() == -signal.SIGKILL, first.tail()

    def entries(self) -> list[dict[str, Any]]:
        """Return what the gateway knows of the order."""
        return self.street.entries()[self.no]

    def state(self) -> str | None:
        """Return where the order stands."""
        return self.street.stage.facts.state(self.no)

    def path(self) -> list[str]:
        """Return the states that it went through."""
        return self.street.stage.facts.path(self.no)

    def taken_over(self) -> None:
        """Let a second worker bring the order to its end, its payer paying what he is told of; see `holds`."""
        here = self.street.stage
        second = here.worker()

        def succeeded() -> bool:
            self.street.pay()
            return "succeeded" in here.producer.names(self.no)

        until(succeeded, 40, lambda: f"{here.facts.steps(self.no)}\n{second.tail()}")
        here.facts.await_state(self.no, "succeeded")
        until(lambda: not here.facts.outbox(), 20, lambda: "the outbox is not empty")
        assert second.terminate() == 0, second.tail()
        self.holds()

    def holds(self) -> None:
        """Assert what is true of every row: charged once, in its true state, every event told, nothing left."""
        here = self.street.stage
        entries = self.entries()
        assert sum(entry["charges"] for entry in entries) == 1
        (charged,) = [entry for entry in entries if entry["charges"]]
        found = here.facts.order(self.no)
        assert found is not None
        assert charged["status"] == "succeeded"
        assert charged["charged_fen"] - charged["refunded_fen"] == charged["amount_fen"]
        told = {each.properties.message_id: each.body["event"] for each in here.producer.events(self.no)}
        expected = {"order.succeeded": 1}
        if self.repeatable:
            expected["order.awaiting_payment"] = 1
        assert {name: list(told.values()).count(name) for name in expected} == expected
        # a submit message whose ack died with its worker comes again: the order is told as it is by then
        assert told[f"{self.no}:1"] == "order.accepted"
        assert told[f"{self.no}:{found['version']}"] == "order.succeeded"
        waiting = here.producer.ready(f"submit.{self.product}", "callbacks", "dead")
        assert set(waiting.values()) == {0}, waiting


# --- the rows: at every gateway -------------------------------------------------------------------------


def before_the_call(scene: Scene) -> None:
    """`submitting` without a call: sent when the lease is over and the absence settled, where it must be settled."""
    scene.admitted_by_the_first("submit.before=SIGKILL")
    assert scene.state() == "submitting"
    assert scene.entries() == []
    scene.taken_over()
    end = ["awaiting_payment"] if scene.repeatable else ["pending"]
    doubt = [] if scene.repeatable else ["unknown"]
    assert scene.path() == ["submitting", *doubt, "queued", "submitting", *end, "succeeded"]
    assert [entry["pushes"] for entry in scene.entries()] == [1]


def during_the_call(scene: Scene) -> None:
    """The gateway has taken the order and is about to answer when its caller dies: it is found, never sent again."""
    scene.open()
    first = scene.street.stage.worker()
    scene.submit(fault="hold")
    until(scene.entries, 20, lambda: "the push did not come")
    (entry,) = scene.entries()
    scene.street.market.await_held(entry["order_no"])
    first.kill()
    scene.street.market.release(entry["order_no"])
    scene.taken_over()
    sent_once(scene)


def after_the_call_before_its_outcome_is_written(scene: Scene) -> None:
    """The answer dies with the worker; the gateway still knows."""
    outcome = "payment_due" if scene.repeatable else "accepted"
    scene.admitted_by_the_first(f"apply.before: {outcome}=SIGKILL")
    assert scene.state() == "submitting"
    assert [entry["order_number"] != "" for entry in scene.entries()] == [True]
    scene.taken_over()
    sent_once(scene)


def sent_once(scene: Scene) -> None:
    """Assert that a call which may have cost money was made once; one that costs nothing may be made again."""
    entries = scene.entries()
    assert [entry["pushes"] for entry in entries] == [1] * len(entries)
    assert len(entries) == (2 if scene.repeatable else 1)
    assert scene.path().count("submitting") == len(entries)
    assert "unknown" not in scene.path() or not scene.repeatable


# --- the rows: where callbacks come ------------------------------------------------------------------------


def callback_taken_not_applied(scene: Scene, event: str) -> None:
    """It was delivered, and its worker died: it is delivered again, to another one; no query's time had come."""
    scene.admitted_by_the_first(f"apply.before: {event}=SIGKILL", query_after_seconds=NEVER)
    assert scene.state() == "pending"
    scene.taken_over()
    assert scene.path() == ["submitting", "pending", "succeeded"]
    (entry,) = scene.entries()
    assert entry["calls"].get("query", 0) == (0 if event == "arrived" else 1)


# --- the rows: where there are cards -----------------------------------------------------------------------


def card_added_not_written(scene: Scene) -> None:
    """The card's id dies with the worker: the next one adds it again, is refused, and finds it."""
    scene.admitted_by_the_first("keep_card.before=SIGKILL")
    _one_card(scene, {"add": 1})
    scene.taken_over()
    _one_card(scene, {"add": 2, "show": 1, "edit": 1})
    assert [entry["pushes"] for entry in scene.entries()] == [1]


def card_written_order_not_pushed(scene: Scene) -> None:
    """Between addCard and pushOrder: the card is there, once; no push was made, and one is."""
    scene.admitted_by_the_first("keep_card.after=SIGKILL")
    assert scene.entries() == []
    _one_card(scene, {"add": 1})
    scene.taken_over()
    _one_card(scene, {"add": 1})
    assert [entry["pushes"] for entry in scene.entries()] == [1]


def push_of_a_known_card_lost(scene: Scene) -> None:
    """The order of a card that was added before: the card is not touched, the push not repeated."""
    scene.open()
    before = scene.street.stage.worker()
    other = scene.street.order(f"{scene.no}-before", scene.adapter, scene.product)
    scene.street.stage.producer.submit(other)
    scene.street.stage.facts.await_state(f"{scene.no}-before", "succeeded")
    assert before.terminate() == 0
    first = scene.street.stage.worker(f"apply.before:{scene.no} accepted=SIGKILL")
    scene.street.accounts[scene.no] = scene.street.accounts[f"{scene.no}-before"]
    scene.street.stage.producer.submit({**other, "order_no": scene.no})
    assert first.await_end() == -signal.SIGKILL, first.tail()
    scene.taken_over()
    _one_card(scene, {"add": 1})
    assert [entry["pushes"] for entry in scene.entries()] == [1]


def _one_card(scene: Scene, calls: Mapping[str, int]) -> None:
    (card,) = scene.street.market.cards(scene.street.accounts[scene.no])
    assert card["calls"] == calls


# --- the rows: where a payer acts --------------------------------------------------------------------------


def paid_while_nobody_was_there(scene: Scene) -> None:
    """The payer was told, the worker died, the payer paid: whoever comes asks, and finds it."""
    scene.open()
    first = scene.street.stage.worker()
    scene.submit()
    scene.street.stage.producer.await_event(scene.no, "awaiting_payment")
    first.kill()
    scene.street.pay()
    scene.taken_over()
    assert scene.path() == ["submitting", "awaiting_payment", "succeeded"]
    assert len(scene.entries()) == 1


def credential_written_not_told(scene: Scene) -> None:
    """The event is in the outbox, and leaves through another worker: the credential is the first one's."""
    scene.admitted_by_the_first("publish.before:order.awaiting_payment=SIGKILL")
    assert scene.state() == "awaiting_payment"
    assert scene.street.stage.producer.names(scene.no).count("awaiting_payment") == 0
    scene.taken_over()
    assert len(scene.entries()) == 1


def payment_found_not_written(scene: Scene) -> None:
    """The answer "paid" died with its worker: it is asked for again."""
    scene.open()
    first = scene.street.stage.worker("apply.before: arrived=SIGKILL")
    scene.submit()
    scene.street.stage.producer.await_event(scene.no, "awaiting_payment")
    scene.street.pay()
    assert first.await_end() == -signal.SIGKILL, first.tail()
    assert scene.state() == "awaiting_payment"
    scene.taken_over()
    assert len(scene.entries()) == 1


Row = Callable[[Scene], None]
PRODUCTS = {name: min(kind.products) for name, kind in sorted(adapters().items())} | {"wikeyun": "power"}
"""One product of each gateway; wikeyun's is paid onto a card."""
EVENTS = {Callbacks.SIGNED: "arrived", Callbacks.HINTS: "claimed"}
"""What a callback of a success is, by what it proves."""


def _rows() -> Iterator[tuple[str, str, Row]]:
    """Yield the adapter, the row's name and the row, the longest first."""
    for row in (before_the_call, during_the_call, after_the_call_before_its_outcome_is_written):
        yield from ((adapter, row.__name__, row) for adapter in PRODUCTS)
    for row in (card_added_not_written, card_written_order_not_pushed, push_of_a_known_card_lost):
        yield "wikeyun", row.__name__, row
    for adapter in PRODUCTS:
        if event := EVENTS.get(adapters()[adapter].features.callbacks):
            yield adapter, callback_taken_not_applied.__name__, partial(callback_taken_not_applied, event=event)
    for row in (paid_while_nobody_was_there, credential_written_not_told, payment_found_not_written):
        yield "zjzdy", row.__name__, row


ROWS = {f"{adapter}-{name}": (adapter, row) for adapter, name, row in _rows()}


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, amqp_url: str, database_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Future[None]]]:
    """The rows that were chosen, running side by side."""
    root = tmp_path_factory.mktemp("gateways")
    chosen = {item.name for item in request.session.items}
    # the relay of these tests says the same word to every gateway; an event may be told ten seconds late
    changes = {"dingyin": {"ack_body": "success"}, "zjzdy": {"pay_seconds": 120}}
    settings = sandbox(root, late_seconds=30, simulators=changes)
    with Market(settings) as market, Relay(amqp_url) as relay, ThreadPoolExecutor(AT_ONCE) as pool:

        def play(name: str, number: int) -> None:
            adapter, row = ROWS[name]
            with stage(amqp_url, database_server, root, relay.url) as made:
                callbacks = f"{relay.url}/{made.prefix}"
                here = Street(market, made, root, lambda gateway: f"{callbacks}/{gateway}", first=number * APART)
                row(Scene(here, adapter, PRODUCTS[adapter], f"Y-{number}"))

        yield {
            name: pool.submit(play, name, number)
            for number, name in enumerate(ROWS)
            if f"{test_what_a_crash_leaves_behind_at_a_gateway.__name__}[{name}]" in chosen
        }


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", ROWS)
def test_what_a_crash_leaves_behind_at_a_gateway(runs: Mapping[str, Future[None]], name: str) -> None:
    """Whatever is left is taken over: charged once, in the true state, every event told. Each row says what of that."""
    runs[name].result()
