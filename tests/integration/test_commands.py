"""Commands, given by an independent client to `worker run` with a real broker, a real database and the sandbox."""

import json
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
from support import amqp, wire
from support.commander import Commander
from support.forgetful import forgetful_dingyin
from support.market import Market
from support.relay import Relay
from support.stage import Stage, stage
from support.waiting import until

from schemas.commands import ANSWERS, Refused
from schemas.dead import DeadHeaders
from worker.embedded.service import free_ports
from worker.sandbox import SandboxSettings

SETTLE_AFTER = 2.0  # so long can a pending order still be cancelled at the sandbox
NEVER = [600]
TIMEOUT = 1.5  # the gateways' of a stage
SILENT = "13800138009"  # taken, and never called back about
LOST = "13800138002"  # taken, and not answered
POWER = {
    "account_no": "3210000000011",
    "province": "江苏省",
    "city": "南京市",
    "grid": "state",
    "phone": "13812345678",
    "remark": "home",
}


@pytest.fixture(scope="module")
def market() -> Iterator[Market]:
    with Market(SandboxSettings(port=0, settle_after=SETTLE_AFTER, late_seconds=4, slow_seconds=0.3)) as running:
        yield running


@pytest.fixture(scope="module")
def dingyin() -> Iterator[str]:
    with forgetful_dingyin() as url:
        yield url


@pytest.fixture(scope="module")
def here(
    amqp_url: str, database_server: str, tmp_path_factory: pytest.TempPathFactory, market: Market, dingyin: str
) -> Iterator[Stage]:
    """A deployment whose worker asks gateways only when it is told to."""
    directory = tmp_path_factory.mktemp("commands")
    with Relay(amqp_url) as relay, stage(amqp_url, database_server, directory, relay.url) as made:
        made.gateway("wikeyun", market.gateway, query_after_seconds=NEVER)
        made.gateway("stuck", market.gateway, query_after_seconds=NEVER)
        made.gateway("never", f"http://127.0.0.1:{free_ports(1)[0]}/wikeyun")
        common = {"query_after_seconds": NEVER, "timeout_seconds": TIMEOUT, "lease_seconds": 4}
        made.gateways["dingyin"] = {
            "adapter": "dingyin",
            "base_url": dingyin,
            "notify_url": "http://127.0.0.1:1/callbacks/dingyin",
            "userid": "10001",
            "key": "k",
            **common,
        }
        made.gateways["campus"] = {"adapter": "zjzdy", "base_url": "http://127.0.0.1:1/zjzdy", **common}
        made.sections["routes"] = {"mobile": ["wikeyun"]}
        made.sections["amqp"] = {"url": amqp_url, "prefix": made.prefix, "prefetch": 1000}
        made.worker(spawn=True).await_ready()
        yield made
        assert made.workers[0].terminate() == 0, made.workers[0].tail()


@pytest.fixture
def commander(here: Stage) -> Iterator[Commander]:
    with Commander(here.amqp_url, here.prefix) as it:
        yield it


def pending(here: Stage, order_no: str, **changes: Any) -> None:
    """Have an order that the gateway has, and that nobody asks about."""
    here.producer.submit(wire.order(order_no, **{"mobile": SILENT, "gateway": "wikeyun", **changes}))
    here.facts.await_state(order_no, "pending")


# --- order.query ---------------------------------------------------------------------------------


def test_a_query_asks_now_and_answers_what_orders_show_shows(here: Stage, commander: Commander, market: Market) -> None:
    pending(here, "Q-1")
    assert commander.data("order.query", order_no="Q-1")["state"] == "pending"
    until(lambda: market.entry("Q-1")["status"] == "succeeded", 10)
    answer = commander.ask("order.query", {"order_no": "Q-1"})
    ANSWERS["order.query"].model_validate_json(json.dumps(answer))
    view = answer["data"]
    assert (view["state"], view["order_no"], view["amount_fen"], view["due_at"]) == ("succeeded", "Q-1", 10000, None)
    assert "journal" not in view
    here.producer.await_event("Q-1", "succeeded")
    assert commander.data("order.query", order_no="Q-1") == view


def test_a_query_settles_what_became_of_a_lost_submit(here: Stage, commander: Commander) -> None:
    here.producer.submit(wire.order("Q-2", mobile=LOST))
    here.facts.await_state("Q-2", "unknown")
    assert commander.data("order.query", order_no="Q-2")["state"] in ("pending", "succeeded")


def test_an_order_that_was_not_sent_is_not_asked_about(here: Stage, commander: Commander) -> None:
    here.producer.submit(wire.order("Q-3", gateway="never"))
    here.facts.await_state("Q-3", "queued")
    assert commander.data("order.query", order_no="Q-3")["state"] in ("queued", "submitting")


