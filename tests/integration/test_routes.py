"""Routes: the next gateway gets an order after a definite failure of the one before it, and never otherwise."""

import json
from collections.abc import Iterator
from typing import Any

import pytest
from support import wire
from support.street import Street, street
from support.waiting import until

FIRST, SECOND, THIRD = "wikeyun", "dingyin", "third"
SIMULATORS = {FIRST: "wikeyun", SECOND: "dingyin", THIRD: "dingyin"}


@pytest.fixture(scope="module")
def here(amqp_url: str, database_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Street]:
    """Three gateways that sell electricity, in this order of preference, and a worker."""
    root = tmp_path_factory.mktemp("routes")
    gateways = {name: {"adapter": adapter} for name, adapter in SIMULATORS.items()}
    with street(amqp_url, database_server, root, gateways, accept_duplicates=False) as made:
        made.stage.sections["routes"] = {"power": [FIRST, SECOND, THIRD]}
        made.stage.worker().await_ready()
        yield made


def submit(here: Street, order_no: str, *faults: str, **changes: Any) -> None:
    """Submit an order whose attempts get these faults, one after the other."""
    for attempt, (gateway, fault) in enumerate(zip((FIRST, SECOND, THIRD), faults, strict=False), 1):
        if fault:
            here.market.force(number(order_no, attempt), fault, times=0, gateway=SIMULATORS[gateway])
    here.stage.producer.submit(here.order(order_no, "wikeyun", "power", **changes))


def number(order_no: str, attempt: int) -> str:
    return order_no if attempt == 1 else f"{order_no}R{attempt}"


def pushed(here: Street, order_no: str) -> dict[str, tuple[str, int, int]]:
    """What the gateways know of an order: by its numbers there, at which, how often pushed, and how often charged."""
    entries = here.entries()[order_no]
    return {entry["order_no"]: (entry["gateway"], entry["pushes"], entry["charges"]) for entry in entries}


def kept(here: Street, order_no: str) -> set[str]:
    """The numbers for which a gateway has money."""
    entries = here.entries()[order_no]
    return {entry["order_no"] for entry in entries if entry["charged_fen"] > entry["refunded_fen"]}


def row(here: Street, order_no: str) -> dict[str, Any]:
    found = here.stage.facts.order(order_no)
    assert found is not None
    return found


def attempts(here: Street, order_no: str) -> list[tuple[str, int, str]]:
    """The numbers of second and later attempts that the database keeps."""
    sql = """SELECT reference, a.attempt, a.gateway FROM attempts a JOIN orders o ON o.id = a.order_id
              WHERE order_no = $1 ORDER BY a.attempt"""
    return [(found["reference"], found["attempt"], found["gateway"]) for found in here.stage.facts.rows(sql, order_no)]


# --- a definite failure --------------------------------------------------------------------------------


def test_each_definite_refusal_moves_the_order_on_under_a_number_of_its_own(here: Street) -> None:
    submit(here, "R-1", "refused", "refused")
    event = here.stage.producer.await_event("R-1", "succeeded").body
    assert (event["gateway"], event["attempt"], event["reason"]) == (THIRD, 3, None)
    assert pushed(here, "R-1") == {
        "R-1": ("wikeyun", 1, 0),
        "R-1R2": ("dingyin", 1, 0),
        "R-1R3": ("dingyin", 1, 1),
    }
    assert here.stage.producer.names("R-1") == ["accepted", "succeeded"]
    assert attempts(here, "R-1") == [("R-1R2", 2, SECOND), ("R-1R3", 3, THIRD)]


def test_when_the_last_one_refuses_too_the_order_has_failed(here: Street) -> None:
    submit(here, "R-2", "refused", "refused", "refused")
    event = here.stage.producer.await_event("R-2", "failed").body
    assert (event["gateway"], event["attempt"], event["reason"]["code"]) == (THIRD, 3, "5003")
    assert [charges for _, _, charges in pushed(here, "R-2").values()] == [0, 0, 0]


