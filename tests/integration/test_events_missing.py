"""The exchange of events is deleted under a worker: whatever it says of that comes before the producers' loss."""

from pathlib import Path

from support import amqp, wire
from support.stage import stage
from support.waiting import until

from worker.broker.topology import MIGRATE_UNHEARD


def test_its_log_and_readiness_say_to_stop_the_workers_first(
    amqp_url: str, database_server: str, tmp_path: Path
) -> None:
    with stage(amqp_url, database_server, tmp_path, "http://127.0.0.1:1") as made:
        made.gateway("wikeyun", "http://127.0.0.1:1/wikeyun")
        made.worker().await_ready()
        with amqp.channel(amqp_url) as there:
            there.exchange_delete(f"{made.prefix}.events")
        made.producer.submit(wire.order("T1"))
        until(lambda: MIGRATE_UNHEARD in made.workers[0].page("/readyz")[1], 20, made.log)
        assert "exchange_missing" in made.log()
        assert MIGRATE_UNHEARD in made.log()
        made.worker()
        until(lambda: f"is missing: {MIGRATE_UNHEARD}" in made.workers[1].log.read_text(), 20, made.log)
