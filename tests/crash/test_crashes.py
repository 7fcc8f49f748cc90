"""What a crash leaves behind, row by row: a worker is really ended at that point, and a second one takes over.

The sandbox charges a repeated order number again (`accept_duplicates`), so nothing but the worker itself keeps an order
from being charged twice. Each row is a deployment of its own; those that were chosen run side by side, since most of
their time is waiting for a lease.
"""

import signal
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import pytest
from support import wire
from support.market import Market
from support.relay import Relay
from support.stage import Stage, stage
from support.waiting import until

from worker.sandbox import SandboxSettings

AT_ONCE = 9
MARKET = SandboxSettings(port=0, settle_after=0.3, accept_duplicates=True, late_seconds=30)
NEVER = [600]  # a query schedule beyond any test: what happens then was not a query's doing
LOST = ["submitting", "unknown", "pending", "succeeded"]  # the path of an order whose call was not lost after all
RESENT = ["submitting", "unknown", "queued", "submitting", "pending", "succeeded"]


@dataclass(frozen=True)
class Scene:
    """What a row has to play with."""

    stage: Stage
    market: Market
    no: str  # the order's number, the row's own

    def admitted_by_the_first(self, ends_at: str, **gateway: Any) -> None:
        """Let a first worker take the order and end itself at a point of its code."""
        self.stage.gateway("wikeyun", self.market.gateway, **gateway)
        first = self.stage.worker(ends_at)
        self.stage.producer.submit(wire.order(self.no), correlation_id="c")
        assert first.await_end() == -signal.SIGKILL, first.tail()

    def taken_over(self) -> None:
        """Let a second worker bring the order to its end, and see that it was charged once and told completely."""
        second = self.stage.worker()
        self.stage.producer.await_event(self.no, "succeeded", seconds=40)
        self.stage.facts.await_state(self.no, "succeeded")
        # what the first left unacknowledged is acknowledged by the second before it ends
        until(lambda: not self.stage.facts.outbox(), 20, lambda: "the outbox is not empty")
        assert second.terminate() == 0, second.tail()

    def holds(self, *path: str) -> None:
        """Assert what is true of every row, and the states that the order went through."""
        assert self.stage.facts.path(self.no) == list(path)
        assert self.market.charges(self.no) == 1
        entry = self.market.entry(self.no)
        found = self.stage.facts.order(self.no)
        assert found is not None
        assert (entry["status"], entry["order_number"]) == ("succeeded", found["upstream_no"])
        events = self.stage.producer.events(self.no)
        assert {each.body["event"] for each in events} == {"order.accepted", "order.succeeded"}
        told = {each.properties.message_id: each.body["event"] for each in events}
        assert told[f"{self.no}:1"] == "order.accepted"
        assert told[f"{self.no}:{found['version']}"] == "order.succeeded"
        # a submit message whose ack died with its worker comes again: the order is told as it is by then
        assert list(told.values()).count("order.succeeded") == 1
        assert {each.properties.correlation_id for each in events} == {"c"}
        waiting = self.stage.producer.ready("submit.mobile", "callbacks", "dead")
        assert set(waiting.values()) == {0}, waiting


# --- the rows -------------------------------------------------------------------------------------------


def before_admit_commits(scene: Scene) -> None:
    """The message was not acknowledged: it is delivered again, admitted and sent."""
    scene.admitted_by_the_first("admit.before=SIGKILL")
    assert scene.stage.facts.order(scene.no) is None
    scene.taken_over()
    scene.holds("submitting", "pending", "succeeded")
    assert scene.market.pushes(scene.no) == 1


def after_admit_and_call_before_ack(scene: Scene) -> None:
    """The message comes again and is a duplicate of an order that was sent: acknowledged, not sent again."""
    scene.admitted_by_the_first("ack.before:submit.mobile=SIGKILL")
    scene.taken_over()
    assert scene.stage.facts.path(scene.no)[-1] == "succeeded"
    assert scene.market.pushes(scene.no) == scene.market.charges(scene.no) == 1
    assert scene.stage.producer.ready("submit.mobile") == {"submit.mobile": 0}
    assert scene.stage.facts.rows("SELECT count(*) AS n FROM orders") == [{"n": 1}]


