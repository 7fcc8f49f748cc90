"""Events that no queue takes: the log names who should have heard them, once in a while and not for each."""

import random
from collections.abc import Sequence
from types import SimpleNamespace
from typing import TYPE_CHECKING, cast

import pytest
from structlog.testing import capture_logs

from worker.broker.message import Outgoing
from worker.core.trace import Tracing
from worker.flows import events
from worker.flows.events import EventPublisher
from worker.ledger.rows import OutboxEvent

if TYPE_CHECKING:
    from worker.broker.publisher import Publisher


class _Deaf:
    """A broker that confirms everything, and has a queue for `heard` alone."""

    async def publish_many(self, messages: Sequence[Outgoing]) -> list[bool]:
        return [message.routing_key.endswith(".heard") for message in messages]


def event(source: str) -> OutboxEvent:
    return OutboxEvent(message_id="T1:1", key=f"order.succeeded.{source}", body=b"{}", correlation_id=None, trace=None)


async def test_one_line_tells_of_all_that_nobody_heard(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 100.0
    monkeypatch.setattr("worker.flows.events.time", SimpleNamespace(monotonic=lambda: now))
    publisher = EventPublisher(cast("Publisher", _Deaf()), "orders.events", Tracing(random.getrandbits))
    with capture_logs() as lines:
        await publisher._publish([event("shop"), event("heard")])
        await publisher._publish([event("shop"), event("till")])
        assert [line["count"] for line in lines] == [1]
        now += events.TELL_SECONDS
        publisher._tell_unheard()
        publisher._tell_unheard()
    assert [(line["event"], line["count"], line["sources"]) for line in lines] == [
        ("events_unheard", 1, ["shop"]),
        ("events_unheard", 2, ["shop", "till"]),
    ]
    assert publisher.counts == {"confirmed": 1, "unheard": 3, "failed": 0}
