"""Trace context through a worker: from the message, by the order, to calls, events and answers, also after a crash."""

import json
import re
import secrets
from collections.abc import Callable, Iterator
from typing import TYPE_CHECKING, Any

import pytest
from support import wire
from support.commander import Commander
from support.market import Market
from support.relay import Relay
from support.stage import Stage, stage
from support.tap import Tap
from support.waiting import until

from worker.sandbox import SandboxSettings

if TYPE_CHECKING:
    import pika

STATE = "rojo=00f067aa0ba902b7,congo=t61rcWkgMzE"
WRITTEN = re.compile(r"00-([0-9a-f]{32})-([0-9a-f]{16})-01")
NEVER = [600]


@pytest.fixture(scope="module")
def market() -> Iterator[Market]:
    with Market(SandboxSettings(port=0, settle_after=0.3)) as running:
        yield running


@pytest.fixture(scope="module")
def tap(market: Market) -> Iterator[Tap]:
    with Tap(market.url) as running:
        yield running


@pytest.fixture(scope="module")
def make(
    amqp_url: str, database_server: str, tmp_path_factory: pytest.TempPathFactory, tap: Tap
) -> Iterator[Callable[[], Any]]:
    with Relay(amqp_url) as relay:

        def made() -> Any:
            return stage(amqp_url, database_server, tmp_path_factory.mktemp("traces"), relay.url)

        yield made


@pytest.fixture(scope="module")
def here(make: Callable[[], Any], tap: Tap) -> Iterator[Stage]:
    """A deployment with one worker; `first` and `second` are the same gateway under two names."""
    with make() as deployed:
        for name in ("first", "second"):
            deployed.gateway(name, f"{tap.url}/wikeyun", query_after_seconds=[0.2])
        deployed.gateway("quiet", f"{tap.url}/wikeyun", query_after_seconds=NEVER)
        deployed.sections["routes"] = {"mobile": ["first", "second"]}
        deployed.worker().await_ready()
        yield deployed
        assert deployed.workers[0].terminate() == 0, deployed.workers[0].tail()


def trace() -> tuple[str, dict[str, str]]:
    """Return a new trace id, and the headers of a message that belongs to it."""
    name = secrets.token_hex(16)
    return name, {"traceparent": f"00-{name}-{secrets.token_hex(8)}-01", "tracestate": STATE}


def spans(name: str, *carried: Any) -> list[str]:
    """Return the span ids of headers that must all belong to the trace of this name."""
    found = []
    for headers in carried:
        read = WRITTEN.fullmatch(headers["traceparent"])
        assert read is not None, headers
        assert read[1] == name
        assert headers["tracestate"] == STATE
        found.append(read[2])
    return found


def headers_of(events: list[wire.Message]) -> list[Any]:
    return [event.properties.headers for event in events]


def logged(here: Stage) -> list[dict[str, Any]]:
    """Return the log's lines."""
    return [json.loads(line) for line in here.log().splitlines() if line.startswith("{")]


def test_calls_and_events_belong_to_the_trace_of_the_message(here: Stage, tap: Tap) -> None:
    """Each call and each event has a span id of its own; the order ended by a callback, which brings no trace."""
    name, headers = trace()
    here.producer.submit(wire.order("W-1"), headers=headers)
    upstream_no = here.producer.await_event("W-1", "succeeded").body["upstream_no"]
    calls = tap.about("W-1", upstream_no)
    assert len(calls) >= 2  # the push, and the query that proved the callback
    told = headers_of(here.producer.events("W-1"))
    assert len(told) == 2
    sent = headers["traceparent"][36:52]
    ids = spans(name, *(call.headers for call in calls), *told)
    assert len({*ids, sent}) == len(calls) + len(told) + 1
    (row,) = here.facts.rows("SELECT trace FROM orders WHERE order_no = 'W-1'")
    assert row["trace"] == f"{headers['traceparent']} {STATE}"


def test_a_later_attempt_belongs_to_it_too(here: Stage, tap: Tap, market: Market) -> None:
    name, headers = trace()
    market.force("W-2", "refused")  # a definite no, for the first attempt alone
    here.producer.submit(wire.order("W-2"), headers=headers)
    succeeded = here.producer.await_event("W-2", "succeeded").body
    assert succeeded["attempt"] == 2
    calls = tap.about("W-2R2", succeeded["upstream_no"])
    assert len(calls) >= 2
    spans(name, *(call.headers for call in calls), *headers_of(here.producer.events("W-2")))


