"""A ledger and a gateway's book, filled at once with orders that agree and with anomalies that are known."""

import asyncio
import json
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import asyncpg
from support.market import Market

from worker.sandbox import SandboxSettings

ROOT = Path(__file__).parents[2]
AMOUNT, COST = 10_000, 9_800
SETTLED = datetime.now(UTC).replace(microsecond=0) - timedelta(minutes=30)
SINCE, UNTIL = SETTLED - timedelta(minutes=10), SETTLED + timedelta(minutes=10)
PERIOD = tuple(moment.isoformat().replace("+00:00", "Z") for moment in (SINCE, UNTIL))
FINAL = ("succeeded", "partial", "failed", "cancelled", "refunded")


@dataclass(frozen=True)
class Case:
    """An order as the ledger has it, the same as the gateway has it (None: it does not), and what has to be found."""

    state: str = "succeeded"
    ours: Mapping[str, Any] = field(default_factory=dict)
    theirs: str | None = "succeeded"  # the simulator's standing
    book: Mapping[str, Any] = field(default_factory=dict)
    kind: str | None = None
    amount_fen: int = 0
    earlier: str | None = None  # the first attempt was given up; its standing
    attempt: int = 1  # which attempt differs


HEALTHY = (
    *(Case(),) * 12,
    Case("failed", theirs="failed", book={"refunded_fen": COST}),
    Case("failed", theirs="refunded", book={"refunded_fen": COST}),
    Case("failed", theirs=None),
    Case("cancelled", theirs="cancelled", book={"refunded_fen": COST}),
    Case("refunded", theirs="reversed", book={"refunded_fen": COST}),
    Case("partial", {"arrived_fen": 4_000}, "partial", {"arrived_fen": 4_000}),
    Case(earlier="failed"),
    Case(earlier=None, ours={"cost_fen": None}),
)
"""Orders about which both agree, in the proportion that they come in."""

ANOMALIES = (
    Case("failed", kind="charged_not_succeeded", amount_fen=AMOUNT),
    Case("cancelled", kind="charged_not_succeeded", amount_fen=AMOUNT),
    Case("refunded", kind="charged_not_succeeded", amount_fen=AMOUNT),
    Case("review", kind="charged_not_succeeded", amount_fen=AMOUNT),
    Case("pending", kind="charged_not_succeeded", amount_fen=AMOUNT),
    Case(earlier="succeeded", kind="charged_not_succeeded", amount_fen=AMOUNT, attempt=1),
    Case(theirs="failed", book={"refunded_fen": COST}, kind="succeeded_not_charged", amount_fen=AMOUNT),
    Case(theirs=None, kind="unknown_to_them", amount_fen=AMOUNT),
    Case(theirs="reversed", book={"refunded_fen": COST}, kind="refunded_there", amount_fen=AMOUNT),
    Case(book={"account": "13900139000"}, kind="account_differs", amount_fen=AMOUNT),
    Case(book={"amount_fen": AMOUNT + 500}, kind="amount_differs", amount_fen=500),
    Case(theirs="partial", book={"arrived_fen": 3_000}, kind="partial_differs", amount_fen=AMOUNT - 3_000),
    Case("partial", {"arrived_fen": 5_000}, "partial", {"arrived_fen": 4_900}, "partial_differs", 100),
    Case(ours={"cost_fen": COST - 7}, kind="cost_differs", amount_fen=AMOUNT - COST + 7),
    Case(theirs="charging", kind="still_open", amount_fen=AMOUNT),
    Case("review", theirs="charging", kind="still_open", amount_fen=AMOUNT),
    Case("pending", theirs="failed", book={"refunded_fen": COST}, kind="still_open", amount_fen=AMOUNT),
    Case(theirs="timed_out", kind="disputed", amount_fen=AMOUNT),
    Case(theirs="unlisted", kind="unclear_answer", amount_fen=AMOUNT),
)
"""One of each kind that the gateways' answers can show."""


