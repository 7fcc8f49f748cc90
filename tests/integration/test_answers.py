"""Answers to addresses at which the broker itself fails: they cost nobody else anything."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from unittest.mock import AsyncMock

import pytest
from aiormq import Channel
from support import amqp, wire
from support.commander import Commander
from support.market import Market
from support.stage import Stage, stage
from support.waiting import until

from worker.broker.answers import Answers
from worker.broker.connection import BrokerFailedError, BrokerLostError, Link
from worker.broker.message import Outgoing
from worker.broker.publisher import Publisher
from worker.sandbox import SandboxSettings

FOREIGN = "amq.rabbitmq.reply-to.g1h2AA5yZXBseUA5NDI0OTIwNAAAArMAAAAAawKrZw==.WZE24Qh9SSiPa0/2DLTyXg=="
"""A direct reply-to that a RabbitMQ 3.10 of another cluster gave: other nodes of 3.10 end the connection at it."""
IMPOSSIBLE = (FOREIGN, "amq.rabbitmq.reply-to.a.b")


@pytest.fixture
async def answers(amqp_url: str) -> AsyncIterator[Answers]:
    def never(reason: str) -> None:
        pytest.fail(f"stuck: {reason}")

    it = Answers(amqp_url, on_stuck=never, away_seconds=3, confirm_seconds=2, chance=lambda: 0)
    await it.start()
    yield it
    await it.stop()


@pytest.fixture(scope="module")
def here(amqp_url: str, database_server: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stage]:
    directory = tmp_path_factory.mktemp("answers")
    with (
        Market(SandboxSettings(port=0, settle_after=0.2)) as market,
        stage(amqp_url, database_server, directory, "http://127.0.0.1:1") as made,
    ):
        made.gateway("wikeyun", market.gateway)
        made.worker().await_ready()
        yield made


@pytest.mark.parametrize("reply_to", IMPOSSIBLE)
async def test_an_answer_at_which_the_broker_fails_is_unheard(answers: Answers, reply_to: str) -> None:
    assert await answers.publish(Outgoing("", reply_to, b"{}")) is False


async def test_a_connection_that_ends_before_the_answer_is_on_it_is_a_lost_one(
    answers: Answers, monkeypatch: pytest.MonkeyPatch
) -> None:
    """And no fault of the message's: that would make a dead letter of its command."""
    opened = Link.channel

    async def channel(link: Link, *, confirms: bool = False) -> Channel:
        made = await opened(link, confirms=confirms)
        if confirms:
            await link.close()
        return made

    monkeypatch.setattr(Publisher, "publish", AsyncMock(side_effect=BrokerFailedError("541")))
    monkeypatch.setattr(Link, "channel", channel)
    with pytest.raises(BrokerLostError):
        await answers.publish(Outgoing("", "anywhere", b"{}"))


async def test_answers_beside_an_impossible_one_arrive(answers: Answers, amqp_url: str, amqp_prefix: str) -> None:
    queue = f"{amqp_prefix}.seen"
    amqp.quorum(amqp_url, queue)
    messages = [Outgoing("", to, b"x") for to in (queue, *IMPOSSIBLE, queue) * 5]
    heard = await asyncio.gather(*map(answers.publish, messages))
    assert heard == [True, False, False, True] * 5
    assert len(amqp.take(amqp_url, queue)) >= 10  # an answer may come twice


def test_an_impossible_reply_to_stops_neither_letters_nor_commands_nor_events(here: Stage) -> None:
    producer = here.producer
    mine = producer.channel.queue_declare("", exclusive=True).method.queue
    for reply_to in (*IMPOSSIBLE, mine):
        producer.submit(wire.order("bad", amount_fen=0), reply_to=reply_to)
    with Commander(here.amqp_url, here.prefix) as commander:
        for reply_to in IMPOSSIBLE:
            commander.send("balance.show", {"gateway": "wikeyun"}, reply_to=reply_to)
        assert commander.ask("balance.show", {"gateway": "wikeyun"})["ok"] is True
    producer.submit(wire.order("T-1"))
    producer.await_event("T-1", "succeeded")
    until(lambda: len(producer.letters()) == 3, 30, here.log)
    assert {answer.body["error"]["code"] for answer in producer.take(mine)} == {"invalid_message"}
    assert amqp.depth(here.amqp_url, f"{here.prefix}.commands") == 0
    assert '"publisher_lost","connection":"worker publisher"' not in here.log()