@pytest.mark.parametrize("headers", [None, {"traceparent": "00-7-7-01", "tracestate": STATE}, {"traceparent": 7}])
def test_without_a_context_nothing_is_invented(here: Stage, tap: Tap, headers: dict[str, Any] | None) -> None:
    number = f"N-{secrets.token_hex(4)}"  # the tap is asked for `W-5`: no random number may begin like that
    here.producer.submit(wire.order(number), headers=headers)
    upstream_no = here.producer.await_event(number, "succeeded").body["upstream_no"]
    calls = tap.about(number, upstream_no)
    assert len(calls) >= 2
    for carried in (*(call.headers for call in calls), *headers_of(here.producer.events(number))):
        assert not {"traceparent", "tracestate"} & set(carried or {})


def test_a_repeated_message_is_answered_in_its_own_trace(here: Stage) -> None:
    (first, headers), (second, others) = trace(), trace()
    here.producer.submit(wire.order("W-4"), headers=headers)
    here.producer.await_event("W-4", "succeeded")
    here.producer.submit(wire.order("W-4"), headers=others)
    here.producer.await_event("W-4", "succeeded", count=2)
    here.producer.submit(wire.order("W-4"))
    here.producer.await_event("W-4", "succeeded", count=3)
    accepted, *told = headers_of(here.producer.events("W-4"))
    spans(first, accepted, told[0], told[2])
    spans(second, told[1])


def test_a_command_and_its_answer_have_the_trace_of_the_command(here: Stage, tap: Tap) -> None:
    (ordered, headers), (asked, others) = trace(), trace()
    order = wire.order("W-5", gateway="quiet", mobile="13800138009")  # never called back about
    here.producer.submit(order, headers=headers)
    here.facts.await_state("W-5", "pending")
    push, *_ = tap.about("W-5")
    spans(ordered, push.headers)
    with Commander(here.amqp_url, here.prefix) as commander:
        for name, body in (("order.query", {"order_no": "W-5"}), ("balance.show", {"gateway": "quiet"})):
            before = len(tap.calls)
            number = commander.send(name, body, headers=others)
            commander.wait(number)
            (call, *_) = tap.calls[before:]
            spans(asked, call.headers, commander.properties(number).headers)
        refused = commander.send("balance.show", {"gateway": 7}, headers=others)
        assert commander.wait(refused)["error"]["code"] == "invalid_command"
        spans(asked, commander.properties(refused).headers)


def test_a_refused_order_is_answered_and_kept_with_its_trace(here: Stage) -> None:
    name, headers = trace()
    channel = here.producer.channel
    answers = channel.queue_declare("", exclusive=True).method.queue
    here.producer.submit(wire.order("W-6", amount_fen=0), headers=headers, reply_to=answers)
    until(lambda: [each for each in here.producer.letters() if b"W-6" in each.raw], 10)
    (letter,) = [each for each in here.producer.letters() if b"W-6" in each.raw]
    got: list[pika.BasicProperties] = []
    until(lambda: got or got.extend(each.properties for each in here.producer.take(answers)), 10)
    spans(name, letter.properties.headers, got[0].headers)


def test_an_event_that_is_told_after_a_crash_has_its_trace(make: Callable[[], Any], tap: Tap) -> None:
    name, headers = trace()
    with make() as there:
        there.gateway("first", f"{tap.url}/wikeyun", query_after_seconds=[0.2])
        there.worker("publish.before:order.succeeded=SIGKILL").await_ready()
        there.producer.submit(wire.order("W-7"), headers=headers)
        assert there.workers[0].await_end() < 0
        assert "succeeded" not in there.producer.names("W-7")
        there.worker().await_ready()
        there.producer.await_event("W-7", "succeeded", seconds=40)
        spans(name, *headers_of(there.producer.events("W-7")))


def test_lines_of_the_log_name_the_order_and_its_trace(here: Stage, market: Market) -> None:
    """What went wrong is found by the order's number, by its message and by its trace."""
    name, headers = trace()
    for number in ("W-8", "W-8R2"):
        market.force(number, "refused")
    here.producer.submit(wire.order("W-8"), headers=headers, message_id="m-8")
    here.producer.await_event("W-8", "failed")
    lines = [line for line in logged(here) if line.get("trace_id") == name]
    assert {line["event"] for line in lines} >= {"submit_ended"}
    assert {line["order_no"] for line in lines} == {"W-8"}
    assert {(line["gateway"], line["attempt"]) for line in lines} >= {("first", 1)}
    assert "m-8" in {line.get("message_id") for line in lines}