def cases(healthy: int, anomalies: int) -> list[Case]:
    """Return so many orders of both sorts, the anomalies spread among the others."""
    made = [HEALTHY[number % len(HEALTHY)] for number in range(healthy)]
    every = max(1, healthy // max(1, anomalies))
    for number in range(anomalies):
        made.insert(number * (every + 1), ANOMALIES[number % len(ANOMALIES)])
    return made


def order_no(number: int) -> str:
    return f"T{number:06}"


def book_lines(orders: Sequence[Case]) -> Iterator[str]:
    """Yield the ledger file of a sandbox that knows these orders; what it costs is what it amounts to there."""
    for number, case in enumerate(orders):
        latest = f"{order_no(number)}R2" if case.earlier else order_no(number)
        attempts = [(latest, case.theirs, case.book)]
        if case.earlier:
            attempts.append((order_no(number), case.earlier, {}))
        for reference, standing, changes in attempts:
            if standing is None:
                continue
            row = {
                "gateway": "wikeyun",
                "order_no": reference,
                "account": account(number),
                "amount_fen": AMOUNT,
                "notify_url": "http://127.0.0.1:1/",
                "product": "mobile",
                "details": {"store_id": "1001"},
                "status": standing,
                "order_number": f"9{reference}",
                "charges": 1,
                "charged_fen": AMOUNT,
                "taken_at": SETTLED.timestamp(),
            }
            yield json.dumps({"kind": "order", "row": row | dict(changes)})


def account(number: int) -> str:
    return f"138{number:08}"


async def fill(dsn: str, orders: Sequence[Case], gateway: str = "wikeyun", backup: str = "backup") -> None:
    """Write the orders to the ledger as if the worker had; without triggers, so it takes a superuser."""
    made = [_row(number, case, gateway, backup) for number, case in enumerate(orders)]
    connection = await asyncpg.connect(dsn)
    try:
        await connection.execute("SET session_replication_role = replica")
        await connection.execute(_ORDERS, json.dumps(made), SETTLED - timedelta(seconds=5))
        await connection.execute(_JOURNAL, SETTLED - timedelta(seconds=5), SETTLED)
        await connection.execute("ANALYZE")
    finally:
        connection.terminate()


def _row(number: int, case: Case, gateway: str, backup: str) -> dict[str, Any]:
    attempt = 2 if case.earlier else 1
    cost = AMOUNT if case.state in ("succeeded", "partial") else None
    return {
        "order_no": order_no(number),
        "mobile": account(number),
        "state": case.state,
        "gateway": backup if case.earlier else gateway,
        "route": [gateway, backup],
        "attempt": attempt,
        "upstream_no": f"9{order_no(number)}{'R2' if case.earlier else ''}" if case.theirs else None,
        "review_kind": "overdue" if case.state == "review" else None,
        "arrived_fen": None,
        "cost_fen": cost,
    } | dict(case.ours)


_ORDERS = """
INSERT INTO orders (
    order_no, source, product, amount_fen, target, digest, route, state, version, gateway, attempt, sending, sent_at,
    upstream_no, arrived_fen, cost_fen, review_kind, write_token, created_at, updated_at
)
SELECT r.order_no, 'shop', 'mobile', 10000, jsonb_build_object('mobile', r.mobile), '\\x01', r.route, r.state, 2,
       r.gateway, r.attempt, 1, $2, r.upstream_no, r.arrived_fen, r.cost_fen, r.review_kind, 1, $2, $2
  FROM jsonb_to_recordset($1::jsonb) AS r(order_no text, mobile text, route text[], state text, gateway text,
       attempt integer, upstream_no text, arrived_fen bigint, cost_fen bigint, review_kind text)
"""
_JOURNAL = """
WITH begun AS (
    INSERT INTO journal (order_id, version, at, to_state, cause, attempt)
    SELECT id, 1, $1, 'submitting', 'admitted', 1 FROM orders
), settled AS (
    INSERT INTO journal (order_id, version, at, from_state, to_state, cause, attempt, evidence)
    SELECT id, 2, $2, 'submitting', state, 'arrived', attempt, '{"http": 200}' FROM orders
), numbered AS (
    INSERT INTO attempts (reference, order_id, attempt, gateway)
    SELECT order_no || 'R2', id, 2, gateway FROM orders WHERE attempt = 2
)
INSERT INTO alarms (order_id, gateway, product, task, due_at)
SELECT id, gateway, product, task_of(state), $2 FROM orders WHERE task_of(state) IS NOT NULL
"""


@dataclass(frozen=True)
class Desk:
    """The command, with settings for two gateways at one sandbox, and for `more` where there are any."""

    directory: Path
    dsn: str
    base_url: str
    changes: Mapping[str, Any] = field(default_factory=dict)
    more: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)

    def changed(self, **changes: Any) -> "Desk":
        """Return the same desk, with other settings of its gateways."""
        return replace(self, changes={**self.changes, **changes})

    def configure(self) -> Path:
        """Write the settings; return their file."""
        settings: Mapping[str, Any] = {
            "adapter": "wikeyun",
            "base_url": self.base_url,
            "notify_url": "http://127.0.0.1:1/",
            "store_id": "1001",
            "app_key": "2002",
            "app_secret": "sandbox-secret",
            "no_such_order_codes": ["2002"],
            **self.changes,
        }
        lines = [f"[database]\ndsn = {json.dumps(self.dsn)}"]
        for name, given in ({"wikeyun": settings, "backup": settings} | dict(self.more)).items():
            lines += [f"[gateways.{name}]", *(f"{key} = {json.dumps(value)}" for key, value in given.items())]
        file = self.directory / "worker.toml"
        file.write_text("\n".join(lines))
        return file

    def start(self, *arguments: str, stderr: int = subprocess.PIPE) -> "subprocess.Popen[str]":
        """Start `worker reconcile` with these arguments."""
        self.configure()
        return subprocess.Popen(
            [sys.executable, "-m", "worker", "reconcile", *arguments],
            cwd=self.directory,
            env={"PYTHONPATH": str(ROOT), "PATH": "/usr/bin:/bin"},
            stdout=subprocess.PIPE,
            stderr=stderr,
            text=True,
        )

    def __call__(self, *arguments: str, seconds: float = 60) -> tuple[int, str, str]:
        """Run it to its end; return exit code and both outputs."""
        with self.start(*arguments) as process:
            out, err = process.communicate(timeout=seconds)
        assert "Traceback" not in err, err
        return process.returncode, out, err

    def report(self, *arguments: str, seconds: float = 60) -> tuple[int, dict[str, Any]]:
        """Run it over the whole period and return its JSON."""
        code, out, err = self(
            "--since", PERIOD[0], "--until", PERIOD[1], "--format", "json", *arguments, seconds=seconds
        )
        assert out, err
        return code, json.loads(out)


