"""Whatever the order in which deliveries finish: each tag is acknowledged exactly once, and none that is unfinished."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from worker.broker.frontier import Ack, Frontier

PATIENCE = 0.2


class Broker:
    """What RabbitMQ does with acks: a tag that is not outstanding, or a `multiple` that names one, ends the channel."""

    def __init__(self, delivered: int) -> None:
        self.outstanding = set(range(1, delivered + 1))
        self.frames = 0

    def read(self, acks: list[Ack], finished: set[int]) -> None:
        """Do what the acks say."""
        for ack in acks:
            self.frames += 1
            assert ack.tag in self.outstanding, "unknown delivery tag"
            gone = {tag for tag in self.outstanding if tag <= ack.tag} if ack.multiple else {ack.tag}
            assert gone <= finished, "an unfinished delivery was acknowledged"
            self.outstanding -= gone


@given(
    order=st.integers(1, 60).flatmap(lambda n: st.permutations(range(1, n + 1))),
    steps=st.lists(st.tuples(st.integers(1, 9), st.sampled_from([0.0, 0.05, 0.3])), max_size=60),
    unfinished=st.sets(st.integers(1, 60), max_size=5),
    crowd=st.integers(1, 20),
)
def test_random_completion_orders(
    order: list[int], steps: list[tuple[int, float]], unfinished: set[int], crowd: int
) -> None:
    frontier, broker, finished, now = Frontier(PATIENCE, crowd), Broker(len(order)), set[int](), 0.0
    todo = [tag for tag in order if tag not in unfinished]
    for size, pause in steps:
        for tag in todo[:size]:
            finished.add(tag)
            frontier.finish(tag, now)
        del todo[:size]
        now += pause
        broker.read(frontier.take(now), finished)
    for tag in todo:
        finished.add(tag)
        frontier.finish(tag, now)
    broker.read(frontier.take(now, flush=True), finished)
    assert broker.outstanding == set(range(1, len(order) + 1)) - finished
    assert frontier.waiting == 0
    assert frontier.take(now + 9, flush=True) == []


def test_a_prefix_is_one_frame() -> None:
    frontier = Frontier()
    for tag in range(1, 201):
        frontier.finish(tag, 0)
    assert frontier.take(0) == [Ack(200, multiple=True)]


def test_a_straggler_holds_the_others_only_for_a_moment() -> None:
    frontier = Frontier(PATIENCE, crowd=50)
    frontier.finish(2, 0)
    frontier.finish(3, 0.1)
    assert frontier.take(0.1) == []
    assert frontier.take(0.21) == [Ack(2, multiple=False), Ack(3, multiple=False)]
    frontier.finish(1, 0.3)
    assert frontier.take(0.3) == [Ack(1, multiple=True)]
    frontier.finish(4, 0.4)
    assert frontier.take(0.4) == [Ack(4, multiple=True)]


def test_a_crowd_does_not_wait() -> None:
    frontier = Frontier(PATIENCE, crowd=3)
    for tag in (2, 3, 4):
        frontier.finish(tag, 0)
    assert len(frontier.take(0)) == 3


@pytest.mark.parametrize("again", [1, 3])
def test_a_tag_that_finishes_twice_is_acknowledged_once(again: int) -> None:
    frontier = Frontier(PATIENCE, crowd=1)
    for tag in (1, 3):
        frontier.finish(tag, 0)
    assert frontier.take(0) == [Ack(1, multiple=True), Ack(3, multiple=False)]
    frontier.finish(again, 1)
    assert frontier.take(2, flush=True) == []
