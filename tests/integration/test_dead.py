"""Dead letters by the command line, as an operator uses it at night: nothing is lost, nothing is sent twice."""

import asyncio
import errno
import json
import signal
import subprocess
import sys
import tempfile
from typing import Any

import pytest
from support import amqp, wire
from support.cli import ROOT, Cli
from support.letters import DIED, Post, headers, listed, lying
from support.waiting import until

from worker.broker import letterbox
from worker.broker.connection import BrokerLostError
from worker.broker.letterbox import Letterbox, LettersBusyError, LettersUnreadError
from worker.broker.topology import Topology, TopologyError, declare
from worker.embedded import RabbitMQ

KILLED = """
import asyncio, os, sys
from worker.broker.letterbox import Letterbox, Topology

async def main():
    async with Letterbox.open(sys.argv[1], Topology(sys.argv[2])):
        os.kill(os.getpid(), 9)

asyncio.run(main())
"""


def test_the_list_tells_every_kind(cli: Cli, post: Post) -> None:
    assert cli("dead", "list") == (0, [], ["no such letters"])
    post.orders("T1")
    post.put(cli.prefix, "submit.gift", b'{"order_no": "T2", "product": "gift"}', {"x-dead-reason": "expired"})
    post.reject("T3")
    post.put(
        f"{cli.prefix}.dead", "callback.other", b"{", headers(cli.prefix, "unknown_gateway", "callbacks"), type="x"
    )
    letters = {each["key"] + (each["order_no"] or ""): each for each in listed(cli)}
    own = letters["submit.mobileT1"]
    assert own == {
        "id": own["id"],
        "reason": "poison",
        "detail": "KeyError at intake.py:1",
        "queue": f"{cli.prefix}.submit.mobile",
        "key": "submit.mobile",
        "at": DIED,
        "order_no": "T1",
    }
    unroutable = letters["submit.giftT2"]
    assert (unroutable["reason"], unroutable["queue"], unroutable["at"]) == ("unroutable", None, None)
    rejected = letters["submit.mobileT3"]
    assert (rejected["reason"], rejected["detail"]) == ("poison", "RabbitMQ gave it up: rejected")
    assert (rejected["queue"], rejected["at"] is not None) == (f"{cli.prefix}.submit.mobile", True)
    assert letters["callback.other"]["reason"] == "unknown_gateway"
    assert len({each["id"] for each in letters.values()}) == 4
    assert [each["order_no"] for each in listed(cli, "--reason", "poison", "--order-no", "T1")] == ["T1"]
    assert listed(cli, "--id", own["id"], "--id", unroutable["id"], "--limit", "1") == [own]
    code, out, err = cli("dead", "list", "--limit", "1")
    assert (code, err) == (0, ["the newest 1 of 4; --limit 0 lists all"])
    groups = [line.split() for line in out[: out.index("")]]
    assert groups[0] == ["reason", "gateway", "age", "letters", "orders", "oldest"]
    assert ["unknown_gateway", "other"] in [each[:2] for each in groups]
    assert len(out) == out.index("") + 3
    assert rejected["id"] in out[-1]  # the newest


async def test_letters_that_find_no_room_are_all_given_back(
    cli: Cli, post: Post, monkeypatch: pytest.MonkeyPatch
) -> None:
    """One that was not read must not be acknowledged together with those after it."""
    written = 0

    class Full(tempfile.SpooledTemporaryFile[bytes]):
        def write(self, body: Any) -> int:
            nonlocal written
            written += 1
            if written == 2:
                raise OSError(errno.ENOSPC, "No space left on device")
            return super().write(body)

    post.orders("T1", "T2", "T3")
    with monkeypatch.context() as patched:
        patched.setattr(letterbox, "SpooledTemporaryFile", Full)
        with pytest.raises(LettersUnreadError, match="No space left"):
            async with Letterbox.open(cli.amqp_url, Topology(cli.prefix)) as box:
                await box.forget(range(len(box.letters)))
    assert {each["order_no"] for each in lying(cli)} == {"T1", "T2", "T3"}


