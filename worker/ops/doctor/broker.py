"""RabbitMQ, as far as AMQP shows it: topology, alarms, and what lies in the queues."""

import re
from collections.abc import AsyncGenerator, Iterator
from typing import TYPE_CHECKING

from worker.broker.checkup import Broker, examine
from worker.broker.connection import BrokerLostError
from worker.broker.topology import Topology
from worker.core.finding import Finding
from worker.core.masking import mask_text

if TYPE_CHECKING:
    from worker.config import Settings

OLDEST = (3, 10)
"""The first RabbitMQ whose quorum queues hand on what dies in them at least once."""

_REACH = "start RabbitMQ, or correct host, user, password or vhost in amqp.url"
_TRUST = "add `?cafile=…` to amqp.url, with the certificate of who signed RabbitMQ's, for the host that amqp.url names"
_VERSION = re.compile(r"([0-9]+)\.([0-9]+)")


async def check_broker(settings: "Settings") -> AsyncGenerator[Finding, None]:
    """Yield what there is to say about the broker."""
    topology = Topology(settings.amqp.prefix)
    try:
        broker = await examine(settings.amqp.url.get_secret_value(), topology)
    except BrokerLostError as error:
        line = mask_text(str(error))
        yield Finding.failed("broker", line, _TRUST if "CERTIFICATE_VERIFY_FAILED" in line else _REACH)
        return
    yield _version(broker.version)
    for finding in (*_topology(broker, topology), *_queues(broker, topology)):
        yield finding


def _version(told: str) -> Finding:
    found = _VERSION.match(told)
    if found is None:
        return Finding.ok("broker", "it does not say which version it is")
    if (int(found[1]), int(found[2])) < OLDEST:
        wanted = ".".join(map(str, OLDEST))
        return Finding.failed("broker", f"RabbitMQ {told} may lose what dies in a queue", f"upgrade it to {wanted}")
    return Finding.ok("broker", f"RabbitMQ {mask_text(told)}")


def _topology(broker: Broker, topology: Topology) -> Iterator[Finding]:
    for problem in broker.problems:
        yield Finding.failed("broker.topology", problem.what, problem.fix)
    if not broker.problems:
        count = f"{len(topology.exchanges)} exchanges and {len(topology.queues)} queues below `{topology.prefix}`"
        yield Finding.ok("broker.topology", f"{count}; AMQP shows neither bindings nor policies")
    if broker.takes_messages:
        yield Finding.ok("broker.alarms", "it takes messages")
    else:
        yield Finding.failed(
            "broker.alarms",
            "it takes no messages: its memory or disk alarm is on",
            "give it disk space or memory (`rabbitmq-diagnostics alarms` says which); it goes on by itself",
        )


def _queues(broker: Broker, topology: Topology) -> Iterator[Finding]:
    """Yield which queues grow because nobody takes from them, and whether dead letters wait for a person."""
    left = {
        name: depth.messages
        for name, depth in broker.depths.items()
        if name != topology.dead and depth.messages and not depth.consumers
    }
    if left:
        told = ", ".join(f"{count} in `{name}`" for name, count in left.items())
        fix = "start `worker run` (with --products: one that takes these, too); of one that runs, see what /readyz says"
        yield Finding.warning("broker.queues", f"messages wait that no worker takes: {told}", fix)
    dead = broker.depths.get(topology.dead)
    if dead is not None and dead.messages:
        detail = f"{dead.messages} dead letters wait in `{topology.dead}`"
        yield Finding.warning("broker.dead", detail, "see `worker dead list`, then replay or drop them")
