"""The other side of the broker in tests: an independent client, as producers and operators are not us."""

import asyncio
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pika
from pika.adapters.blocking_connection import BlockingChannel

Got = tuple[pika.spec.Basic.GetOk, pika.BasicProperties, bytes]


@contextmanager
def channel(url: str) -> Iterator[BlockingChannel]:
    """A channel of a connection that lives as long."""
    with pika.BlockingConnection(pika.URLParameters(url)) as connection:
        yield connection.channel()


def quorum(url: str, *queues: str) -> None:
    """Declare quorum queues without further arguments."""
    with channel(url) as there:
        for queue in queues:
            there.queue_declare(queue, durable=True, arguments={"x-queue-type": "quorum"})


def delete(url: str, *queues: str) -> None:
    """Delete queues."""
    with channel(url) as there:
        for queue in queues:
            there.queue_delete(queue)


def put(url: str, queue: str, *bodies: bytes, **properties: Any) -> None:
    """Publish to a queue, confirmed."""
    with channel(url) as there:
        there.confirm_delivery()
        for body in bodies:
            there.basic_publish("", queue, body, pika.BasicProperties(delivery_mode=2, **properties), mandatory=True)


def depth(url: str, queue: str) -> int:
    """Messages that are ready."""
    with channel(url) as there:
        return depth_of(there, queue)


def depth_of(there: BlockingChannel, queue: str) -> int:
    """Messages that are ready, by a channel that is open."""
    return int(there.queue_declare(queue, passive=True).method.message_count)


def take(url: str, queue: str) -> list[Got]:
    """Everything that is ready in a queue, removed from it."""
    got: list[Got] = []
    with channel(url) as there:
        while True:
            method, properties, body = there.basic_get(queue, auto_ack=True)
            if method is None or properties is None or body is None:
                return got
            got.append((method, properties, body))


async def until(condition: Callable[[], Any], seconds: float = 10) -> None:
    """Wait for something to become true; fail when it does not."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not condition():
        assert asyncio.get_running_loop().time() < deadline, "not in time"
        await asyncio.sleep(0.02)