def test_a_gateway_without_an_answer_is_told_in_time(here: Stage, commander: Commander, market: Market) -> None:
    pending(here, "Q-4")
    market.force("Q-4", "error_500_charged", "query")
    assert commander.code("order.query", {"order_no": "Q-4"}, "http_500; the order is pending") == "unavailable"
    market.force("Q-4", "hold", "query")
    began = time.monotonic()
    assert commander.code("order.query", {"order_no": "Q-4"}, "the order is pending") == "timeout"
    assert time.monotonic() - began < TIMEOUT + 5
    market.release("Q-4")
    assert commander.data("order.query", order_no="Q-4")["order_no"] == "Q-4"


def test_an_order_that_nobody_has_is_unknown(commander: Commander) -> None:
    for name in ("order.query", "order.cancel"):
        assert commander.code(name, {"order_no": "nobodys"}, "order_no") == "unknown_order"


# --- order.cancel --------------------------------------------------------------------------------


def test_a_queued_order_is_cancelled_once_however_often_it_is_asked_for(here: Stage, commander: Commander) -> None:
    here.producer.submit(wire.order("C-1", gateway="never"))
    here.facts.await_state("C-1", "queued")
    until(lambda: commander.ask("order.cancel", {"order_no": "C-1"})["ok"], 10)  # a try to send it may be under way
    view = commander.data("order.cancel", order_no="C-1")
    assert (view["state"], view["reason"]["code"]) == ("cancelled", "cancelled_by_request")
    assert here.producer.await_event("C-1", "cancelled").body["reason"]["code"] == "cancelled_by_request"
    assert here.facts.causes("C-1").count("cancel_requested") == 1
    assert here.producer.names("C-1").count("cancelled") == 1


def test_a_cancel_that_nobody_waits_for_is_carried_out(here: Stage, commander: Commander) -> None:
    here.producer.submit(wire.order("C-2", gateway="never"))
    here.facts.await_state("C-2", "queued")

    def again() -> bool:
        commander.send("order.cancel", {"order_no": "C-2"}, reply_to=None)
        return here.facts.state("C-2") == "cancelled"

    until(again, 10)


def test_an_order_in_flight_is_not_cancelled(here: Stage, commander: Commander, market: Market) -> None:
    market.force("C-3", "hold")
    here.producer.submit(wire.order("C-3"))
    market.await_held("C-3")
    assert commander.code("order.cancel", {"order_no": "C-3"}, "being sent") == "refused"
    here.facts.await_state("C-3", "unknown")
    assert commander.code("order.cancel", {"order_no": "C-3"}, "not known yet") == "refused"
    assert here.facts.state("C-3") == "unknown"
    market.release("C-3")


def test_a_pending_order_is_cancelled_by_its_gateway_with_proof(
    here: Stage, commander: Commander, market: Market
) -> None:
    pending(here, "C-4", mobile="13800138000")
    first = commander.data("order.cancel", order_no="C-4")
    assert first["state"] in ("pending", "cancelled")
    assert market.entry("C-4")["status"] in ("cancelling", "cancelled")
    here.facts.await_state("C-4", "cancelled")
    view = commander.data("order.cancel", order_no="C-4")
    assert (view["state"], view["reason"]["code"]) == ("cancelled", "cancelled_by_gateway")
    here.producer.await_event("C-4", "cancelled")


def test_a_gateway_that_will_not_cancel_any_more_says_so(here: Stage, commander: Commander, market: Market) -> None:
    pending(here, "C-5")
    market.force("C-5", "refused", "cancel")
    assert commander.code("order.cancel", {"order_no": "C-5"}, "did not cancel it (2006") == "refused"
    assert here.facts.state("C-5") == "pending"


def test_a_cancel_without_an_answer_leaves_the_order_as_it_is(
    here: Stage, commander: Commander, market: Market
) -> None:
    pending(here, "C-6")
    market.force("C-6", "error_500_charged", "cancel")
    assert commander.code("order.cancel", {"order_no": "C-6"}, "the order is pending") == "unavailable"
    assert here.facts.state("C-6") == "pending"


def test_a_gateway_that_cannot_cancel_is_not_asked(here: Stage, commander: Commander) -> None:
    game = {"account": "player", "product_id": "9001"}
    here.producer.submit(wire.order("C-7", product="game", target=game, gateway="dingyin"))
    here.facts.await_state("C-7", "pending")
    assert commander.code("order.cancel", {"order_no": "C-7"}, "dingyin cannot cancel") == "not_supported"
    assert here.facts.state("C-7") == "pending"


