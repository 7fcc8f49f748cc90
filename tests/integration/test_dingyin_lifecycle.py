"""dingyin from message to event: a real worker, broker and database, and the strict simulator as the judge."""

import json
import time
from collections.abc import Iterator
from typing import Any

import pytest
from support import wire
from support.market import Market
from support.relay import Relay
from support.stage import Stage, stage
from support.waiting import until

from worker.sandbox import SandboxSettings

METER = "32012345678"
HOLDER = "440106199001011234"
NEVER = [600]  # a query schedule beyond any test: what happens then was not a query's doing


def market_with(balance_fen: int) -> Market:
    simulators = {"dingyin": {"ack_body": "success", "key": "e2e-key"}}
    return Market(SandboxSettings(port=0, settle_after=0.3, balance_fen=balance_fen, late_seconds=5,
                                  absent_seconds=1, unlisted_seconds=1, simulators=simulators))  # fmt: skip


@pytest.fixture(scope="module")
def rich() -> Iterator[Market]:
    """A gateway where we have money enough."""
    with market_with(10**9) as running:
        yield running


@pytest.fixture(scope="module")
def poor() -> Iterator[Market]:
    """One where we have none."""
    with market_with(0) as running:
        yield running


@pytest.fixture(scope="module")
def here(amqp_url: str, database_server: str, tmp_path_factory: pytest.TempPathFactory, rich: Market, poor: Market
) -> Iterator[Stage]:  # fmt: skip
    """Electricity goes to `poor` first, all else to `rich`; `quiet` is never asked, `deaf` never called back."""
    directory = tmp_path_factory.mktemp("dingyin")
    with Relay(amqp_url) as relay, stage(amqp_url, database_server, directory, relay.url) as made:
        for name, market, changes in (
            ("poor", poor, {"unfunded_pause_seconds": 0.5}),
            ("drained", poor, {"unfunded_pause_seconds": 600}),
            ("rich", rich, {}),
            ("quiet", rich, {"query_after_seconds": NEVER}),
            ("deaf", rich, {}),
        ):
            made.gateways[name] = {
                "adapter": "dingyin",
                "base_url": market.base("dingyin"),
                "notify_url": f"{relay.url}/{made.prefix}/{name}" if name != "deaf" else "http://127.0.0.1:1/",
                "userid": "10086",
                "key": "e2e-key",
                "timeout_seconds": 1.5,
                "lease_seconds": 4,
                "query_after_seconds": [0.3, 0.5, 1],
                "settle_seconds": 2,
            } | changes
        made.sections["routes"] = {"power": ["poor", "rich"], "game": ["rich"], "douyin": ["drained", "rich"]}
        made.worker().await_ready()
        yield made
        assert made.workers[0].terminate() == 0, made.workers[0].tail()


def power(order_no: str, ending: str = "00", **changes: Any) -> dict[str, Any]:
    target = {"account_no": METER + ending, "province": "江苏省", "city": "南京市", "grid": "state"}
    return wire.order(order_no, product="power", gateway="rich", target=target) | changes


def game(order_no: str, account: str = "13590101500", **changes: Any) -> dict[str, Any]:
    target = {"account": account, "product_id": "3312"}
    return wire.order(order_no, product="game", target=target) | changes


def ends(here: Stage, order: dict[str, Any], *states: str) -> dict[str, Any]:
    """Submit an order, and return its row at the end."""
    here.producer.submit(order)
    here.facts.await_state(order["order_no"], *states)
    found = here.facts.order(order["order_no"])
    assert found is not None
    return found


def evidence(here: Stage, order_no: str, cause: str) -> dict[str, Any]:
    sql = """SELECT evidence, message FROM journal j JOIN orders o ON o.id = j.order_id
              WHERE order_no = $1 AND cause = $2 ORDER BY j.at DESC LIMIT 1"""
    (row,) = here.facts.rows(sql, order_no, cause)
    return {"message": row["message"], **json.loads(row["evidence"])}


def test_electricity_is_settled_by_its_signed_callback(here: Stage, rich: Market) -> None:
    target = {
        "account_no": METER + "00",
        "province": "广东省",
        "city": "深圳市",
        "grid": "southern",
        "holder_id": HOLDER,
    }
    ends(here, power("E-1", gateway="quiet", target=target), "succeeded")
    event = here.producer.await_event("E-1", "succeeded").body
    entry = rich.entry("E-1")
    assert (event["gateway"], event["cost_fen"], event["upstream_no"]) == ("quiet", 10_000, entry["order_number"])
    assert (entry["product"], entry["account"], entry["charged_fen"]) == ("power", METER + "00", 10_000)
    assert json.loads(entry["details"]["account"])["username"] == HOLDER[-6:]
    assert entry["details"]["userip"] == HOLDER
    assert "query" not in entry["calls"]
    proof = evidence(here, "E-1", "arrived")
    assert proof["signed"]["resultno"] == "1"
    assert "镕" in proof["unproven"]["remark1"]
    written = json.dumps(here.facts.rows("SELECT evidence::text, message FROM journal")) + here.log()
    for secret in (METER + "00", HOLDER, HOLDER[-6:], "e2e-key"):
        assert secret not in written


