"""The commands against real services, as processes of their own: what they do, say and exit with."""

import asyncio
import json
import os
import secrets
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from support import amqp
from support.cli import PROGRAM, ROOT, Cli, ended
from support.ledgers import house

from schemas.documents import documents, model_of
from worker.ledger import paging
from worker.ledger.connection import SCHEMA, opened
from worker.ledger.paging import Wanted
from worker.ledger.reading import Reader


def order(number: str, **changes: object) -> str:
    target = {"mobile": "13800138000"}
    return json.dumps(
        {"order_no": number, "source": "shop", "product": "mobile", "amount_fen": 10000, "target": target} | changes
    )


def until(condition: Callable[[], bool], seconds: float = 15) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.1)


def test_migrations_that_race_all_succeed(cli: Cli) -> None:
    processes = [cli.start("migrate") for _ in range(3)]
    outputs = [process.communicate(timeout=60) for process in processes]
    assert [process.returncode for process in processes] == [0, 0, 0], outputs
    assert all("broker: 3 exchanges, 10 queues" in out for out, _ in outputs)
    assert cli("migrate", "--database") == (0, [f"database: already at schema {SCHEMA}"], [])
    code, out, _ = cli("migrate", "--broker")
    assert (code, len(out)) == (0, 1)


def test_events_that_wait_when_their_exchange_is_made_are_warned_of(cli: Cli) -> None:
    """Whatever leaves before the producers have bound their queues is lost to them."""
    dsn = cli.environment["WORKER_DATABASE__DSN"]
    assert cli("migrate")[::2] == (0, [])
    asyncio.run(_admit(dsn))
    assert cli("migrate", "--broker")[::2] == (0, [])  # it was there
    _delete_events(cli)
    code, out, err = cli("migrate", "--broker")
    assert (code, len(out), len(err)) == (0, 1, 1)
    assert err[0].startswith(f"broker: `{cli.prefix}.events` was made while 1 events wait, and no producer's queue is")
    _delete_events(cli)
    away = {"WORKER_DATABASE__DSN": "postgresql://worker@127.0.0.1:1/worker"}
    assert cli("migrate", "--broker", **away)[::2] == (0, [])  # it cannot be asked, and is not needed


async def _admit(dsn: str) -> None:
    async with house(dsn) as home:
        await home.admit()


def _delete_events(cli: Cli) -> None:
    with amqp.channel(cli.amqp_url) as there:
        there.exchange_delete(f"{cli.prefix}.events")