async def test_looking_wears_no_letter_out(cli: Cli, amqp_url: str) -> None:
    """The queue drops what is returned more than twice, as RabbitMQ 4 does after twenty times, and has no letters."""
    limited = {"x-queue-type": "quorum", "x-delivery-limit": 2}
    with amqp.channel(amqp_url) as there:
        there.queue_declare(f"{cli.prefix}.dead", durable=True, arguments=limited)
    with pytest.raises(TopologyError):  # it is not as ours; everything else is made
        await declare(amqp_url, Topology(cli.prefix))
    with amqp.channel(amqp_url) as there:
        there.queue_bind(f"{cli.prefix}.dead", f"{cli.prefix}.dead", "#")
    post = Post(amqp_url, cli.prefix)
    post.orders("T1")
    post.put(cli.prefix, "submit.gift", b'{"order_no": "T2"}', expiration="600000", message_id="m2")
    post.reject("T3")
    before = listed(cli)
    seen = []
    for _ in range(25):
        async with Letterbox.open(amqp_url, Topology(cli.prefix)) as box:
            seen.append({letter.id for letter in box.letters})
    assert seen == [{each["id"] for each in before}] * 25
    assert sorted(lying(cli), key=str) == sorted(before, key=str)
    for _ in range(3):  # killed while it has them in hand, and looked at in between
        done = await asyncio.to_thread(
            subprocess.run, [sys.executable, "-c", KILLED, amqp_url, cli.prefix], cwd=ROOT, check=False
        )
        assert done.returncode == -signal.SIGKILL
        assert sorted(lying(cli), key=str) == sorted(before, key=str)
    post.close()


async def test_only_one_has_the_letters_in_hand(cli: Cli, post: Post, amqp_url: str) -> None:
    post.orders("T1")
    async with Letterbox.open(amqp_url, Topology(cli.prefix)) as box:
        assert len(box.letters) == 1
        code, out, err = await asyncio.to_thread(cli, "dead", "list")
        assert (code, out) == (1, [])
        assert err == ["broker: another `worker dead` has the letters in hand: wait for it, or end it"]
        with pytest.raises(LettersBusyError):
            async with Letterbox.open(amqp_url, Topology(cli.prefix)):
                pass
    assert len(lying(cli)) == 1


@pytest.mark.long
async def test_nothing_is_taken_in_hand_while_the_broker_takes_no_messages() -> None:
    """Under an alarm no letter could be laid anew: it would be worn out by looking."""
    node = await asyncio.to_thread(lambda: RabbitMQ().__enter__())
    try:
        topology = Topology("orders")
        await declare(node.url, topology)
        post = Post(node.url, "orders")
        post.orders("T1")
        post.close()
        (node.directory / "rabbitmq.conf").write_text("vm_memory_high_watermark.absolute = 1MB\n")
        await asyncio.to_thread(node.restart)
        with pytest.raises(BrokerLostError, match="blocked"):
            async with Letterbox.open(node.url, topology):
                pass
        with amqp.channel(node.url) as there:
            method, _, _ = there.basic_get("orders.dead")
            assert method is not None
            assert not method.redelivered
    finally:
        await asyncio.to_thread(node.__exit__, None, None, None)


def test_what_is_not_there_is_told(cli: Cli, amqp_url: str) -> None:
    code, out, err = cli("dead", "list")
    assert (code, out) == (1, [])
    assert err[-1] == "run `worker migrate --broker`"
    assert cli("dead", "list", WORKER_AMQP__URL="amqp://guest:guest@127.0.0.1:1/")[0] == 1
    code, _, err = cli("dead", "replay", "--reason", "boredom")
    assert code == 2
    assert "boredom: expected one of invalid_message, unknown_product" in err[0]
    assert cli("dead", "drop")[0] == 2
    assert cli("dead", "drop", "--all", "--id", "d1")[0] == 2
    asyncio.run(declare(amqp_url, Topology(cli.prefix)))
    assert cli("dead", "replay", "--id", "d1")[::2] == (1, ["d1: there is no such letter"])
    assert cli("dead", "drop", "--order-no", "T9")[::2] == (1, ["T9: no letter is known to be about it"])
    assert cli("dead", "replay", "--reason", "poison")[0] == 0