def after_admit_before_ack_and_call(scene: Scene) -> None:
    """The commit is there, nothing else: the duplicate sends nothing, the lease and the settled absence do."""
    scene.admitted_by_the_first("admit.after=SIGKILL")
    assert scene.stage.facts.state(scene.no) == "submitting"
    scene.taken_over()
    assert scene.stage.facts.path(scene.no) == RESENT
    assert scene.market.pushes(scene.no) == scene.market.charges(scene.no) == 1
    assert scene.stage.producer.names(scene.no).count("accepted") >= 1


def before_the_call(scene: Scene) -> None:
    """`submitting` without a call: unknown after the lease, absent for the settling time, and only then sent."""
    scene.admitted_by_the_first("submit.before=SIGKILL")
    assert scene.stage.facts.state(scene.no) == "submitting"
    assert scene.market.pushes(scene.no) == 0
    scene.taken_over()
    assert scene.stage.facts.path(scene.no) == RESENT
    assert scene.market.pushes(scene.no) == scene.market.charges(scene.no) == 1
    causes = scene.stage.facts.causes(scene.no)
    assert causes.count("absent") >= 3
    at = scene.stage.facts.rows("SELECT at FROM journal WHERE cause = 'absent' ORDER BY at")
    assert (at[-1]["at"] - at[0]["at"]).total_seconds() >= 2


def before_the_call_of_a_queued_order(scene: Scene) -> None:
    """The same, when it was the scheduler that had taken the order up."""
    scene.market.force(scene.no, "drop_before_read")  # so that the first sending is settled as absent
    scene.stage.gateway("wikeyun", scene.market.gateway)
    first = scene.stage.worker(f"apply.after:{scene.no} taken=SIGKILL")
    scene.stage.producer.submit(wire.order(scene.no), correlation_id="c")
    assert first.await_end() == -signal.SIGKILL, first.tail()
    assert scene.stage.facts.path(scene.no) == ["submitting", "unknown", "queued", "submitting"]
    scene.taken_over()
    assert scene.market.charges(scene.no) == 1
    assert scene.market.pushes(scene.no) == 2  # the one that was reset unread, and the good one


def during_the_call(scene: Scene) -> None:
    """The gateway has charged and is about to answer when its caller dies: the query finds the order."""
    scene.market.force(scene.no, "hold")
    scene.stage.gateway("wikeyun", scene.market.gateway)
    first = scene.stage.worker()
    scene.stage.producer.submit(wire.order(scene.no), correlation_id="c")
    scene.market.await_held(scene.no)
    first.kill()
    scene.market.release(scene.no)
    scene.taken_over()
    scene.holds(*_found(scene))
    assert scene.market.pushes(scene.no) == 1


def during_a_call_that_charges_later(scene: Scene) -> None:
    """The request is still on its way when others begin to ask: an early "no such order" is not believed."""
    scene.market.force(scene.no, "hold_uncharged")
    scene.stage.gateway("wikeyun", scene.market.gateway, settle_seconds=6)
    first = scene.stage.worker()
    scene.stage.producer.submit(wire.order(scene.no), correlation_id="c")
    scene.market.await_held(scene.no)
    first.kill()
    second = scene.stage.worker()
    until(lambda: "absent" in scene.stage.facts.causes(scene.no), 30)
    scene.market.release(scene.no)
    scene.stage.facts.await_state(scene.no, "succeeded")
    assert second.terminate() == 0
    assert scene.market.pushes(scene.no) == scene.market.charges(scene.no) == 1


