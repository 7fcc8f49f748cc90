"""A campus order from the message to the event: real workers, a simulated school, and the test as its payer."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from support.commander import Commander
from support.market import Market
from support.stage import Stage, stage
from support.waiting import until

from worker.sandbox import SandboxSettings

TOKEN = "canary-campus-token"
NAME = "陈雅诺"
GATEWAY: dict[str, Any] = {
    "adapter": "zjzdy",
    "timeout_seconds": 1.5,
    "lease_seconds": 3,
    "query_after_seconds": [0.3, 0.5],
    "payment_grace_seconds": 1,
}


def order(order_no: str, ending: str = "00") -> dict[str, Any]:
    target = {
        "user_id": f"1012{order_no.encode().hex()[-6:]}{ending}",
        "name": NAME,
        "item_ids": ["10000001", "10000002"],
        "kind": "buy",
        "channel": "alipay_wap",
        "subject": "智慧校园一卡通",
        "body": "套餐B-带定位功能",
    }
    return {
        "order_no": order_no,
        "source": "shop",
        "product": "campus",
        "amount_fen": 34_600,
        "target": target,
    }


def user(order_no: str, ending: str = "00") -> str:
    return str(order(order_no, ending)["target"]["user_id"])


@contextmanager
def school(amqp_url: str, database_server: str, directory: Path, **simulator: Any) -> Iterator[tuple[Stage, Market]]:
    """A deployment with one campus gateway; no worker runs yet."""
    own = {"payer": "asked", "header": f"X-Token: {TOKEN}"} | simulator
    quick = SandboxSettings(
        port=0, settle_after=0.2, late_seconds=2.5, slow_seconds=0.3, payer_late_seconds=1.5, absent_seconds=1,
        unlisted_seconds=1, simulators={"zjzdy": own},
    )  # fmt: skip
    with Market(quick) as market, stage(amqp_url, database_server, directory, "http://127.0.0.1:1") as here:
        here.gateways["campus"] = GATEWAY | {"base_url": market.base("zjzdy")}
        here.sections["gateways.campus.headers"] = {"X-Token": TOKEN}
        yield here, market


@pytest.fixture(scope="module")
def shared(
    amqp_url: str, database_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Stage, Market]]:
    """A deployment whose worker runs, and whose charges last."""
    with school(amqp_url, database_server, tmp_path_factory.mktemp("school")) as (here, market):
        here.worker(spawn=True).await_ready()
        yield here, market


def proofs(here: Stage, order_no: str, cause: str) -> list[str]:
    sql = "SELECT evidence FROM journal j JOIN orders o ON o.id = j.order_id WHERE order_no = $1 AND cause = $2"
    return [str(row["evidence"]) for row in here.facts.rows(sql, order_no, cause)]


def test_the_payer_gets_the_credential_and_pays(shared: tuple[Stage, Market]) -> None:
    here, market = shared
    here.producer.submit(order("Z-paid"), correlation_id="c")
    told = here.producer.await_event("Z-paid", "awaiting_payment")
    charge = told.body["payment"]
    assert (charge["object"], charge["amount"], charge["channel"]) == ("charge", 34_600, "alipay_wap")
    assert charge["credential"]["alipay_wap"]["sign"].startswith("sandbox-")
    assert told.properties.correlation_id == "c"

    entry = market.entry(charge["order_no"])
    until(lambda: market.entry(charge["order_no"])["calls"].get("query", 0) >= 3, 20, lambda: "it is not asked about")
    assert here.facts.state("Z-paid") == "awaiting_payment", "error 1 and no data both mean not yet"
    assert market.paid(entry["account"]) == {"charges_made": 1, "paid": 0, "paid_fen": 0}

    assert market.pay(told.body["upstream_no"])
    done = here.producer.await_event("Z-paid", "succeeded").body
    assert (done["upstream_no"], done["payment"], done["reason"]) == (told.body["upstream_no"], None, None)
    assert here.producer.names("Z-paid") == ["accepted", "awaiting_payment", "succeeded"]
    assert here.facts.path("Z-paid") == ["submitting", "awaiting_payment", "succeeded"]
    (proof,) = proofs(here, "Z-paid", "arrived")
    assert "-09-01" in proof
    assert "-08-31" in proof
    assert market.paid(entry["account"])["paid"] == 1


def test_a_repeated_message_tells_the_credential_again(shared: tuple[Stage, Market]) -> None:
    here, market = shared
    here.producer.submit(order("Z-again"))
    first = here.producer.await_event("Z-again", "awaiting_payment").body
    here.producer.submit(order("Z-again"))
    second = here.producer.await_event("Z-again", "awaiting_payment", 2).body
    assert (second["payment"], second["upstream_no"]) == (first["payment"], first["upstream_no"])
    assert market.paid(user("Z-again"))["charges_made"] == 1


PAID = ["accepted", "awaiting_payment", "succeeded"]
FAULTS = {
    "01": (PAID, 2),  # late_answer
    "02": (PAID, 2),  # drop_after_read
    "03": (PAID, 1),  # drop_before_read
    "04": (PAID, 2),  # error_500_charged
    "05": (PAID, 2),  # garbage
    "07": (PAID, 2),  # unknown_code_charged: nobody has that charge's credential
    "08": (PAID, 1),  # unknown_status, for a while
    "13": (PAID, 1),  # absent_for_a_while
    "14": (["accepted", "failed"], 0),  # refused
    "16": (PAID, 1),  # slow
    "21": (["accepted", "review"], 1),  # other_amount
    "23": (PAID, 2),  # cut_answer
    "32": (PAID, 1),  # pays_late
}
"""What is told of an order whose user has such an ending, and how many charges are made for it."""


def test_whatever_happens_a_payer_is_charged_once(amqp_url: str, database_server: str, tmp_path: Path) -> None:
    with school(amqp_url, database_server, tmp_path, payer="himself") as (here, market):
        here.worker().await_ready()
        here.producer.submit(*(order(f"Z{ending}", ending) for ending in FAULTS))
        for ending, (told, made) in FAULTS.items():
            number = f"Z{ending}"
            here.producer.await_event(number, told[-1], seconds=40)
            assert here.producer.names(number) == told
            paid = int(told == PAID)
            assert market.paid(user(number, ending)) == {
                "charges_made": made,
                "paid": paid,
                "paid_fen": 34_600 * paid,
            }, number
        reasons = {number: here.producer.await_event(number, what).body["reason"]["code"]
                   for number, what in (("Z14", "failed"), ("Z21", "review"))}  # fmt: skip
        assert reasons == {"Z14": "1", "Z21": "mismatch"}


def test_a_charge_that_is_never_made_comes_before_a_person(amqp_url: str, database_server: str, tmp_path: Path) -> None:
    with school(amqp_url, database_server, tmp_path) as (here, market):
        here.gateways["campus"]["query_deadline_seconds"] = 2
        here.worker().await_ready()
        here.producer.submit(order("Z06", "06"))  # answered with an unlisted error, at every call
        told = here.producer.await_event("Z06", "review").body
        assert (told["reason"]["code"], told["payment"]) == ("no_answer", None)
        assert here.facts.causes("Z06").count("unanswered") >= 2
        assert market.paid(user("Z06", "06"))["charges_made"] == 0


def test_nobody_pays_in_time_and_then_somebody_does(amqp_url: str, database_server: str, tmp_path: Path) -> None:
    with school(amqp_url, database_server, tmp_path, pay_seconds=2) as (here, market):
        here.worker().await_ready()
        here.producer.submit(order("Z-never"))
        record_ids = here.producer.await_event("Z-never", "awaiting_payment").body["upstream_no"]
        over = here.producer.await_event("Z-never", "cancelled").body
        assert over["reason"]["code"] == "payment_expired"
        found = here.facts.order("Z-never")
        assert found is not None
        assert found["updated_at"] >= found["payment_expires_at"]
        assert proofs(here, "Z-never", "payment_due")[-1].count("paid") == 1, "the last answer is the proof"
        assert market.paid(user("Z-never"))["paid"] == 0

        assert market.pay(record_ids, anyway=True)
        (kept,) = here.facts.rows(
            "SELECT hints.xmin::text::bigint AS first, journal.xmin::text::bigint AS then FROM hints"
            " JOIN journal USING (order_id) WHERE to_state = 'cancelled' AND due_at > now() + interval '4 minutes'"
        )
        assert kept["first"] < kept["then"], "kept before the order ended: no crash between loses it"
        here.facts.rows("UPDATE hints SET due_at = now() RETURNING 1")  # those minutes later
        late = here.producer.await_event("Z-never", "review").body
        assert late["reason"]["code"] == "success_after_failure"
        until(lambda: not here.facts.rows("SELECT FROM hints"), 15)


def test_who_has_not_paid_is_looked_at_once_more_and_that_is_all(
    amqp_url: str, database_server: str, tmp_path: Path
) -> None:
    with school(amqp_url, database_server, tmp_path, pay_seconds=2) as (here, _):
        here.worker().await_ready()
        here.producer.submit(order("Z-not"))
        here.producer.await_event("Z-not", "cancelled")
        until(lambda: here.facts.rows("UPDATE hints SET due_at = now() RETURNING 1"), 15)
        until(lambda: not here.facts.rows("SELECT FROM hints"), 15)
        assert here.facts.state("Z-not") == "cancelled"
        assert here.facts.causes("Z-not").count("payment_due") == 3  # the charge, its expiry, and the last look


def test_a_payment_of_the_last_moment_counts(amqp_url: str, database_server: str, tmp_path: Path) -> None:
    with school(amqp_url, database_server, tmp_path, pay_seconds=2, shows_after=2.5) as (here, market):
        here.gateways["campus"]["payment_grace_seconds"] = 3
        here.worker().await_ready()
        here.producer.submit(order("Z-edge"))
        record_ids = here.producer.await_event("Z-edge", "awaiting_payment").body["upstream_no"]
        assert market.pay(record_ids)
        here.producer.await_event("Z-edge", "succeeded")
        assert here.producer.names("Z-edge") == PAID


def test_the_packages_of_a_user(shared: tuple[Stage, Market], amqp_url: str) -> None:
    here, _ = shared
    with Commander(amqp_url, here.prefix) as commander:
        wanted = {"gateway": "campus", "user_id": "10129580", "kind": "card", "pay_kind": "buy"}
        answer = commander.ask("packages.list", wanted)
    assert answer["ok"] is True
    assert answer["data"]["items"][0]["itemValue"] == 188


@pytest.mark.parametrize(
    ("point", "made"), [("submit.before", 1), ("submit.after", 2), ("apply.before: payment_due", 2)]
)
def test_a_worker_that_dies_with_a_credential_takes_it_along(
    amqp_url: str, database_server: str, tmp_path: Path, point: str, made: int
) -> None:
    """A second one makes another charge, whose credential is the only one that anybody gets."""
    with school(amqp_url, database_server, tmp_path) as (here, market):
        first = here.worker(f"{point}=SIGKILL")
        here.producer.submit(order("Z-died"))
        assert first.await_end() == -signal.SIGKILL, first.tail()
        assert here.facts.state("Z-died") == "submitting"
        here.worker().await_ready()
        told = here.producer.await_event("Z-died", "awaiting_payment").body
        assert market.paid(user("Z-died"))["charges_made"] == made
        assert market.pay(told["upstream_no"])
        here.producer.await_event("Z-died", "succeeded")
        assert here.producer.names("Z-died").count("awaiting_payment") == 1
        assert "unknown" not in here.facts.path("Z-died")
        assert market.paid(user("Z-died")) == {"charges_made": made, "paid": 1, "paid_fen": 34_600}


def test_a_worker_that_wakes_with_an_old_credential_tells_it_to_nobody(
    amqp_url: str, database_server: str, tmp_path: Path
) -> None:
    with school(amqp_url, database_server, tmp_path) as (here, market):
        sleeper = here.worker("submit.after=SIGSTOP")
        here.producer.submit(order("Z-slept"))
        sleeper.await_stopped()
        here.worker().await_ready()
        told = here.producer.await_event("Z-slept", "awaiting_payment").body
        sleeper.send(signal.SIGCONT)
        until(lambda: "old_news" in here.facts.causes("Z-slept"), 20, lambda: str(here.facts.steps("Z-slept")))
        found = here.facts.order("Z-slept")
        assert found is not None
        assert (found["state"], found["upstream_no"]) == ("awaiting_payment", told["upstream_no"])
        assert market.pay(told["upstream_no"])
        here.producer.await_event("Z-slept", "succeeded")
        assert here.producer.names("Z-slept").count("awaiting_payment") == 1
        assert market.paid(user("Z-slept")) == {"charges_made": 2, "paid": 1, "paid_fen": 34_600}


def test_what_must_not_be_shown_is_nowhere(shared: tuple[Stage, Market]) -> None:
    here, _ = shared
    journal = str(here.facts.rows("SELECT message, evidence FROM journal"))
    assert "payEndDate" in journal, "or there would be nothing to look through"
    for text in (here.log(), journal):
        for secret in (
            TOKEN,
            NAME,
            user("Z-paid"),
            "335731330112233",
            "89860318740012345678",
            "13900139000",
            "sandbox-",
        ):
            assert secret not in text
