"""The manuals' blocks, typed one after another as their reader would, against real services."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pika
import pytest
import support.standby
from support.deployment import skip_unless_there
from support.manuals import README, ROOT, RUNBOOK, Block, blocks
from support.terminal import Terminal

RESTORE = "After a restore to an older state"


@pytest.fixture(scope="module")
def standby() -> Iterator[str]:
    """Where commands of the worker are there at once."""
    with tempfile.TemporaryDirectory() as directory:
        path = f"{directory}/standby"
        arguments = [sys.executable, str(Path(support.standby.__file__)), path]
        environment = {**os.environ, "PYTHONPATH": str(ROOT)}
        with subprocess.Popen(arguments, env=environment, stdout=subprocess.PIPE) as server:
            assert server.stdout is not None
            server.stdout.readline()
            yield path
            server.kill()


@pytest.fixture
def terminal(tmp_path: Path, amqp_url: str, amqp_prefix: str, database_dsn: str, standby: str) -> Iterator[Terminal]:
    """A terminal in an empty directory, before a broker and a database that are empty."""
    skip_unless_there("curl", "the runbook looks at probes with it: apt-get install curl")
    made = Terminal(tmp_path, amqp_url, amqp_prefix, database_dsn, standby)
    yield made
    made.close()


def typed(manual: Path) -> list[Block]:
    """Return the blocks of a manual that are typed."""
    return [block for block in blocks(manual) if block.language == "sh" and block.mark is None]


def order(order_no: str, mobile: str) -> str:
    """Return a line for `worker submit`."""
    body = {"order_no": order_no, "source": "shop", "product": "mobile", "amount_fen": 10000}
    return json.dumps({**body, "target": {"mobile": mobile}})


def submit(*orders: str) -> str:
    """Return what submits orders; no shell reads what is in them."""
    return "".join(f"echo '{each}'\n" for each in orders).join(("{\n", "} | worker submit\n"))


def until(query: str) -> str:
    """Return what waits until a query finds something; the database answers sooner than a command starts."""
    return f'until psql "$DSN" -Atqc "SELECT {query}" | grep -q .; do sleep 0.1; done\n'


def became(order_no: str, state: str) -> str:
    """Return what waits until an order is in a state."""
    return until(f"1 FROM orders WHERE order_no = '{order_no}' AND state = '{state}'")


def test_ten_minutes_with_the_readme(terminal: Terminal) -> None:
    """From an empty directory to an order that has succeeded, by the text of README.md alone."""
    terminal.files(blocks(README))
    shown = terminal.run(typed(README))
    assert "FAILED" not in shown
    assert "order.accepted T20261121-000001" in shown
    assert "order.succeeded T20261121-000001 succeeded" in shown
    assert "account   138****8000" in shown
    assert "no such letters" in shown


def test_a_producer_in_javascript(terminal: Terminal) -> None:
    """It is read by Node.js; and run, where amqplib is found (`npm install amqplib`, and NODE_PATH)."""
    node = skip_unless_there("node", "apt-get install nodejs")
    terminal.files(blocks(README))
    program = terminal.directory / "producer.mjs"
    subprocess.run([node, "--check", str(program)], check=True)
    modules = Path(os.environ.get("NODE_PATH", "node_modules")).absolute()
    if (modules / "amqplib").exists():
        (terminal.directory / "node_modules").symlink_to(modules)
        shown = terminal.run(["worker migrate\nworker sandbox &\nworker run &\n", "node producer.mjs\n"])
        assert "order.accepted T20261121-000002" in shown
        assert "order.succeeded T20261121-000002 succeeded" in shown


def test_every_block_of_the_runbook(terminal: Terminal, amqp_url: str, amqp_prefix: str) -> None:
    """With an order in review, and a dead letter; what is about a lost database has a test of its own."""
    terminal.files(blocks(README))
    terminal.run(
        [
            "worker migrate\nworker sandbox --settle-after 0.1 &\nworker run &\n",
            submit(order("T1", "13800138000"), order("T2", "13800138020")),  # the second ends as "cannot say"
        ]
    )
    with pika.BlockingConnection(pika.URLParameters(amqp_url)) as connection:
        connection.channel().basic_publish(amqp_prefix, "submit.mobile", b"no order")
    listed = terminal.run([became("T2", "review"), "until worker dead list --json | grep .; do sleep 0.2; done\n"])
    month = terminal.run(
        ['psql "$DSN" -Atqc "SELECT max(relname) FROM pg_class WHERE relname ~ \'^journal_[0-9_]+$\'"\n']
    )
    terminal.words |= {
        "ORDER_NO": "T2",
        "GATEWAY": "wikeyun",
        "LETTER_ID": json.loads(listed.splitlines()[-1])["id"],
        "journal_2026_01": month.strip(),  # the last month that there is, which is empty
    }
    shown = terminal.run([block for block in typed(RUNBOOK) if block not in restoring()])
    for said in (
        '"ready":true',
        "wikeyun: paused",
        "T2: succeeded",
        "dropped 1 letter",
        "TABLE DATA public orders",
        "DROP TABLE",
    ):
        assert said in shown, f"{said} not in\n{shown}"


def restoring() -> list[Block]:
    """Return the blocks about a restore."""
    lines = RUNBOOK.read_text(encoding="utf-8").splitlines()
    first = lines.index(f"### {RESTORE}") + 1
    last = next(place for place, line in enumerate(lines[first:], first) if line.startswith("## ")) + 1
    return [block for block in typed(RUNBOOK) if first < block.line < last]


def test_a_restore_by_the_runbook_sends_nothing_twice(terminal: Terminal, database_server: str) -> None:
    """Orders that were sent after the backup are not sent again, whether the ledger has them or not; a new one is."""
    terminal.files(blocks(README))
    settings = terminal.directory / "worker.toml"
    settings.write_text(settings.read_text() + "settle_seconds = 2\nquery_after_seconds = [0.3, 0.5, 1]\n")
    terminal.words |= {"GATEWAY": "wikeyun", "--since 2h --apply": "--since 2h --apply || test $? = 1"}
    terminal.run(
        [
            "worker migrate\nworker sandbox --settle-after 0.1 --accept-duplicates &\nworker run &\nWORKER=$!\n",
            submit(order("BEFORE", "13800138000")),
            became("BEFORE", "succeeded"),
            "worker gateways pause wikeyun\nsleep 3\n",  # workers obey within seconds
            submit(order("WAITED", "13800138000")),
            became("WAITED", "queued"),
            'pg_dump --format=custom --file=worker.dump "$DSN"\n',
            "worker gateways resume wikeyun\n",
            became("WAITED", "succeeded"),
            submit(order("LOST", "13800138000")),
            became("LOST", "succeeded"),
            "kill $WORKER; wait $WORKER\n",
            f'for what in DROP CREATE; do psql "{database_server}" -qc "$what DATABASE $(basename "$DSN")"; done\n',
            'pg_restore --exit-on-error --dbname="$DSN" worker.dump\n',
        ]
    )
    pause, ask, look, resume = restoring()
    shown = terminal.run([pause, ask])
    assert "wikeyun: 1 orders are asked about first" in shown
    again = [submit(order("LOST", "13800138000"), order("NEW", "13800138000"))]
    shown = terminal.run([*again, became("LOST", "queued"), became("NEW", "queued"), *typed_again(ask)])
    assert "wikeyun: 2 orders are asked about first" in shown
    settled = [became("WAITED", "succeeded"), became("LOST", "succeeded"), became("NEW", "queued")]
    terminal.run([*settled, look, resume, became("NEW", "succeeded")])
    ledger = json.loads(terminal.run(["curl -s http://127.0.0.1:9180/ledger\n"]))
    charged = {entry["order_no"]: (entry["pushes"], entry["charges"]) for entry in ledger["orders"]}
    assert charged == dict.fromkeys(("BEFORE", "WAITED", "LOST", "NEW"), (1, 1))


def typed_again(block: Block) -> list[str]:
    """Return a block's lines without those that start something that runs already."""
    return [f"{line}\n" for line in block.text.splitlines() if not line.endswith("&")]
