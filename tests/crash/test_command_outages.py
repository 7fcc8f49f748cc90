"""Commands while the database is away, and while the broker is: who waits is told, and what changes is done later."""

import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import wire
from support.commander import Commander
from support.facts import Facts
from support.market import Market
from support.relay import Relay
from support.stage import Stage, stage
from support.waiting import until

from worker.embedded import Services
from worker.embedded.service import free_ports
from worker.sandbox import SandboxSettings

SETTLED_IN = 1.6  # RabbitMQ 3.10 may forget a quorum queue that is younger when it is killed


@pytest.fixture(scope="module")
def services() -> Iterator[Services]:
    """A broker and a database to be ended."""
    with Services() as running:
        yield running


@pytest.fixture
def here(services: Services, tmp_path: Path) -> Iterator[Stage]:
    """A deployment on these services, with an order that waits for its gateway."""
    with (
        Market(SandboxSettings(port=0)) as market,
        Relay(services.amqp_url) as relay,
        stage(services.amqp_url, services.dsn, tmp_path, relay.url) as made,
    ):
        made.gateway("wikeyun", market.gateway)
        made.gateway("never", f"http://127.0.0.1:{free_ports(1)[0]}/wikeyun")
        made.worker().await_ready()
        made.producer.submit(wire.order("O-1", gateway="never"))
        made.facts.await_state("O-1", "queued")
        time.sleep(SETTLED_IN)
        yield made
        assert made.workers[0].terminate() == 0, made.workers[0].tail()


def test_without_the_database_who_waits_is_told_and_a_cancel_that_nobody_waits_for_is_done_later(
    services: Services, here: Stage
) -> None:
    with Commander(here.amqp_url, here.prefix) as commander:
        services.postgres.stop_immediate()
        assert commander.data("balance.show", gateway="wikeyun")["balance_fen"] > 0
        began = time.monotonic()
        waiting = [commander.send(name, {"order_no": "O-1"}) for name in ("order.query", "order.cancel")]
        assert [commander.wait(number)["error"]["code"] for number in waiting] == ["unavailable"] * 2
        assert time.monotonic() - began < 6
        commander.send("order.cancel", {"order_no": "O-1"}, reply_to=None)
        time.sleep(4)  # it was tried, and given back
        services.postgres.start()
        here.facts.close()
        here.facts = Facts(here.dsn)
        until(lambda: commander.ask("order.query", {"order_no": "O-1"})["ok"], 60)
    here.facts.await_state("O-1", "cancelled", seconds=60)
    assert here.facts.causes("O-1").count("cancel_requested") == 1


def test_a_command_that_waits_in_a_broker_which_is_killed_is_carried_out(services: Services, here: Stage) -> None:
    with Commander(here.amqp_url, here.prefix) as commander:
        commander.send("order.cancel", {"order_no": "O-1"}, reply_to=None)
    services.rabbitmq.kill()
    services.rabbitmq.start()
    here.producer.reconnect()
    with Commander(here.amqp_url, here.prefix) as commander:
        here.workers[0].await_ready()
        until(lambda: commander.ask("order.cancel", {"order_no": "O-1"})["ok"], 60)
    assert here.facts.causes("O-1").count("cancel_requested") == 1