FAULTS = {
    "01": "succeeded", "02": "succeeded", "03": "succeeded", "04": "succeeded", "05": "succeeded", "06": "failed",
    "07": "succeeded", "08": "succeeded", "09": "succeeded", "10": "succeeded", "11": "succeeded", "12": "review",
    "13": "succeeded", "14": "failed", "15": "failed", "17": "queued", "19": "review", "23": "succeeded",
    "27": "succeeded", "29": "succeeded", "31": "succeeded", "35": "failed",
}  # fmt: skip
"""Where an order ends, by the last digits of its account. A refund and a reversal have no code but "failed" here."""
UNCHARGED = {"06", "14", "17"}


@pytest.fixture(scope="module")
def faulty(here: Stage) -> Stage:
    """All of them under way together: each needs its time."""
    here.producer.submit(*(power(f"F-{ending}", ending) for ending in FAULTS))
    return here


@pytest.mark.parametrize(("ending", "state"), FAULTS.items())
def test_whatever_it_does_the_order_ends_where_it_truly_stands(
    faulty: Stage, rich: Market, ending: str, state: str
) -> None:
    no = f"F-{ending}"
    if ending == "17":  # it never comes to anything, and is sent again only after a settled absence
        until(lambda: rich.pushes(no) >= 2, 30)
        assert faulty.facts.causes(no).count("absent") >= 3
    else:
        faulty.facts.await_state(no, state)
    assert rich.charges(no) == (0 if ending in UNCHARGED else 2 if ending == "12" else 1)
    found = faulty.facts.order(no)
    assert found is not None
    if ending == "06":
        assert found["reason_code"] == "9527"
    if ending == "14":
        assert (found["reason_code"], found["reason_message"]) == ("5003", "the product is not available")


@pytest.mark.parametrize(("ending", "told"), [("21", "amount: ours 10000 fen, theirs 20000 fen"), ("25", "account: ")])
def test_another_amount_or_account_in_a_query_is_for_a_person(
    here: Stage, rich: Market, ending: str, told: str
) -> None:
    found = ends(here, power(f"M-{ending}", ending, gateway="deaf"), "review")
    assert found["reason_code"] == "mismatch"
    assert found["reason_message"].startswith(told)
    assert rich.charges(f"M-{ending}") == 1


def test_a_forged_callback_is_a_dead_letter_and_moves_nothing(here: Stage, rich: Market) -> None:
    ends(here, power("D-26", "26"), "succeeded")
    until(lambda: any(each.properties.headers["x-dead-reason"] == "bad_signature" for each in here.producer.letters()),
          20, lambda: "no dead letter")  # fmt: skip
    assert "refused" not in here.facts.causes("D-26")
    assert rich.charges("D-26") == 1


def test_names_that_gb2312_does_not_have(here: Stage, rich: Market) -> None:
    found = ends(here, game("N-1", "朱镕基喆堃"), "succeeded")
    assert rich.entry("N-1")["account"] == "朱镕基喆堃"
    assert found["cost_fen"] == 9_850


def douyin(order_no: str, **changes: Any) -> dict[str, Any]:
    target = {"account": "dy-00", "product_id": "880", "quantity": 2, "buyer_ip": "10.0.0.7"}
    return wire.order(order_no, product="douyin", amount_fen=20_000, target=target) | changes


def test_douyin(here: Stage, rich: Market) -> None:
    found = ends(here, douyin("Y-1", gateway="rich"), "succeeded")
    entry = rich.entry("Y-1")
    assert (entry["product"], entry["details"]["num"], entry["details"]["userip"]) == ("douyin", "2", "10.0.0.7")
    assert found["cost_fen"] == entry["charged_fen"] == 19_700


def test_a_cost_above_the_amount_is_journalled_and_warned_about(here: Stage) -> None:
    found = ends(here, game("C-1", amount_fen=9_000), "succeeded")
    assert found["cost_fen"] == 9_850
    assert "it costs 98.50 yuan, above the order's 90.00" in str(evidence(here, "C-1", "accepted")["message"])
    assert '"cost_above_amount"' in here.log()


@pytest.mark.parametrize(
    ("order", "code"),
    [(power("B-1", amount_fen=10_050), "amount_not_supported"), (game("B-2", "emoji 😀"), "not_encodable")],
)
def test_what_cannot_be_sent_fails_without_a_call(here: Stage, rich: Market, order: dict[str, Any], code: str) -> None:
    assert ends(here, order, "failed")["reason_code"] == code
    assert rich.entries(order["order_no"]) == []


# --- our money there is used up ------------------------------------------------------------------


def test_the_next_gateway_gets_an_order_that_the_first_has_no_money_for(
    here: Stage, rich: Market, poor: Market
) -> None:
    found = ends(here, power("U-1", gateway=None), "succeeded")
    assert (found["gateway"], found["attempt"]) == ("rich", 2)
    assert (poor.charges("U-1"), rich.charges("U-1R2")) == (0, 1)
    assert ("submitting", "queued", "unfunded") in here.facts.steps("U-1")
    assert '"gateway_unfunded"' in here.log()


def test_an_order_with_no_other_gateway_waits_until_we_have_paid(here: Stage, poor: Market) -> None:
    here.producer.submit(power("U-2", gateway="poor"))
    here.facts.await_state("U-2", "queued")
    time.sleep(3)  # several trials' time: its balance says that they would be in vain
    assert here.facts.state("U-2") == "queued"
    assert here.producer.names("U-2") == ["accepted"], "nobody is told of a failure"
    poor.top_up("dingyin", 10_000)
    here.facts.await_state("U-2", "succeeded")
    found = here.facts.order("U-2")
    assert found is not None
    assert (found["attempt"], found["gateway"], poor.charges("U-2")) == (1, "poor", 1)
