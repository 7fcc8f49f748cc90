"""Messages that our own side fails on, every time: set aside with a reason, and their producers told so."""

import json
from collections.abc import Iterator

import pytest
from support import wire
from support.market import Market
from support.stage import Stage, stage
from support.waiting import until

from worker.sandbox import SandboxSettings

REFUSE = "ALTER TABLE orders ADD CONSTRAINT refused CHECK (order_no NOT LIKE 'P-%')"
"""The database refuses such an order, which is nothing that the worker has a reason for."""


@pytest.fixture(scope="module")
def here(amqp_url: str, database_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    """A worker on a database that refuses some orders."""
    directory = tmp_path_factory.mktemp("poison")
    with (
        Market(SandboxSettings(port=0, settle_after=0.2)) as market,
        stage(amqp_url, database_server, directory, "http://127.0.0.1:1") as made,
    ):
        made.facts.rows(REFUSE)
        made.gateway("wikeyun", market.gateway)
        made.worker().await_ready()
        yield made


def test_a_poison_order_that_names_a_reply_to_is_answered_with_its_reason(here: Stage) -> None:
    """What cannot be accepted is answered, whoever found that out; the letter and the answer say the same."""
    reply_to = here.producer.channel.queue_declare("", exclusive=True).method.queue
    here.producer.submit(wire.order("P-1"), reply_to=reply_to, correlation_id="c-1", message_id="m-1")
    here.producer.submit(wire.order("P-2"), reply_to=reply_to, message_id="m-2")
    here.producer.submit(wire.order("P-3"))
    here.producer.submit(wire.order("G-1"), reply_to=reply_to)
    until(lambda: len(here.producer.letters()) == 3, 30, here.log)
    letters = {letter.body["order_no"]: letter.properties.headers or {} for letter in here.producer.dead}
    assert {headers["x-dead-reason"] for headers in letters.values()} == {"poison"}
    answers = {answer.properties.correlation_id: answer.body for answer in here.producer.take(reply_to)}
    assert answers == {
        correlation: {"ok": False, "error": {"code": "poison", "message": letters[order_no]["x-dead-detail"]}}
        for correlation, order_no in (("c-1", "P-1"), ("m-2", "P-2"))
    }
    here.producer.await_event("G-1", "accepted")
    assert here.producer.take(reply_to) == []


def test_a_poison_callback_is_answered_to_nobody(here: Stage) -> None:
    """Only who submits is answered: a relay waits for nothing."""
    here.producer.submit(wire.order("G-2"))
    here.producer.await_event("G-2", "succeeded")
    here.facts.rows("ALTER TABLE journal ADD CONSTRAINT refused CHECK (code <> '10')")
    reply_to = here.producer.channel.queue_declare("", exclusive=True).method.queue
    before = len(here.producer.letters())
    message = wire.callback("wikeyun", b"order_no=G-2&order_number=7&status=10")
    here.producer.publish("callback.wikeyun", json.dumps(message).encode(), reply_to=reply_to)
    until(lambda: len(here.producer.letters()) > before, 30, here.log)
    (letter,) = here.producer.dead[before:]
    assert (letter.properties.headers or {})["x-dead-reason"] == "poison"
    assert here.producer.take(reply_to) == []