def test_an_order_that_was_taken_and_failed_later_moves_on_too(here: Street) -> None:
    submit(here, "R-3", "fails")
    event = here.stage.producer.await_event("R-3", "succeeded").body
    assert (event["gateway"], event["attempt"]) == (SECOND, 2)
    until(lambda: kept(here, "R-3") == {"R-3R2"}, 15, lambda: "the first does not give its money back")
    assert here.stage.facts.state("R-3") == "succeeded"


@pytest.mark.parametrize("fen", [5_000, 150_50])
def test_an_amount_that_a_gateway_does_not_sell_goes_on_without_a_call(here: Street, fen: int) -> None:
    """The first sells hundreds of yuan, the others any whole ones; what nobody sells has failed."""
    order_no = f"R-4-{fen}"
    submit(here, order_no, amount_fen=fen)
    sold = fen % 100 == 0
    event = here.stage.producer.await_event(order_no, "succeeded" if sold else "failed").body
    assert (event["attempt"], event["gateway"]) == ((2, SECOND) if sold else (3, THIRD))
    assert pushed(here, order_no) == ({f"{order_no}R2": ("dingyin", 1, 1)} if sold else {})
    assert here.market.cards(here.accounts[order_no]) == [], "not even its card was added"
    found = here.stage.facts.rows(
        "SELECT j.code, evidence FROM journal j JOIN orders o ON o.id = j.order_id"
        " WHERE order_no = $1 AND cause = 'rejected'",
        order_no,
    )
    assert {line["code"] for line in found} == {"amount_not_supported"}
    assert {json.loads(line["evidence"])["refused_by"] for line in found} == {"worker"}


# --- no definite failure -------------------------------------------------------------------------------


@pytest.mark.parametrize("fault", ["late_answer", "drop_after_read", "error_500_charged", "garbage", "cut_answer"])
def test_after_an_unknown_outcome_nobody_else_gets_the_order(here: Street, fault: str) -> None:
    order_no = f"R-5-{fault}"
    submit(here, order_no, fault)
    event = here.stage.producer.await_event(order_no, "succeeded").body
    assert (event["gateway"], event["attempt"]) == (FIRST, 1)
    assert "unknown" in here.stage.facts.path(order_no)
    assert pushed(here, order_no) == {order_no: ("wikeyun", 1, 1)}
    submit(here, f"{order_no}-good")  # or the worker would leave a gateway alone that answers nobody
    here.stage.facts.await_state(f"{order_no}-good", "pending", "succeeded")


def test_not_even_when_the_gateway_denies_the_order_for_good(here: Street) -> None:
    """A lost push is repeated there, under the same number: that it was lost is no failure of the order."""
    here.market.force("R-6", "not_received", times=2, gateway="wikeyun")
    here.stage.producer.submit(here.order("R-6", "wikeyun", "power"))
    event = here.stage.producer.await_event("R-6", "succeeded", seconds=30).body
    assert (event["gateway"], event["attempt"]) == (FIRST, 1)
    assert pushed(here, "R-6") == {"R-6": ("wikeyun", 3, 1)}


def test_nor_after_a_refusal_that_no_table_lists(here: Street) -> None:
    """It is in doubt, and when the order is settled as absent it has failed, with that code."""
    submit(here, "R-7", "unknown_code")
    event = here.stage.producer.await_event("R-7", "failed").body
    assert (event["gateway"], event["attempt"], event["reason"]["code"]) == (FIRST, 1, "9527")
    assert pushed(here, "R-7") == {"R-7": ("wikeyun", 1, 0)}


