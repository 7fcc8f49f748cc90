"""What a broker shows over AMQP to whoever checks it. Bindings and policies are not among that."""

import secrets
from collections.abc import Mapping
from dataclasses import dataclass

from worker.broker.connection import BrokerLostError, BrokerRefusedError, Link, ask
from worker.broker.depths import Depth, look
from worker.broker.topology import Problem, Topology, compare

_CONFIRM_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Broker:
    """One look at a broker."""

    version: str  # as it says; empty: it does not
    problems: list[Problem]  # what is missing or different
    depths: Mapping[str, Depth]  # by queue, of those that are there
    takes_messages: bool


async def examine(url: str, topology: Topology) -> Broker:
    """Look, and change nothing.

    Raises:
        BrokerLostError: the broker is away.
    """
    link = await Link.connect(url, "worker check")
    try:
        return Broker(
            version=link.version,
            problems=await compare(link, topology),
            depths=await look(link, [queue.name for queue in topology.queues]),
            takes_messages=await _takes_messages(link, topology.prefix),
        )
    finally:
        await link.close()


async def _takes_messages(link: Link, prefix: str) -> bool:
    """Publish messages that no queue gets: a broker whose memory or disk alarm is on confirms one only."""
    channel = await link.channel(confirms=True)
    key = f"{prefix}.check.{secrets.token_hex(8)}"  # of the default exchange: it names a queue that nobody has
    try:
        for _ in range(2):
            await ask(channel.basic_publish(b"", exchange="", routing_key=key), "publish", _CONFIRM_SECONDS)
    except BrokerRefusedError:
        return True  # we may not publish there, yet it was read
    except BrokerLostError:
        return False
    return True