def test_what_is_over_is_not_cancelled(here: Stage, commander: Commander) -> None:
    here.producer.submit(wire.order("C-8", mobile="13800138014"))
    here.facts.await_state("C-8", "failed")
    assert commander.code("order.cancel", {"order_no": "C-8"}, "has failed") == "refused"
    here.producer.submit(wire.order("C-9"))
    commander_sees = here.facts.await_state("C-9", "pending", "succeeded")
    until(lambda: commander.data("order.query", order_no="C-9")["state"] == "succeeded", 15, lambda: commander_sees)
    assert commander.code("order.cancel", {"order_no": "C-9"}, "has succeeded") == "refused"


# --- gateways, cards, packages -------------------------------------------------------------------


def test_balances(here: Stage, commander: Commander) -> None:
    answer = commander.ask("balance.show", {"gateway": "wikeyun"})
    ANSWERS["balance.show"].model_validate_json(json.dumps(answer))
    assert answer["data"]["balance_fen"] > 0
    assert commander.code("balance.show", {"gateway": "campus"}, "campus") == "not_supported"
    assert commander.code("balance.show", {"gateway": "nobody"}, "gateway") == "unknown_gateway"
    assert commander.code("balance.show", {"gateway": "never"}, "connect_refused") == "unavailable"


def test_a_card_is_added_once_shown_edited_and_deleted(here: Stage, commander: Commander, market: Market) -> None:
    named = {"gateway": "wikeyun", "kind": "power"}
    with ThreadPoolExecutor(4) as pool:

        def add(_: int) -> str:
            with Commander(here.amqp_url, here.prefix) as another:
                until(lambda: another.ask("card.add", {**named, **POWER})["ok"], 15)  # it may be busy
                return str(another.data("card.add", **named, **POWER)["card_id"])

        (card_id,) = set(pool.map(add, range(4)))
    assert len(market.cards(POWER["account_no"])) == 1
    shown = commander.data("card.show", **named, account_no=POWER["account_no"])
    assert shown["card_id"] == card_id
    assert POWER["account_no"] not in json.dumps(shown)
    edited = commander.data("card.edit", **named, **{**POWER, "city": "苏州市"})
    assert edited["card_id"] == card_id
    assert commander.data("card.delete", **named, card_id=int(card_id))["card_id"] == card_id
    assert commander.code("card.show", {**named, "account_no": POWER["account_no"]}, "unknown_card") == "refused"
    log = here.log()
    assert POWER["account_no"] not in log
    assert POWER["phone"] not in log


def test_what_a_gateway_does_not_have_is_not_supported(here: Stage, commander: Commander) -> None:
    wanted = {"user_id": "10129580", "kind": "card", "pay_kind": "buy"}
    assert commander.code("packages.list", {"gateway": "wikeyun", **wanted}, "wikeyun") == "not_supported"
    assert commander.code("packages.list", {"gateway": "campus", **wanted}, "connect") == "unavailable"
    assert commander.code("card.add", {"gateway": "dingyin", "kind": "power", **POWER}) == "not_supported"


# --- what is no command --------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("name", "body", "says", "properties"),
    [
        ("order.query", b"", "body: expected JSON", {}),
        ("order.query", b'{"order_no": "Q-1"', "body: expected JSON", {}),
        ("order.query", b'{"order_no": "Q-1", "force": true}', "force: unknown field", {}),
        ("order.query", b'{"order_no": 13912345678}', "order_no: expected a string", {}),
        ("order.pay", b'{"order_no": "Q-1"}', "command: expected one of order.query", {}),
        ("", b"{}", "command: expected one of order.query", {}),
        ("card.add", b'{"gateway": "wikeyun", "kind": "water"}', "kind: expected power or oil", {}),
        ("order.query", b'{"order_no": "Q-1"}', "type: expected order.query", {"type": "order.cancel"}),
        ("order.query", b'{"order_no": "Q-1"}', "content_type:", {"content_type": "text/plain"}),
    ],
)
def test_what_is_no_command_is_answered_and_kept(
    here: Stage, name: str, body: bytes, says: str, properties: dict[str, Any]
) -> None:
    with Commander(here.amqp_url, here.prefix) as commander:
        answer = commander.ask(name, body, **properties)
        commander.send(name, body, **{**properties, "reply_to": None})
    Refused.model_validate_json(json.dumps(answer))
    assert answer["error"]["code"] == "invalid_command"
    assert answer["error"]["message"].startswith(says)
    until(lambda: len(here.producer.letters()) == 2, 10)
    for letter in [here.producer.dead.pop(), here.producer.dead.pop()]:
        assert (letter.key, letter.raw) == (f"command.{name}", body)
        headers = {key: value for key, value in letter.properties.headers.items() if key.startswith("x-dead")}
        assert DeadHeaders.model_validate(headers).reason == "invalid_message"
        assert "13912345678" not in headers["x-dead-detail"]
    assert "13912345678" not in here.log()