def test_a_replay_says_first_what_it_would_come_to(cli: Cli, post: Post) -> None:
    post.orders("T1", "T2", "T2")
    post.orders("T3", reason="invalid_message", amount_fen=0)
    post.put(cli.prefix, "submit.gift", b"{}")
    post.put(f"{cli.prefix}.dead", "callback.wikeyun", b"{}", headers(cli.prefix, "poison", "callbacks"))
    code, out, err = cli("dead", "replay", "--dry-run", WORKER_DATABASE__DSN="postgresql://w@127.0.0.1:1/w")
    assert (code, err) == (0, [])
    assert out[0] == "6 of 6 letters: 4 orders, 1 callback, 1 message that no queue of the worker takes"
    assert out[1].startswith("at most 2 orders could be submitted by it, for 200.00 yuan at most (the ledger could not")
    assert out[-1] == "nothing was replayed"
    assert "1 of the orders cannot be taken in as they are, and come back here" in out
    code, out, _ = cli("dead", "replay", "--dry-run", "--json", "--order-no", "T2")
    told = json.loads(out[0])
    assert (code, len(out), len(told["letters"])) == (0, 1, 2)
    assert (told["orders"], told["amount_fen"], told["replayed"]) == (1, 10000, 0)
    assert amqp.depth(cli.amqp_url, f"{cli.prefix}.dead") == 6


def test_a_replayed_message_is_as_it_was(cli: Cli, post: Post) -> None:
    post.reject("T1")
    body = json.dumps(wire.order("T2")).encode()
    kept = {
        "content_type": "application/json",
        "message_id": "m2",
        "correlation_id": "c2",
        "priority": 3,
        "app_id": "x",
    }
    post.put(
        f"{cli.prefix}.dead",
        "submit.mobile",
        body,
        headers(cli.prefix) | {"tenant": "b", "x-dead-expiration": "9"},
        **kept,
    )
    post.put("", f"{cli.prefix}.submit.mobile", b"direct")  # by the default exchange: its key is the queue's name
    with amqp.channel(cli.amqp_url) as there:
        method, _, _ = there.basic_get(f"{cli.prefix}.submit.mobile")
        assert method is not None
        there.basic_nack(method.delivery_tag, requeue=False)
        until(lambda: amqp.depth_of(there, f"{cli.prefix}.dead") == 3, 10, lambda: "not dead")
    ids = {each["order_no"]: each["id"] for each in lying(cli)}
    code, out, err = cli("dead", "replay", "--yes")
    assert (code, out[-1], err) == (0, "replayed 3 letters", [])
    assert amqp.depth(cli.amqp_url, f"{cli.prefix}.dead") == 0
    got = {
        body: (method, properties)
        for method, properties, body in amqp.take(cli.amqp_url, f"{cli.prefix}.submit.mobile")
    }
    assert len(got) == 3
    method, properties = got[body]
    assert (method.exchange, method.routing_key) == (cli.prefix, "submit.mobile")
    assert {name: getattr(properties, name) for name in kept} == kept
    assert properties.delivery_mode == 2
    headers_now = {name: value for name, value in properties.headers.items() if name != "x-delivery-count"}
    replayed_at = headers_now.pop("x-replayed-at")
    assert replayed_at > DIED
    assert headers_now == {"tenant": "b", "x-replayed-from": ids["T2"], "x-replayed-count": 1}
    _, properties = got[json.dumps(wire.order("T1")).encode()]
    assert {name for name in properties.headers if not name.startswith("x-replayed-")} - {"x-delivery-count"} == {
        "tenant"
    }
    assert got[b"direct"][0].exchange == ""