def found(report: Mapping[str, Any]) -> dict[tuple[str, int], tuple[str, int]]:
    """Return the differences of orders: class and amount by order and attempt."""
    return {
        (each["order_no"], each["attempt"]): (each["class"], each["amount_fen"])
        for each in report["differences"]
        if each["order_no"] is not None
    }


def planted(orders: Sequence[Case]) -> dict[tuple[str, int], tuple[str, int]]:
    """Return what has to be found among these orders."""
    return {
        (order_no(number), case.attempt): (case.kind, case.amount_fen)
        for number, case in enumerate(orders)
        if case.kind is not None
    }


@contextmanager
def opened(directory: Path, dsn: str, orders: list[Case], **sandbox: float) -> Iterator[tuple[Desk, Market]]:
    """A ledger with these orders and a sandbox that knows them as they say."""
    asyncio.run(fill(dsn, orders))
    with served(directory, dsn, orders, **sandbox) as (desk, market):
        yield desk, market


@contextmanager
def served(directory: Path, dsn: str, orders: Sequence[Case], **sandbox: float) -> Iterator[tuple[Desk, Market]]:
    """A sandbox that knows these orders as they say; the ledger stays as it is."""
    book = directory / "book.jsonl"
    book.write_text("".join(f"{line}\n" for line in book_lines(orders)))
    settings = SandboxSettings(port=0, ledger_file=book, settle_after=9_999, by_ending=False, **sandbox)
    with Market(settings) as market:
        yield Desk(directory, dsn, market.base("wikeyun")), market
