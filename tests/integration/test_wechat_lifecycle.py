"""An e-bike deduction from the message to the event: a real worker, and a simulator that signs and verifies itself."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.market import Market
from support.relay import Relay
from support.stage import Stage, stage
from support.waiting import until

from worker.sandbox import SandboxSettings

APIV3_KEY = "0123456789abcdefGHIJKLMNOPQRSTUV"
CERTIFICATE = "5157F09EFDC096DE15EBE81A47057A7200000001"
PUBLIC_KEY = "PUB_KEY_ID_0119000000010000000000000001"
UNKNOWN_KEY = "PUB_KEY_ID_0119000000010000000000000002"
TARGET = {
    "description": "充电",
    "started_at": "2026-11-21T10:00:00+08:00",
    "ended_at": "2026-11-21T12:00:00+08:00",
    "station_name": "北门",
    "gun_number": "6555",
    "capacity": 10,
    "park_minutes": 0,
    "device_id": "12343232",
    "device_ip": "192.0.2.7",
    "attach": "north",
}
GATEWAY: dict[str, Any] = {
    "adapter": "wechat_ebike",
    "mchid": "1900000001",
    "appid": "wxd678efh567hg678",
    "serial_no": "1DDE55AD98ED71D6EDD4A4A16996DE7B47773A8C",
    "apiv3_key": APIV3_KEY,
    "timeout_seconds": 1.5,
    "lease_seconds": 4,
    "query_after_seconds": [0.3, 0.5, 1],
    "settle_seconds": 2,
    "settle_queries": 3,
}
FAULTS = {
    "00": "succeeded",
    "01": "succeeded",  # late_answer
    "02": "succeeded",  # drop_after_read
    "03": "succeeded",  # drop_before_read: sent again after a settled absence
    "04": "succeeded",  # error_500_charged
    "05": "succeeded",  # garbage
    "06": "failed",  # unknown_code, and then a settled absence
    "07": "succeeded",  # unknown_code_charged
    "08": "succeeded",  # unknown_status
    "09": "succeeded",  # no_callback
    "10": "succeeded",  # five_callbacks
    "11": "succeeded",  # early_callback
    "12": "review",  # success_after_failure
    "14": "failed",  # refused
    "15": "refunded",  # fails, and is refunded
    "16": "succeeded",  # slow
    "23": "succeeded",  # cut_answer
    "26": "succeeded",  # forged_callback
    "27": "review",  # other_amount_callback
    "30": "succeeded",  # forged_answer
    "31": "succeeded",  # already_submitted
}
"""What becomes of an order whose charging token has such an ending."""


def order(order_no: str, ending: str = "00") -> dict[str, Any]:
    target = TARGET | {"charging_token": f"sdjf23kdsHJfdk{ending}"}
    return {"order_no": order_no, "source": "shop", "product": "ebike", "amount_fen": 888, "target": target}


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("keys")


@pytest.fixture(scope="module")
def market(keys: Path) -> Iterator[Market]:
    own = {"keys": str(keys), "apiv3_key": APIV3_KEY}
    quick = SandboxSettings(port=0, settle_after=0.6, late_seconds=2.5, slow_seconds=0.3, simulators={"wechat": own})
    with Market(quick) as running:
        yield running


def configure(here: Stage, market: Market, keys: Path, *serials: str) -> None:
    """Configure the gateway for the workers that are started from now on, with these platform keys."""
    here.gateway("ebike", market.base("wechat"))
    here.gateways["ebike"] = GATEWAY | {
        "base_url": market.base("wechat"),
        "notify_url": here.gateways["ebike"]["notify_url"],
        "private_key": (keys / "apiclient_key.pem").read_text(),
    }
    here.sections["gateways.ebike.platform_keys"] = {serial: (keys / f"{serial}.pem").read_text() for serial in serials}


@pytest.fixture(scope="module")
def here(amqp_url: str, database_server: str, market: Market, keys: Path) -> Iterator[Stage]:
    """One deployment for all tests of this file, its worker running, an order of each fault under way."""
    with Relay(amqp_url) as relay, stage(amqp_url, database_server, keys, relay.url) as made:
        configure(made, market, keys, CERTIFICATE, PUBLIC_KEY)
        made.worker(spawn=True).await_ready()
        made.producer.submit(*(order(f"W{ending}", ending) for ending in FAULTS))
        yield made


@pytest.mark.parametrize(("ending", "state"), FAULTS.items())
def test_an_order_ends_truly_and_is_charged_once(here: Stage, market: Market, ending: str, state: str) -> None:
    number = f"W{ending}"
    here.facts.await_state(number, state, seconds=40)
    entry = market.entry(number)
    assert entry["charges"] == (0 if state == "failed" else 2 if ending == "12" else 1), "12 charges again by itself"
    assert entry["pushes"] == (2 if ending == "03" else 1)
    here.producer.await_event(number, state)


def test_the_callback_brings_the_end_with_its_proof(here: Stage, market: Market) -> None:
    here.producer.submit(order("W-proof"))
    told = here.producer.await_event("W-proof", "succeeded").body
    assert told["upstream_no"] == market.entry("W-proof")["order_number"]
    (proof,) = here.facts.rows(
        """SELECT evidence FROM journal j JOIN orders o ON o.id = j.order_id
            WHERE order_no = 'W-proof' AND cause = 'arrived'"""
    )
    assert '"trade_state"' in str(proof["evidence"])
    assert "888" in str(proof["evidence"])


def test_a_refund_that_comes_later_is_told_too(here: Stage, market: Market) -> None:
    here.producer.submit(order("W-reversed", "19"))
    here.producer.await_event("W-reversed", "succeeded")
    here.producer.await_event("W-reversed", "refunded")
    assert market.entry("W-reversed")["refunded_fen"] == 888


def test_a_forged_callback_is_a_dead_letter(here: Stage) -> None:
    def letters() -> list[str]:
        return [
            str(letter.properties.headers["x-dead-reason"])
            for letter in here.producer.letters()
            if letter.properties.headers and letter.key == "callback.ebike"
        ]

    until(lambda: "bad_signature" in letters(), 20, lambda: str(letters()))
    assert set(letters()) == {"bad_signature"}


def test_what_must_not_be_shown_is_nowhere(here: Stage, keys: Path) -> None:
    evidence = here.facts.rows("SELECT message, evidence FROM journal")
    private = (keys / "apiclient_key.pem").read_text().splitlines()[1]
    for text in (here.log(), str(evidence)):
        for secret in (APIV3_KEY, private, "sdjf23kdsHJfdk", "oUpF8uMuAJO"):
            assert secret not in text


def test_the_operator_hears_once_that_the_service_is_no_more(here: Stage) -> None:
    assert here.log().count("2019-12-16") == 1


def test_keys_rotate(here: Stage, market: Market, keys: Path) -> None:
    """First to a key that is configured; then to one that is not: nothing is believed, until it is."""
    assert market.rotate("wechat")["serial"] == PUBLIC_KEY
    here.producer.submit(order("W-rotated"))
    here.facts.await_state("W-rotated", "succeeded")

    assert market.rotate("wechat")["serial"] == UNKNOWN_KEY
    here.producer.submit(order("W-refused", "14"), order("W-untold"))
    here.facts.await_state("W-refused", "unknown")
    here.facts.await_state("W-untold", "unknown")
    until(lambda: market.entry("W-untold")["calls"].get("query", 0) >= 3, 20, lambda: "it is not asked about")
    assert here.facts.state("W-refused") == here.facts.state("W-untold") == "unknown"
    assert f"platform_keys holds no key {UNKNOWN_KEY}" in str(here.facts.rows("SELECT message FROM journal"))
    assert f"platform_keys holds no key {UNKNOWN_KEY}" in here.log()

    assert here.workers[0].terminate() == 0, here.workers[0].tail()
    configure(here, market, keys, PUBLIC_KEY, UNKNOWN_KEY)
    here.worker().await_ready()
    here.facts.await_state("W-untold", "succeeded", seconds=40)
    here.facts.await_state("W-refused", "failed", seconds=40)  # sent again after a settled absence, and refused
    assert market.charges("W-untold") == 1
    assert market.charges("W-refused") == 0


def test_too_many_requests_are_sent_later(amqp_url: str, database_server: str, tmp_path: Path) -> None:
    own = {"keys": str(tmp_path), "apiv3_key": APIV3_KEY, "charges_per_second": 2}
    settings = SandboxSettings(port=0, settle_after=0.1, simulators={"wechat": own})
    with (
        Market(settings) as market,
        Relay(amqp_url) as relay,
        stage(amqp_url, database_server, tmp_path, relay.url) as made,
    ):
        configure(made, market, tmp_path, CERTIFICATE)
        made.worker().await_ready()
        made.producer.submit(*(order(f"R-{number}") for number in range(4)))
        for number in range(4):
            made.facts.await_state(f"R-{number}", "succeeded", seconds=60)
            assert market.charges(f"R-{number}") == 1
        codes = [row["code"] for row in made.facts.rows("SELECT code FROM journal WHERE cause = 'not_sent'")]
        assert set(codes) == {"FREQUENCY_LIMITED"}