def after_the_call_before_its_outcome_is_written(scene: Scene) -> None:
    """The answer dies with the worker; the gateway still knows."""
    scene.admitted_by_the_first("apply.before: accepted=SIGKILL")
    assert scene.stage.facts.state(scene.no) == "submitting"
    assert scene.market.charges(scene.no) == 1
    scene.taken_over()
    scene.holds(*_found(scene))


def after_the_outcome_is_written(scene: Scene) -> None:
    """`pending` is committed: whoever is there asks on."""
    scene.admitted_by_the_first("apply.after: accepted=SIGKILL")
    scene.taken_over()
    scene.holds("submitting", "pending", "succeeded")


def callback_taken_not_applied(scene: Scene) -> None:
    """A proven callback was delivered, and its worker died: it is delivered again, to another one."""
    scene.admitted_by_the_first("apply.before: arrived=SIGKILL", trust_callbacks=True, query_after_seconds=NEVER)
    assert scene.stage.facts.state(scene.no) == "pending"
    scene.taken_over()
    scene.holds("submitting", "pending", "succeeded")
    assert "query" not in scene.market.entry(scene.no)["calls"]


def callback_applied_not_acknowledged(scene: Scene) -> None:
    """The order is final, its callback comes again: already so, acknowledged, told once."""
    scene.admitted_by_the_first("ack.before:callbacks=SIGKILL", trust_callbacks=True, query_after_seconds=NEVER)
    scene.taken_over()
    scene.holds("submitting", "pending", "succeeded")
    assert scene.stage.facts.causes(scene.no).count("arrived") == 1


def hint_taken_not_acknowledged(scene: Scene) -> None:
    """The same with a callback that proves nothing: the question that it asks for is asked again."""
    scene.admitted_by_the_first("ack.before:callbacks=SIGKILL", query_after_seconds=NEVER)
    scene.taken_over()
    scene.holds("submitting", "pending", "succeeded")


def event_committed_not_published(scene: Scene) -> None:
    """The event waits in the outbox, and leaves within seconds through another worker, under its own id."""
    scene.admitted_by_the_first("publish.before:order.succeeded=SIGKILL")
    assert scene.stage.facts.state(scene.no) == "succeeded"
    assert "succeeded" not in scene.stage.producer.names(scene.no)
    scene.taken_over()
    scene.holds("submitting", "pending", "succeeded")


def event_published_not_forgotten(scene: Scene) -> None:
    """The event is published again, the very same."""
    scene.admitted_by_the_first("forget.before=SIGKILL")
    scene.taken_over()
    until(lambda: len(scene.stage.producer.names(scene.no)) > 2, 20, lambda: "nothing was published twice")
    scene.holds("submitting", "pending", "succeeded")
    copies = Counter((each.properties.message_id, each.raw) for each in scene.stage.producer.events(scene.no))
    assert len(copies) == 2
    assert max(copies.values()) == 2


def dead_letter_published_not_acknowledged(scene: Scene) -> None:
    """What cannot be processed is not lost between its queue and the dead letters; it may be there twice."""
    scene.stage.gateway("wikeyun", scene.market.gateway)
    first = scene.stage.worker("ack.before:submit.mobile=SIGKILL")
    scene.stage.producer.publish("submit.mobile", b"?", message_id="bad")
    assert first.await_end() == -signal.SIGKILL, first.tail()
    second = scene.stage.worker().await_ready()
    until(lambda: len(scene.stage.producer.letters()) == 2, 20)
    assert second.terminate() == 0
    assert {each.properties.message_id for each in scene.stage.producer.dead} == {"bad"}
    assert scene.stage.producer.ready("submit.mobile") == {"submit.mobile": 0}