@pytest.mark.parametrize(("gateway", "fen"), [(FIRST, 20_000), (SECOND, 20_000), (FIRST, 5_000)])
def test_an_order_for_a_certain_gateway_stays_there(here: Street, gateway: str, fen: int) -> None:
    order_no = f"R-8-{gateway}-{fen}"
    here.market.force(order_no, "refused", gateway=gateway)
    here.stage.producer.submit(here.order(order_no, "wikeyun", "power", gateway=gateway, amount_fen=fen))
    event = here.stage.producer.await_event(order_no, "failed").body
    assert (event["gateway"], event["attempt"]) == (gateway, 1)
    assert attempts(here, order_no) == []
    assert set(pushed(here, order_no)) <= {order_no}


# --- an attempt that was given up, and lives -------------------------------------------------------------


@pytest.mark.parametrize(
    ("order_no", "faults", "lives"),
    [
        ("R-9", ("success_after_failure",), "R-9"),  # a hint, and the answer to the question that it asks for
        ("R-10", ("refused", "success_after_failure"), "R-10R2"),  # a signed callback
    ],
)
def test_a_late_success_of_an_attempt_that_was_given_up_is_for_a_person(
    here: Street, order_no: str, faults: tuple[str, ...], lives: str
) -> None:
    """Money may have moved twice, and here it has: nobody but a person can say what is to become of that."""
    submit(here, order_no, *faults)
    event = here.stage.producer.await_event(order_no, "review").body
    assert event["reason"]["code"] == "earlier_attempt_lives"
    found = row(here, order_no)
    assert (found["state"], found["review_kind"], found["reason_code"]) == (
        "review",
        "contradiction",
        "earlier_attempt_lives",
    )
    assert found["attempt"] == len(faults) + 1, "the attempt that is alive by our own doing is still the latest"
    sql = """SELECT j.attempt, evidence FROM journal j JOIN orders o ON o.id = j.order_id
              WHERE order_no = $1 AND cause = 'ghost'"""
    assert {line["attempt"] for line in here.stage.facts.rows(sql, order_no)} == {len(faults)}
    both = {lives, number(order_no, len(faults) + 1)}
    until(lambda: kept(here, order_no) == both, 15, lambda: "it was not charged twice: the case is not what it seems")


@pytest.mark.parametrize("attempt", [2, 3])
def test_a_callback_about_an_attempt_that_its_gateway_never_had_is_refused(here: Street, attempt: int) -> None:
    """The latest attempt, or one that was given up: both were another gateway's."""
    order_no = f"R-11-{attempt}"
    submit(here, order_no, "refused", "refused")
    here.stage.producer.await_event(order_no, "succeeded")
    before = len(here.stage.producer.letters())
    body = f"order_no={number(order_no, attempt)}&order_number=77&status=2".encode()
    here.stage.producer.publish("callback.wikeyun", json.dumps(wire.callback(FIRST, body)).encode())
    until(lambda: len(here.stage.producer.letters()) > before, 10, lambda: "no dead letter")
    headers = here.stage.producer.dead[-1].properties.headers
    assert (headers["x-dead-reason"], headers["x-dead-detail"]) == (
        "unknown_order",
        "body: its order is at another gateway",
    )
    assert here.stage.facts.state(order_no) == "succeeded"


def test_no_two_attempts_of_an_order_were_ever_alive_at_once(here: Street) -> None:
    """Whatever happened above: each attempt begins in the journal only after the end of the one before it."""
    sql = """SELECT order_no, cause, j.attempt, to_state FROM journal j JOIN orders o ON o.id = j.order_id
              ORDER BY order_no, j.at, j.version"""
    ends = {"rejected", "refused"}
    latest: dict[str, int] = {}
    ended: set[tuple[str, int]] = set()
    for line in here.stage.facts.rows(sql):
        order_no, attempt = line["order_no"], line["attempt"]
        if attempt > latest.get(order_no, 1):
            assert (order_no, attempt - 1) in ended, f"{order_no}: attempt {attempt} began too early"
        latest[order_no] = max(attempt, latest.get(order_no, 1))
        if line["cause"] in ends:
            ended.add((order_no, attempt))
    assert max(latest.values()) == 3
