"""The sandbox's start page: each gateway's ledger, and how to ask for each fault."""

from collections.abc import Iterable
from dataclasses import fields
from html import escape

from worker.sandbox.book import Entry
from worker.sandbox.faults import FAULTS, Fault
from worker.sandbox.simulator import Simulator

_LATEST = 20


def overview(simulators: Iterable[Simulator]) -> str:
    """Return the page as HTML; amounts are fen."""
    chosen = list(simulators)
    ledgers = "".join(_ledger(simulator) for simulator in chosen)
    rows = "".join(_fault(fault, chosen) for fault in FAULTS.values())
    return _PAGE.replace("LEDGERS", ledgers).replace("FAULTS", rows)


def _ledger(simulator: Simulator) -> str:
    name, entries = simulator.name, list(simulator.book.entries(gateway=simulator.name))
    totals = simulator.book.totals(name)
    balance = f"; {simulator.book.balance_fen(name)} fen are left" if simulator.prepaid else ""
    statuses = ", ".join(f"{count} {status}" for status, count in totals["by_status"].items())
    refused = ", ".join(f"{count} with {code}" for code, count in totals["refused_calls"].get(name, {}).items())
    told = (
        f"{totals['orders']} orders ({statuses or 'none yet'}), "
        f"{totals['pushes']} pushes, {totals['charges']} charges; "
        f"charged {totals['charged_fen']} fen, refunded {totals['refunded_fen']}, kept {totals['net_fen']}{balance}; "
        f"calls refused: {refused or 'none'}"
    )
    cards = list(simulator.house.cards.rows(name))
    if cards:
        told += f'; <a href="/ledger/cards?gateway={name}">{len(cards)} cards</a>'
    latest = "".join(_order(entry) for entry in reversed(entries[-_LATEST:]))
    return (
        f'<h3><code>/{name}</code></h3><p>{told} (<a href="/ledger?gateway={name}">all</a>)</p>'
        f"<p><code>--set {name}.…</code>: <code>{escape(_settings(simulator))}</code></p>"
        f"<table>{_ORDER_HEAD if latest else ''}{latest}</table>"
    )


def _settings(simulator: Simulator) -> str:
    """Return the settings as they are; secrets are not among those that a `repr` shows."""
    return ", ".join(
        f"{setting.name}={getattr(simulator.settings, setting.name)}"
        for setting in fields(simulator.settings)
        if setting.repr
    )


def _order(entry: Entry) -> str:
    return _cells(
        entry.order_no,
        entry.order_number,
        entry.product,
        entry.status,
        str(entry.amount_fen),
        str(entry.charges),
        str(entry.kept_fen),
        ", ".join(f"{count} {call}" for call, count in entry.calls.items()),
        entry.fault or "",
    )


def _fault(fault: Fault, simulators: Iterable[Simulator]) -> str:
    lacking = [simulator.name for simulator in simulators if fault.name in simulator.lacks]
    meaning = f"{fault.meaning} (not at {', '.join(lacking)})" if lacking else fault.meaning
    return _cells(fault.ending or "-", fault.name, "yes" if fault.drawn else "no", meaning)


def _cells(*texts: str) -> str:
    return "<tr>" + "".join(f"<td>{escape(text)}</td>" for text in texts) + "</tr>"


_ORDER_HEAD = (
    "<tr><th>order</th><th>gateway's number</th><th>product</th><th>status</th><th>fen</th>"
    "<th>charges</th><th>kept</th><th>calls</th><th>fault</th></tr>"
)
_PAGE = """<!doctype html><html lang="en"><meta charset="utf-8"><title>worker sandbox</title>
<style>body{font:15px/1.5 system-ui;max-width:75rem;margin:2rem auto}td,th{text-align:left;padding:.1rem .8rem .1rem 0}
pre{background:#8881;padding:.6rem}</style>
<h1>worker sandbox</h1>
<h2>Ledgers</h2>
<p>As JSON: <a href="/ledger">/ledger</a> (<code>?order_no=</code>, <code>?gateway=</code>),
<a href="/ledger/totals">/ledger/totals</a>, <a href="/ledger/cards">/ledger/cards</a>.</p>
<pre>POST /ledger/topup    {"gateway": "wikeyun", "fen": 100000}    less than 0 takes out
POST /ledger/reset    forgets all of it, and every fault that was asked for</pre>
LEDGERS
<h2>Faults</h2>
<p>Ask for one by the last two digits of the account, by a share of all orders (<code>--fault-rate</code>), or by
name for one order number or account (<code>*</code>: any; <code>times</code> 0: always; <code>gateway</code>: one of
the above, or any; <code>call</code>: push, query, cancel, balance… Other calls than a push can have the faults of the
answer; where such a fault takes no order, it also does nothing else):</p>
<pre>POST /faults          {"order_no": "T1", "fault": "hold", "call": "push", "times": 1, "gateway": "wikeyun"}
GET /faults           DELETE /faults
GET /faults/waiting   POST /faults/release  {"order_no": "T1", "then": "answer" or "drop"}
POST /control/rotate  {"gateway": "…"}      another key from now on, where there are keys that rotate</pre>
<table><tr><th>ending</th><th>name</th><th>drawn</th><th>what happens</th></tr>FAULTS</table></html>
"""
