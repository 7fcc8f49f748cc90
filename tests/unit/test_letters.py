"""A dead letter as it lies there: why, where it came from, and what it becomes when it is replayed or laid anew."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from worker.broker.dead import dead_letter
from worker.broker.letters import Letter, destination, goes_to, read_letter, renewed, replayed
from worker.broker.message import Delivery, Outgoing, Properties
from worker.broker.topology import Topology
from worker.flows.dead_letters import Kind, Subject, forecast, subject

NOW = datetime(2026, 11, 21, 12, tzinfo=UTC)
TOPOLOGY = Topology("orders")
BODY = b'{"order_no": "T1", "product": "oil"}'


def own(**headers: Any) -> dict[str, Any]:
    return {
        "x-dead-reason": "poison",
        "x-dead-detail": "KeyError at intake.py:1",
        "x-dead-queue": "orders.submit.oil",
        "x-dead-at": "2026-11-21T12:00:00Z",
    } | headers


def brokers(queue: str = "orders.submit.oil", reason: str = "delivery_limit") -> dict[str, Any]:
    death = {"queue": queue, "reason": reason, "time": NOW, "exchange": "orders", "count": 1}
    return {"x-death": [death], "x-first-death-queue": queue, "x-last-death-queue": queue}


def read(
    headers: dict[str, Any], key: str = "submit.oil", exchange: str = "orders.dead", body: bytes = BODY, **given: Any
) -> Letter:
    return read_letter(Delivery("orders.dead", exchange, key, body, Properties(headers=headers, **given)), TOPOLOGY)


def again(letter: Outgoing) -> Letter:
    """Return a published letter as it is read."""
    properties = Properties(
        type=letter.type, message_id=letter.message_id, timestamp=letter.timestamp, headers=letter.headers
    )
    return read_letter(Delivery("orders.dead", letter.exchange, letter.routing_key, letter.body, properties), TOPOLOGY)


@pytest.mark.parametrize(
    ("headers", "exchange", "told"),
    [
        (own(), "orders.dead", ("poison", "KeyError at intake.py:1", "orders.submit.oil", NOW)),
        (
            brokers(),
            "orders.dead",
            ("poison", "RabbitMQ gave it up: delivery_limit", "orders.submit.oil", NOW),
        ),
        (
            brokers(reason="expired"),
            "orders.dead",
            ("expired", "RabbitMQ gave it up: expired", "orders.submit.oil", NOW),
        ),
        ({}, "orders", ("unroutable", None, None, None)),
        (own(), "orders", ("unroutable", None, None, None)),  # a producer that sent a letter's headers
        (brokers("shop.retry"), "orders.dead", ("unroutable", None, None, None)),  # another's dead-lettering
        (own() | brokers("shop.retry"), "orders.dead", ("poison", "KeyError at intake.py:1", "orders.submit.oil", NOW)),
        (own(**{"x-dead-at": "2026-11-21T11:00:00Z"}) | brokers(reason="expired"), "orders.dead", ("expired",)),
        (own(**{"x-dead-at": "2026-11-21T13:00:00Z"}) | brokers(reason="expired"), "orders.dead", ("poison",)),
        (own(**{"x-dead-at": "yesterday", "x-dead-queue": 7}), "orders.dead", ("poison", "KeyError at intake.py:1")),
        (own(**{"x-dead-reason": 5}), "orders.dead", ("unroutable",)),
        ({"x-death": "odd"}, "orders.dead", ("unroutable",)),
        ({"x-death": [5, {"queue": ["a"]}]}, "orders.dead", ("unroutable",)),
    ],
)
def test_says_why(headers: dict[str, Any], exchange: str, told: tuple[Any, ...]) -> None:
    letter = read(headers, exchange=exchange)
    assert (letter.reason, letter.detail, letter.queue, letter.at)[: len(told)] == told


@pytest.mark.parametrize("at", ["9999-12-31T23:59:59-23:59", "0001-01-01T00:00:00+23:59"])
def test_a_moment_that_utc_does_not_have_is_none(at: str) -> None:
    """Any producer can write one, and `dead list` shows moments in UTC."""
    assert read(own(**{"x-dead-at": at})).at is None


def test_an_id_stays_and_tells_letters_apart() -> None:
    letter = read(own())
    assert read(own()).id == letter.id
    assert read(own(**{"x-delivery-count": 3, "trace": "t"})).id == letter.id
    others = [
        read(own(), key="submit.power"),
        read(own(), body=b"{}"),
        read(own(), message_id="m"),
        read(own(**{"x-dead-at": "2026-11-21T12:00:01Z"})),
        read(own(**{"x-dead-reason": "expired"})),
        read(own(**{"x-replayed-at": "2026-11-21T12:00:01Z"})),
        read({}, exchange="orders"),
    ]
    assert len({each.id for each in [letter, *others]}) == 1 + len(others)
    assert all(each.id[0] == "d" and len(each.id) == 17 for each in others)


@pytest.mark.parametrize("faked", ["d0123456789abcdef", "x", 5, "../etc"])
def test_a_producer_cannot_name_its_letter(faked: object) -> None:
    assert read({"x-dead-id": faked}, exchange="orders").id == read({}, exchange="orders").id
    delivery = Delivery("orders.submit.oil", "orders", "submit.oil", BODY, Properties(headers={"x-dead-id": faked}))
    assert "x-dead-id" not in dead_letter("orders.dead", delivery, "poison", "why", NOW).headers


@pytest.mark.parametrize(("count", "worn"), [(None, False), (0, False), (1, True), (7, True), ("2", False)], ids=str)
def test_it_is_worn_when_it_came_back(count: object, worn: bool) -> None:  # noqa: FBT001 - a parameter
    assert read(own() if count is None else own(**{"x-delivery-count": count})).worn is worn


@pytest.mark.parametrize(
    ("queue", "key", "exchange", "to", "takes"),
    [
        ("orders.submit.oil", "submit.oil", "orders", "submit.oil", "orders.submit.oil"),
        ("orders.callbacks", "callback.wikeyun", "orders", "callback.wikeyun", "orders.callbacks"),
        ("orders.commands", "command.card.add", "orders", "command.card.add", "orders.commands"),
        # what was put into a queue directly has no key that leads there
        ("orders.submit.oil", "orders.submit.oil", "", "orders.submit.oil", "orders.submit.oil"),
        ("orders.submit.oil", "submit.power", "", "orders.submit.oil", "orders.submit.oil"),
        (None, "submit.gift", "orders", "submit.gift", None),
        ("elsewhere", "submit.oil", "orders", "submit.oil", "orders.submit.oil"),
        (None, "callbacks", "orders", "callbacks", None),
    ],
)
def test_it_goes_back_to_where_it_was(queue: str | None, key: str, exchange: str, to: str, takes: str | None) -> None:
    letter = replace(read(own(), key=key), queue=queue)
    assert destination(letter, TOPOLOGY) == (exchange, to)
    assert goes_to(letter, TOPOLOGY) == takes


def test_a_replayed_message_is_the_message_as_it_was() -> None:
    delivery = Delivery(
        "orders.submit.oil",
        "orders",
        "submit.oil",
        BODY,
        Properties(message_id="m1", type="order.submit", headers={"tenant": "a", "traceparent": "00-1"}, priority=3),
    )
    letter = again(dead_letter("orders.dead", delivery, "poison", "why", NOW))
    sent = replayed(letter, BODY, TOPOLOGY, NOW)
    assert (sent.exchange, sent.routing_key, sent.body) == ("orders", "submit.oil", BODY)
    assert (sent.message_id, sent.type) == ("m1", "order.submit")
    assert sent.headers == {
        "tenant": "a",
        "traceparent": "00-1",
        "x-replayed-from": letter.id,
        "x-replayed-count": 1,
        "x-replayed-at": "2026-11-21T12:00:00Z",
    }
    died_again = dead_letter(
        "orders.dead", Delivery("q", "orders", "k", BODY, Properties(headers=sent.headers)), "expired", "", NOW
    )
    assert replayed(again(died_again), BODY, TOPOLOGY, NOW).headers["x-replayed-count"] == 2


def test_nothing_of_the_broker_s_own_death_goes_on() -> None:
    sent = replayed(read(brokers() | {"tenant": "a", "x-delivery-count": 2}), BODY, TOPOLOGY, NOW)
    assert [name for name in sent.headers if not name.startswith("x-replayed-")] == ["tenant"]
    kept = replayed(read(own() | brokers("shop.retry")), BODY, TOPOLOGY, NOW)
    assert "x-death" in kept.headers  # its producer's own


@pytest.mark.parametrize("count", ["2", -1, 2**40, None])
def test_a_count_that_is_none_begins_anew(count: object) -> None:
    assert replayed(read(own(**{"x-replayed-count": count})), BODY, TOPOLOGY, NOW).headers["x-replayed-count"] == 1


@pytest.mark.parametrize(
    "letter",
    [
        read(own(**{"x-delivery-count": 1})),
        read(brokers() | {"x-acquired-count": 1}),
        read({"x-delivery-count": 1}, exchange="orders", key="submit.gift", expiration="1000"),
        read(own(**brokers("shop.retry")), exchange="orders", message_id="m"),
    ],
    ids=["own", "broker's", "unroutable", "unroutable, with foreign headers"],
)
def test_what_is_laid_anew_reads_the_same(letter: Letter) -> None:
    copy = renewed(letter, BODY, TOPOLOGY)
    got = again(copy._replace(message_id=copy.message_id or "the publisher's own"))
    assert copy.exchange == "orders.dead"
    assert (got.id, got.reason, got.detail, got.queue, got.key, got.at) == (
        *(letter.id, letter.reason, letter.detail),
        *(letter.queue, letter.key, letter.at),
    )
    assert not got.worn
    assert replayed(got, BODY, TOPOLOGY, NOW).headers.keys() == replayed(letter, BODY, TOPOLOGY, NOW).headers.keys() - (
        set() if letter.reason != "unroutable" else {"x-death"}
    )


ORDER = (
    b'{"order_no": "T1", "product": "mobile", "amount_fen": 10000, "gateway": "wikeyun", '
    b'"target": {"mobile": "13800138000"}}'
)
MOBILE = own(**{"x-dead-queue": "orders.submit.mobile"})


@pytest.mark.parametrize(
    ("letter", "body", "expected"),
    [
        (read(MOBILE, key="submit.mobile"), ORDER, Subject(Kind.ORDER, "T1", "wikeyun", 10000)),
        (read(MOBILE, key="submit.power"), ORDER, Subject(Kind.ORDER, "T1", "wikeyun", 10000)),  # its queue counts
        (read(MOBILE, type="other"), ORDER, Subject(Kind.ORDER, "T1", "wikeyun")),
        (read(own()), ORDER, Subject(Kind.ORDER, "T1", "wikeyun")),
        (read(own()), BODY, Subject(Kind.ORDER, "T1")),
        (read(own()), b"\xff", Subject(Kind.ORDER)),
        (read(own()), b"[1]", Subject(Kind.ORDER)),
        (read(own()), b'{"order_no": "a b"}', Subject(Kind.ORDER)),
        (read({}, exchange="orders", key="submit.gift"), BODY, Subject(Kind.STRAY, "T1")),
        (
            read(own(**{"x-dead-queue": "orders.callbacks"}), key="callback.one"),
            b"{",
            Subject(Kind.CALLBACK, None, "one"),
        ),
        (
            read(own(**{"x-dead-queue": "orders.commands"}), key="command.order.query"),
            BODY,
            Subject(Kind.COMMAND, "T1"),
        ),
    ],
)
def test_it_says_what_it_is_about(letter: Letter, body: bytes, expected: Subject) -> None:
    assert subject(letter, body, TOPOLOGY, NOW) == expected


def test_an_order_that_has_expired_cannot_be_taken_in() -> None:
    body = ORDER[:-1] + b', "expires_at": "2026-11-21T12:00:00Z"}'
    assert subject(read(MOBILE), body, TOPOLOGY, NOW).amount_fen is None
    assert subject(read(MOBILE), body, TOPOLOGY, NOW - timedelta(seconds=1)).amount_fen == 10000


def test_a_forecast_counts_each_number_once_and_at_its_dearest() -> None:
    expected = forecast(
        [
            *(
                Subject(Kind.ORDER, "T1", None, 100),
                Subject(Kind.ORDER, "T1", None, 300),
                Subject(Kind.ORDER, "T2", None, 50),
            ),
            *(Subject(Kind.ORDER, "T3"), Subject(Kind.CALLBACK), Subject(Kind.STRAY, "T4")),
        ]
    )
    assert expected.kinds == {"order": 4, "callback": 1, "stray": 1}
    assert (expected.amounts, expected.fen, expected.refused) == ({"T1": 300, "T2": 50}, 350, 1)
    assert expected.without({"T1"}).fen == 50