def _stopped_before(scene: Scene, point: str) -> None:
    """Stop a worker just before its call; let another settle and send the order; then let the first go on."""
    scene.stage.gateway("wikeyun", scene.market.gateway)
    first = scene.stage.worker(f"{point}=SIGSTOP")
    scene.stage.producer.submit(wire.order(scene.no), correlation_id="c")
    first.await_stopped()
    assert scene.stage.facts.state(scene.no) == "submitting"
    second = scene.stage.worker()
    scene.stage.facts.await_state(scene.no, "succeeded", seconds=40)
    assert scene.market.charges(scene.no) == 1
    first.send(signal.SIGCONT)
    first.await_ready()
    assert first.terminate() == 0, first.tail()
    assert second.terminate() == 0, second.tail()
    assert scene.stage.facts.path(scene.no) == RESENT
    assert scene.market.pushes(scene.no) == scene.market.charges(scene.no) == 1
    assert scene.stage.producer.names(scene.no).count("succeeded") == 1


def stopped_before_the_call(scene: Scene) -> None:
    """A worker that sleeps beyond its lease, with the call not begun, finds that it may not begin it any more."""
    _stopped_before(scene, "submit.before")


def stopped_with_a_connection(scene: Scene) -> None:
    """The same at the last moment: connected to the gateway, the first byte about to leave."""
    _stopped_before(scene, "connected.before")


def stopped_before_the_outcome_is_written(scene: Scene) -> None:
    """The answer of a worker that slept beyond its lease is old news: decided again from the row as it is."""
    scene.stage.gateway("wikeyun", scene.market.gateway)
    first = scene.stage.worker("apply.before: accepted=SIGSTOP")
    scene.stage.producer.submit(wire.order(scene.no), correlation_id="c")
    first.await_stopped()
    second = scene.stage.worker()
    scene.stage.facts.await_state(scene.no, "succeeded", seconds=40)
    first.send(signal.SIGCONT)
    first.await_ready()
    assert first.terminate() == 0, first.tail()
    assert second.terminate() == 0, second.tail()
    scene.holds(*_found(scene))


def _found(scene: Scene) -> list[str]:
    """The path of an order that a query found: by then it may have been finished already."""
    path = scene.stage.facts.path(scene.no)
    return path if path == [state for state in LOST if state in path] and path[:2] == LOST[:2] else LOST


_ROWS = (
    before_the_call_of_a_queued_order,
    stopped_before_the_call,
    stopped_with_a_connection,
    before_the_call,
    after_admit_before_ack_and_call,
    during_a_call_that_charges_later,
    event_committed_not_published,
    event_published_not_forgotten,
    during_the_call,
    after_the_call_before_its_outcome_is_written,
    stopped_before_the_outcome_is_written,
    after_admit_and_call_before_ack,
    callback_taken_not_applied,
    callback_applied_not_acknowledged,
    hint_taken_not_acknowledged,
    before_admit_commits,
    after_the_outcome_is_written,
    dead_letter_published_not_acknowledged,
)
ROWS: Mapping[str, Callable[[Scene], None]] = {row.__name__: row for row in _ROWS}
"""What a worker may die of, the longest first; each row's docstring is its promise."""


@pytest.fixture(scope="module")
def runs(
    request: pytest.FixtureRequest, amqp_url: str, database_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[Mapping[str, Future[None]]]:
    """The rows that were chosen, running side by side."""
    directory = tmp_path_factory.mktemp("crashes")
    chosen = {item.name for item in request.session.items}
    with Market(MARKET) as market, Relay(amqp_url) as relay, ThreadPoolExecutor(AT_ONCE) as pool:

        def play(name: str, number: int) -> None:
            with stage(amqp_url, database_server, directory, relay.url) as made:
                ROWS[name](Scene(made, market, f"X-{number}"))

        yield {
            name: pool.submit(play, name, number)
            for number, name in enumerate(ROWS)
            if f"{test_what_a_crash_leaves_behind.__name__}[{name}]" in chosen
        }


@pytest.mark.timeout(240)
@pytest.mark.parametrize("name", ROWS)
def test_what_a_crash_leaves_behind(runs: Mapping[str, Future[None]], name: str) -> None:
    """Whatever is left is taken over: charged once, in the true state, every event told. Each row says what of that."""
    runs[name].result()
