"""Dead letters where they lie, seen by an independent client."""

import asyncio
import json
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from typing import Any

import pika
from support import amqp, wire
from support.cli import Cli
from support.waiting import until

from schemas.documents import model_of
from worker.broker.letterbox import Letterbox
from worker.broker.topology import Topology
from worker.cli.dead_output import Row
from worker.flows.dead_letters import subject

DIED = "2026-11-21T12:00:00Z"


def headers(prefix: str, reason: str = "poison", queue: str = "submit.mobile") -> dict[str, Any]:
    """What a worker writes on a letter."""
    return {
        "x-dead-reason": reason,
        "x-dead-detail": "KeyError at intake.py:1",
        "x-dead-queue": f"{prefix}.{queue}",
        "x-dead-at": DIED,
    }


class Post:
    """Puts letters where they lie, and looks at queues, as an independent client."""

    def __init__(self, url: str, prefix: str) -> None:
        self._connection = pika.BlockingConnection(pika.URLParameters(url))
        self.channel = self._connection.channel()
        self.channel.confirm_delivery()
        self._hasty = self._connection.channel()  # without confirms
        self.prefix = prefix

    def put(self, exchange: str, key: str, body: bytes, given: dict[str, Any] | None = None, **properties: Any) -> None:
        """Publish, confirmed."""
        all_of_it = pika.BasicProperties(**({"delivery_mode": 2, "headers": given or {}} | properties))
        self.channel.basic_publish(exchange, key, body, all_of_it, mandatory=True)

    def orders(self, *numbers: str, reason: str = "poison", **changes: Any) -> None:
        """Put dead orders."""
        before, dead = amqp.depth_of(self.channel, f"{self.prefix}.dead"), f"{self.prefix}.dead"
        properties = pika.BasicProperties(delivery_mode=2, type="order.submit", headers=headers(self.prefix, reason))
        for number in numbers:
            self._hasty.basic_publish(
                dead, "submit.mobile", json.dumps(wire.order(number, **changes)).encode(), properties
            )
        until(lambda: amqp.depth_of(self.channel, dead) == before + len(numbers), 20, lambda: "not there")

    def reject(self, number: str) -> None:
        """Let the broker itself give an order up."""
        self.put(self.prefix, "submit.mobile", json.dumps(wire.order(number)).encode(), {"tenant": "a"})
        before = amqp.depth_of(self.channel, f"{self.prefix}.dead")
        method, _, _ = self.channel.basic_get(f"{self.prefix}.submit.mobile")
        assert method is not None
        self.channel.basic_nack(method.delivery_tag, requeue=False)
        until(lambda: amqp.depth_of(self.channel, f"{self.prefix}.dead") > before, 10, lambda: "not dead")

    def close(self) -> None:
        """Disconnect."""
        self._connection.close()


def listed(cli: Cli, *options: str) -> list[dict[str, Any]]:
    """Return what `dead list --json` tells."""
    code, out, err = cli("dead", "list", "--json", *options)
    assert (code, err) == (0, [])
    for line in out:
        model_of("dead.list").validate_json(line)
    return [json.loads(line) for line in out]


def lying(cli: Cli) -> list[dict[str, Any]]:
    """The same without a process of its own, which takes longer than looking."""

    async def look() -> list[dict[str, Any]]:
        topology = Topology(cli.prefix)
        async with Letterbox.open(cli.amqp_url, topology) as box:
            rows = [
                Row(n, letter, subject(letter, box.body(n), topology, datetime.now(UTC)))
                for n, letter in enumerate(box.letters)
            ]
            return [row.view() for row in rows]

    with ThreadPoolExecutor(1) as pool:
        return pool.submit(asyncio.run, look()).result()