def test_the_sql_for_a_dba_needs_nothing(tmp_path: Path, database_dsn: str) -> None:
    done = subprocess.run(
        [*PROGRAM, "migrate", "--sql"],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "CREATE TABLE orders" in done.stdout
    assert "INSERT INTO transitions" in done.stdout


def test_a_database_or_queue_that_refuses_is_told_in_a_line(cli: Cli) -> None:
    wrong = cli.environment["WORKER_DATABASE__DSN"].rpartition("/")[0] + "/nowhere"
    code, out, err = cli("migrate", WORKER_DATABASE__DSN=wrong)
    assert (code, out) == (1, [])
    assert err == ['database: database "nowhere" does not exist (SQLSTATE 3D000)']
    amqp.quorum(cli.amqp_url, f"{cli.prefix}.callbacks")
    code, out, err = cli("migrate", "--broker")
    assert (code, out, len(err)) == (1, [], 1)
    assert f"queue `{cli.prefix}.callbacks` exists with other properties" in err[0]


def test_orders_of_a_schema_that_is_not_there(cli: Cli) -> None:
    code, out, err = cli("orders", "list", "--json")
    assert (code, out) == (1, [])
    assert err == [f"the database's schema is at no migration, expected {SCHEMA}: run `worker migrate`"]


def test_submit_publishes_what_the_contract_says(cli: Cli, tmp_path: Path) -> None:
    (tmp_path / "orders.jsonl").write_text(f"{order('T1')}\n")
    code, out, err = cli("submit", "orders.jsonl")
    assert (code, out, err[-1]) == (1, [], "nothing was published")
    assert f"broker: exchange `{cli.prefix}` is missing: run `worker migrate --broker`" in err
    assert cli("migrate", "--broker")[0] == 0
    assert cli("submit", "--json", "orders.jsonl", "-", given=f"{order('T2')}\n{order('T3')}") == (
        0,
        ['{"published":3}'],
        [],
    )
    got = amqp.take(cli.amqp_url, f"{cli.prefix}.submit.mobile")
    assert [json.loads(body)["order_no"] for _, _, body in got] == ["T1", "T2", "T3"]
    properties = [each for _, each, _ in got]
    assert {each.delivery_mode for each in properties} == {2}
    assert {(each.type, each.content_type) for each in properties} == {("order.submit", "application/json")}
    assert len({each.message_id for each in properties}) == 3
    assert {method.exchange for method, _, _ in got} == {cli.prefix}
    code, out, err = cli("submit", given=f"{order('T4')}\n{order('T5', amount_fen=0)}\n")
    assert (code, out) == (1, [])
    assert err == ["stdin:2: amount_fen: expected more than 0", "nothing was published"]
    assert amqp.depth(cli.amqp_url, f"{cli.prefix}.submit.mobile") == 0


def test_an_order_s_whole_way(cli: Cli) -> None:
    with ended(cli.start("sandbox", "--port", "0", "--settle-after", "0.1")) as sandbox:
        assert sandbox.stdout is not None
        url = sandbox.stdout.readline().strip()
        with socket.create_connection((urlsplit(url).hostname, urlsplit(url).port), timeout=5):
            pass  # it listens when it says where
        cli.configure(url)
        assert cli("migrate")[0] == 0
        code, out, err = cli("check")
        assert (code, err) == (0, ["4 WARNING"])
        assert [each.split()[:2] for each in out] == [
            ["ok", "configuration"],
            ["WARNING", "routes"],
            ["WARNING", "gateways.wikeyun.no_such_order_codes"],
            ["WARNING", "gateways.wikeyun.unfunded_codes"],
            ["WARNING", "gateways.wikeyun.notify_url"],
            ["ok", "database"],
            ["ok", "database.durability"],
            ["ok", "database.clock"],
            ["ok", "database.schema"],
            ["ok", "database.journal"],
            ["ok", "broker"],
            ["ok", "broker.topology"],
            ["ok", "broker.alarms"],
            ["ok", "gateways.wikeyun.signature"],
            ["ok", "gateways.wikeyun"],
            ["ok", "gateways.wikeyun.clock"],
        ]
        assert all((" -> " in each) == each.startswith("WARNING") for each in out)
        numbers = [f"T{n}-{secrets.token_hex(4)}" for n in range(5)]
        assert cli("submit", given="\n".join(map(order, numbers)))[:2] == (0, ["published 5 orders"])
        with ended(cli.start("run", "--products", "mobile")) as worker:
            until(lambda: len(cli("orders", "list", "--json", "--state", "succeeded")[1]) == 5)
            worker.send_signal(signal.SIGTERM)
            assert worker.wait(15) == 0
        _orders_are_told(cli, numbers)
        _gateways_are_checked(cli, sandbox)


def _orders_are_told(cli: Cli, numbers: list[str]) -> None:
    code, out, err = cli("orders", "show", numbers[0], "--json")
    assert (code, len(out), err) == (0, 1, [])
    shown = model_of("orders.show").validate_json(out[0])
    assert [step["to"] for step in json.loads(out[0])["journal"]][-1] == "succeeded"
    code, out, _ = cli("orders", "list", "--json", "--limit", "0")
    assert (code, len(out)) == (0, 5)
    newest, listed = out, [model_of("orders.list").validate_json(each) for each in out]
    assert shown.model_dump(exclude={"journal", "earlier_attempts"}) in [each.model_dump() for each in listed]
    code, out, _ = cli("orders", "show", numbers[0])
    assert code == 0
    assert "account   138****8000" in out
    assert not any("13800138000" in each for each in out)
    assert cli("orders", "show", "nobody")[::2] == (1, ["nobody: there is no such order"])
    several = ["--state", "failed", "--state", "succeeded", "--gateway", "wikeyun", "--product", "mobile"]
    assert len(cli("orders", "list", "--json", *several, "--source", "shop", "--since", "1h")[1]) == 5
    assert cli("orders", "list", "--json", "--until", "1h") == (0, [], [])
    code, out, err = cli("orders", "list", "--limit", "2")
    assert (code, out[0].split()[:3]) == (0, ["order", "created", "state"])
    assert [each.split()[0] for each in out[1:]] == [json.loads(line)["order_no"] for line in newest[:2]]
    assert err == [f"the newest 2; --limit 0 lists all; --after {json.loads(newest[1])['order_no']} goes on"]


def _gateways_are_checked(cli: Cli, sandbox: "subprocess.Popen[str]") -> None:
    sandbox.send_signal(signal.SIGTERM)
    assert sandbox.wait(10) == 0
    code, out, err = cli("check", "--json")
    assert (code, err) == (1, [])
    failed = [each for each in map(json.loads, out) if each["status"] == "failed"]
    assert [each["check"] for each in failed] == ["gateways.wikeyun"]


async def test_pages_join_without_gap_or_repetition(
    cli: Cli, amqp_url: str, database_dsn: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(paging, "PAGE", 2)
    assert cli("migrate")[0] == 0
    numbers = [f"P{n}" for n in range(5)]
    assert cli("submit", given="\n".join(map(order, numbers)))[0] == 0
    with ended(cli.start("run")) as worker:  # nothing answers at the gateway, so they stay queued
        until(lambda: len(cli("orders", "list", "--json")[1]) == 5)
        worker.send_signal(signal.SIGINT)
        assert worker.wait(15) == 0
    async with opened(database_dsn) as pool:
        ledger = Reader(pool)
        for limit, sizes in ((None, [2, 2, 1]), (3, [2, 1]), (4, [2, 2]), (5, [2, 2, 1]), (1, [1])):
            pages = [[seen.order for seen in page] async for page in ledger.pages(Wanted(), limit)]
            assert [len(page) for page in pages] == sizes
            ids = [each.id for page in pages for each in page]
            assert ids == sorted(set(ids), reverse=True)
        (page,) = [page async for page in ledger.pages(Wanted(states=["queued"]), 1)]
        assert page[0].view()["due_at"] is not None
        for none in (Wanted(gateway="nobody"), Wanted(product="oil"), Wanted(source="default"), Wanted(states=[])):
            assert [page async for page in ledger.pages(none)] == []


def test_run_names_a_port_that_is_taken(cli: Cli) -> None:
    with ended(cli.start("sandbox", "--port", "0")) as sandbox:
        assert sandbox.stdout is not None
        listen = sandbox.stdout.readline().strip().removeprefix("http://")
        code, _, err = cli("run", WORKER_OPS__LISTEN=listen)
        assert code == 2
        assert err == [f"ops.listen: expected an address that is free; {listen}: Address already in use"]
        host, _, port = listen.rpartition(":")
        code, out, err = cli("sandbox", "--host", host, "--port", port)
        assert (code, out, len(err)) == (1, [], 1)
        assert err[0].startswith(f"--host {host} --port {port}: ")


def test_ctrl_c_is_quiet(cli: Cli, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "slow.jsonl")
    with ended(cli.start("submit", "slow.jsonl")) as process, (tmp_path / "slow.jsonl").open("w"):
        process.send_signal(signal.SIGINT)  # it has opened the file, and waits for its lines
        out, err = process.communicate(timeout=10)
        assert (process.returncode, out, err) == (130, "", "")


def test_a_reader_that_leaves_is_no_error_worth_words(cli: Cli) -> None:
    assert cli("migrate", "--database")[0] == 0
    reading_end, writing_end = os.pipe()
    os.close(reading_end)
    with subprocess.Popen(
        [*PROGRAM, "orders", "list", "--json"],
        cwd=cli.directory,
        env=cli.environment,
        stdout=writing_end,
        stderr=subprocess.PIPE,
    ) as process:
        os.close(writing_end)
        _, err = process.communicate(timeout=20)
    assert err == b""


def test_schemas_are_written(cli: Cli, tmp_path: Path) -> None:
    code, out, err = cli("schemas", "--output", "made")
    assert (code, err) == (0, [])
    assert {Path(each) for each in out} == {Path("made", name) for name in documents()}
    (tmp_path / "file").write_text("")
    code, out, err = cli("schemas", "--output", "file")
    assert (code, out, len(err)) == (1, [], 1)