def test_an_answer_that_nobody_can_get_stops_nobody(here: Stage, commander: Commander) -> None:
    commander.send("balance.show", {"gateway": "wikeyun"}, reply_to="no.such.queue")
    assert commander.data("balance.show", gateway="wikeyun")["balance_fen"] > 0
    until(lambda: "answer_unheard" in here.log(), 10)
    assert here.producer.ready("commands") == {"commands": 0}


def test_the_answer_carries_the_correlation_id_or_else_the_message_id(commander: Commander) -> None:
    commander.send("balance.show", {"gateway": "nobody"}, correlation_id=None, message_id="m-7")
    assert commander.wait("m-7")["error"]["code"] == "unknown_gateway"


# --- many at once --------------------------------------------------------------------------------


def test_commands_that_wait_for_a_stuck_gateway_hold_up_nobody(
    here: Stage, commander: Commander, market: Market
) -> None:
    pending(here, "M-1", gateway="stuck")
    market.force("M-1", "hold", "query", times=0)
    market.force("M-1", "hold", "cancel", times=0)
    for _ in range(300):
        commander.send("order.cancel", {"order_no": "M-1"}, reply_to=None)
    began = time.monotonic()
    waiting = [commander.send("order.query", {"order_no": "M-1"}) for _ in range(300)]
    assert commander.data("balance.show", gateway="wikeyun")["balance_fen"] > 0
    here.producer.submit(wire.order("M-2"))
    here.facts.await_state("M-2", "pending", "succeeded", seconds=TIMEOUT + 5)
    assert time.monotonic() - began < TIMEOUT + 5, "not after what the stuck ones take"
    codes = {commander.wait(number, TIMEOUT + 5)["error"]["code"] for number in waiting}
    assert codes <= {"timeout", "unavailable"}
    assert time.monotonic() - began < TIMEOUT + 10
    market.clear()
    market.release("M-1")
    until(lambda: amqp.depth(here.amqp_url, f"{here.prefix}.commands") == 0, 30)


def test_no_cancel_is_dropped_because_its_gateway_is_busy(here: Stage, commander: Commander, market: Market) -> None:
    numbers = [f"Y-{n}" for n in range(60)]
    for number in numbers:
        here.producer.submit(wire.order(number, mobile=SILENT, gateway="wikeyun"))
    for number in numbers:
        here.facts.await_state(number, "pending")
        market.force(number, "slow", "cancel")

    def codes() -> Counter[str]:
        lines = [json.loads(line) for line in here.log().splitlines() if '"command":"order.cancel"' in line]
        return Counter(line["code"] for line in lines if line.get("order_no") in numbers)

    before = codes()
    for number in numbers:
        commander.send("order.cancel", {"order_no": number}, reply_to=None)
    until(lambda: (codes() - before).total() >= len(numbers), 20)
    assert set(codes() - before) <= {"ok", "refused"}, "asked, every one of them"


@pytest.mark.parametrize("fault", ["hold_uncharged", "hold"])
def test_a_command_whose_worker_dies_is_carried_out_by_another(
    amqp_url: str, database_server: str, tmp_path: Path, fault: str
) -> None:
    """Whether or not the gateway had done what the first worker did not hear of."""
    order_no = f"T-{fault}"
    with (
        Market(SandboxSettings(port=0, settle_after=4)) as market,
        Relay(amqp_url) as relay,
        stage(amqp_url, database_server, tmp_path, relay.url) as made,
        Commander(amqp_url, made.prefix) as commander,
    ):
        made.gateway("wikeyun", market.gateway, query_after_seconds=[0.5])
        first = made.worker().await_ready()
        pending(made, order_no, mobile="13800138000")
        market.force(order_no, fault, "cancel")
        number = commander.send("order.cancel", {"order_no": order_no})
        market.await_held(order_no)
        first.kill()
        second = made.worker()
        answer = commander.wait(number)
        if fault == "hold_uncharged":
            assert answer["data"]["state"] in ("pending", "cancelled")
        made.facts.await_state(order_no, "cancelled")
        assert commander.data("order.cancel", order_no=order_no)["state"] == "cancelled"
        assert made.facts.causes(order_no).count("called_off") == 1
        market.release(order_no)
        assert market.pushes(order_no) == 1
        assert second.terminate() == 0
