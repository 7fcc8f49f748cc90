"""Replaying and dropping dead letters: what is asked, what is told, and what an end in the middle leaves."""

import json
import os
import pty
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
from support import amqp, wire
from support.cli import ROOT, Cli, ended
from support.letters import Post, listed, lying
from support.market import Market
from support.stage import Stage, stage
from support.waiting import until

from worker.sandbox import SandboxSettings

ARMED = """
import sys
from support.launcher import arm
arm(sys.argv.pop(1))
from worker.cli import main
main()
"""


def struck(cli: Cli, point: str, *words: str) -> "subprocess.Popen[str]":
    """Start a `worker dead …` that sends itself a signal at a point of its code; see `launcher.py`."""
    return subprocess.Popen(
        [sys.executable, "-c", ARMED, point, "dead", *words],
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
    with ended(struck(cli, point.replace("forget.", "letters."), "replay")) as process:
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


@pytest.mark.parametrize(
    ("point", "words", "code"),
    [
        ("letters.before=SIGINT", ("drop", "--all"), 130),
        ("letters.before=SIGTERM", ("drop", "--all"), 143),
        ("letters.after=SIGINT", ("drop", "--all"), 130),
        ("publish.after:submit.mobile=SIGINT", ("replay",), 130),
        ("publish.after:submit.mobile=SIGTERM", ("replay",), 143),
    ],
)
def test_what_an_interrupted_command_tells_is_true(
    cli: Cli, post: Post, point: str, words: tuple[str, ...], code: int
) -> None:
    post.orders(*(f"T{n}" for n in range(250)))
    with ended(struck(cli, point, *words)) as process:
        _, err = process.communicate(timeout=60)
    done = 250 - len(lying(cli))
    assert (process.returncode, done) == (code, 200), err
    told = "dropped" if words[0] == "drop" else "replayed"
    assert f"200 of 250 letters are {told}; the others lie there still" in err
    assert err.count("dead_letter_dropped") == (done if told == "dropped" else 0)


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
