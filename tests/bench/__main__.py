"""`python -m tests.bench`: how fast our worker is on this machine, with everything that it needs started privately."""

import argparse
import asyncio
import sys

from rich.console import Console
from rich.table import Table

from tests.bench.work import InvalidRunError, Result, latency, throughput
from worker.embedded import ServiceError, Services
from worker.ops import logging


def main() -> int:
    """Run what the command line asks for; return the exit code."""
    parser = argparse.ArgumentParser(prog="deploy/bench", description=__doc__)
    parser.add_argument("-n", type=int, default=5000, help="orders of W1 (default 5000)")
    parser.add_argument("--rate", type=int, default=100, help="orders a second of W2 (default 100)")
    parser.add_argument("--seconds", type=float, default=20, help="how long W2 lasts after its warm-up (default 20)")
    parser.add_argument("--works", default="w1,w2", help="which of them (default w1,w2)")
    chosen = parser.parse_args()
    works = set(chosen.works.split(","))
    if not works or works - {"w1", "w2"} or min(chosen.n, chosen.rate, chosen.seconds) <= 0:
        parser.error("expected w1, w2 or both, and numbers above 0")
    logging.configure("error", sys.stderr)
    console = Console()
    results: list[tuple[str, Result]] = []
    try:
        with Services() as services:
            if "w1" in works:
                console.print(f"W1: {chosen.n} orders wait in the queue")
                results.append(("W1", asyncio.run(throughput(services, chosen.n))))
            if "w2" in works:
                console.print(f"W2: {chosen.rate} orders a second for {chosen.seconds:g} s, after a warm-up")
                results.append(("W2", asyncio.run(latency(services, chosen.rate, chosen.seconds))))
    except InvalidRunError as error:
        console.print(f"INVALID: {error}", style="bold red", markup=False)
        return 1
    except ServiceError as error:
        console.print(str(error), style="red", markup=False)
        return 1
    console.print(table(results))
    return 0


def table(results: list[tuple[str, Result]]) -> Table:
    """Return the results for people."""
    shown = Table(title="one worker process; CPU in seconds per 1000 orders", title_justify="left")
    for name in ("work", "orders/s", "worker CPU", "PG CPU", "MQ CPU", "stub CPU", "p50 ms", "p99 ms"):
        shown.add_column(name, justify="left" if name == "work" else "right")
    for name, result in results:
        used = (f"{result.cpu[process]:.2f}" for process in ("worker", "PG", "MQ", "stub"))
        times = (f"{result.percentile(share):.1f}" if result.latencies else "" for share in (50, 99))
        shown.add_row(name, f"{result.rate:.0f}", *used, *times)
    return shown


if __name__ == "__main__":
    sys.exit(main())
