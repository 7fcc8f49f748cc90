"""Dead letters by the command line, as an operator uses it at night: nothing is lost, nothing is sent twice."""

import asyncio
import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pika
import pytest
from support import amqp, wire
from support.cli import ROOT, Cli, ended
from support.market import Market
from support.stage import Stage, stage
from support.waiting import until

from schemas.documents import model_of
from worker.broker.connection import BrokerLostError
from worker.broker.letterbox import Letterbox, LettersBusyError
from worker.broker.topology import Topology, TopologyError, declare
from worker.cli.dead_output import Row
from worker.embedded import RabbitMQ
from worker.flows.dead_letters import subject
from worker.sandbox import SandboxSettings

DIED = "2026-11-21T12:00:00Z"


def headers(prefix: str, reason: str = "poison", queue: str = "submit.mobile") -> dict[str, Any]:
    """What a worker writes on a letter."""
    return {
        "x-dead-reason": reason,
        "x-dead-detail": "KeyError at intake.py:1",
        "x-dead-queue": f"{prefix}.{queue}",
        "x-dead-at": DIED,
    }


KILLED = """
import asyncio, os, sys
from worker.broker.letterbox import Letterbox, Topology

async def main():
    async with Letterbox.open(sys.argv[1], Topology(sys.argv[2])):
        os.kill(os.getpid(), 9)

asyncio.run(main())
"""


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


@pytest.fixture
def post(cli: Cli, amqp_url: str) -> Iterator[Post]:
    """The queues, and somebody who puts letters there."""
    asyncio.run(declare(amqp_url, Topology(cli.prefix)))
    made = Post(amqp_url, cli.prefix)
    yield made
    made.close()


def listed(cli: Cli, *options: str) -> list[dict[str, Any]]:
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


ARMED = """
import sys
from support.launcher import arm
arm(sys.argv.pop(1))
from worker.cli import main
main()
"""


def replaying(cli: Cli, point: str, *options: str) -> "subprocess.Popen[str]":
    """Start a replay that sends itself a signal at a point of its code; see `launcher.py`."""
    return subprocess.Popen(
        [sys.executable, "-c", ARMED, point, "dead", "replay", *options],
        cwd=cli.directory,
        env=cli.environment | {"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


@pytest.mark.parametrize(
    ("point", "code", "published"),
    [
        ("publish.before:submit.mobile=SIGKILL", -signal.SIGKILL, 0),
        ("publish.after:submit.mobile=SIGKILL", -signal.SIGKILL, 200),
        ("forget.after=SIGKILL", -signal.SIGKILL, 200),
        ("publish.after:submit.mobile=SIGINT", 130, 200),
    ],
)
def test_a_replay_that_ends_in_the_middle_loses_nothing(
    cli: Cli, post: Post, point: str, code: int, published: int
) -> None:
    numbers = {f"T{n}" for n in range(250)}
    post.orders(*sorted(numbers))
    with ended(replaying(cli, point.replace("forget.", "letters."))) as process:
        _, err = process.communicate(timeout=60)
    assert (process.returncode, "Traceback" in err) == (code, False), err
    queue = f"{cli.prefix}.submit.mobile"
    assert amqp.depth(cli.amqp_url, queue) == published
    left = {each["order_no"] for each in lying(cli)}
    there = {json.loads(body)["order_no"] for _, _, body in amqp.take(cli.amqp_url, queue)}
    assert there | left == numbers
    assert len(left) >= 50
    exit_code, out, _ = cli("dead", "replay", "--reason", "poison")
    assert (exit_code, out[-1]) == (0, f"replayed {len(left)} letters")
    again = [json.loads(body)["order_no"] for _, _, body in amqp.take(cli.amqp_url, queue)]
    assert sorted(again) == sorted(left)
    assert lying(cli) == []


def test_what_a_person_is_asked(cli: Cli, post: Post) -> None:
    post.orders("T1", "T2")
    for answer, expected, left in ((b"n\n", 1, 2), (b"\n", 1, 2), (b"y\n", 0, 1)):
        ours, theirs = pty.openpty()
        with subprocess.Popen(
            [sys.executable, "-m", "worker", "dead", "replay", "--order-no", "T1"],
            cwd=cli.directory,
            env=cli.environment,
            stdin=theirs,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        ) as process:
            os.write(ours, answer)
            out, err = process.communicate(timeout=30)
        os.close(ours)
        os.close(theirs)
        assert "replay 1 letter? [y/N]" in err
        assert "at most 1 order could be submitted by it, for 100.00 yuan at most" in out
        assert (process.returncode, "nothing was replayed" in err) == (expected, expected == 1)
        assert len(lying(cli)) == left
    ours, theirs = pty.openpty()
    with subprocess.Popen(
        [sys.executable, "-m", "worker", "dead", "drop", "--all"],
        cwd=cli.directory,
        env=cli.environment,
        stdin=theirs,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as process:
        assert process.stderr is not None
        assert process.stderr.read(5) == "drop "  # it asks, and is interrupted
        process.send_signal(signal.SIGINT)
        assert process.wait(20) == 130
        process.communicate()
    os.close(ours)
    os.close(theirs)
    assert len(lying(cli)) == 1


def test_a_drop_is_told_in_the_log(cli: Cli, post: Post) -> None:
    post.orders("T1", "T2", "T3")
    assert cli("dead", "drop", "--order-no", "T1", "--dry-run")[1][-1] == "nothing was dropped"
    note = ["--note", "the shop took it back", "--operator", "anna"]
    code, out, err = cli("dead", "drop", "--order-no", "T1", "--order-no", "T3", *note)
    assert (code, out) == (0, ["2 letters of 3", "dropped 2 letters"])
    lines = [json.loads(line) for line in err]
    assert [(line["event"], line["order_no"], line["note"], line["operator"]) for line in lines] == [
        ("dead_letter_dropped", number, "the shop took it back", "anna") for number in ("T1", "T3")
    ]
    assert all("dropped_keys" not in line and line["letter"] for line in lines)
    assert [each["order_no"] for each in lying(cli)] == ["T2"]
    code, out, _ = cli("dead", "drop", "--all", "--json")
    assert (code, json.loads(out[0])["dropped"]) == (0, 1)
    assert lying(cli) == []


@pytest.mark.long
def test_thousands_of_letters(cli: Cli, post: Post) -> None:
    count = 3_000
    post.orders(*(f"T{n}" for n in range(count) if n % 3))
    post.orders(*(f"T{n}" for n in range(0, count, 3)), reason="expired")
    assert len(lying(cli)) == count
    assert len(listed(cli, "--reason", "expired")) == count // 3
    code, out, _ = cli("dead", "replay", "--reason", "expired")
    assert (code, out[-1]) == (0, f"replayed {count // 3} letters")
    numbers = [json.loads(body)["order_no"] for _, _, body in amqp.take(cli.amqp_url, f"{cli.prefix}.submit.mobile")]
    assert numbers == [f"T{n}" for n in range(0, count, 3)]
    assert len(lying(cli)) == count - count // 3


@pytest.fixture
def here(amqp_url: str, database_server: str, tmp_path: Path) -> Iterator[tuple[Stage, Market]]:
    """A worker's queues and ledger, and a gateway that charges at once."""
    with (
        Market(SandboxSettings(port=0, settle_after=0.1)) as market,
        stage(amqp_url, database_server, tmp_path, "http://127.0.0.1:1") as made,
    ):
        made.gateway("wikeyun", market.gateway)
        yield made, market


def test_the_gate_is_the_same_for_a_replay(here: tuple[Stage, Market], tmp_path: Path) -> None:
    """Replayed twice, or though it is known, an order is pushed once; what is wrong comes back, with its lineage."""
    made, market = here
    worker = made.worker().await_ready()
    cli = Cli(tmp_path, made.amqp_url, made.prefix, made.dsn)
    post = Post(made.amqp_url, made.prefix)
    made.producer.submit(wire.order("D-known"))
    made.producer.await_event("D-known", "succeeded")
    post.orders("D-new", "D-new", "D-known")
    post.orders("D-bad", amount_fen=-1)
    post.orders("D-known", amount_fen=20000, reason="order_conflict")
    code, out, _ = cli("dead", "replay", "--dry-run")
    assert (code, out[1]) == (0, "at most 1 order could be submitted by it, for 100.00 yuan at most")
    code, out, _ = cli("dead", "replay")
    assert (code, out[-1]) == (0, "replayed 5 letters")
    until(lambda: market.charges("D-new") == 1, 20, lambda: "it was not sent")
    until(lambda: len(lying(cli)) == 2, 10, lambda: "what is wrong did not come back")
    back = {each["order_no"]: each for each in lying(cli)}
    assert {number: each["reason"] for number, each in back.items()} == {
        "D-bad": "invalid_message",
        "D-known": "order_conflict",
    }
    assert cli("dead", "replay", "--id", back["D-bad"]["id"])[0] == 0
    until(lambda: len(lying(cli)) == 2, 10, lambda: "it did not come back")
    (again,) = (each for each in made.producer.letters() if each.body["order_no"] == "D-bad")
    assert again.properties.headers["x-replayed-count"] == 2
    assert again.properties.headers["x-replayed-from"] == back["D-bad"]["id"]
    assert (market.pushes("D-new"), market.charges("D-new")) == (1, 1)
    assert (market.pushes("D-known"), market.charges("D-known")) == (1, 1)
    post.close()
    assert worker.terminate() == 0
