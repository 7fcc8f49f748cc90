"""The demo's course: publish, kill the worker on the way, wait for the last order, and add everything up."""

import asyncio
import contextlib
import shutil
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import orjson

from worker.demo import verdict
from worker.demo.children import WorkerProcess
from worker.demo.payer import Payer
from worker.demo.traffic import Listener, Producer
from worker.demo.verdict import Charge, Verdict
from worker.demo.view import Picture, View, account, differences
from worker.demo.wares import Wish
from worker.demo.watch import Sight, Watch
from worker.embedded import ServiceError
from worker.embedded.service import temporary_directory

WAIT_SECONDS = 90.0  # for the last order, after the last one was published
_LOOK_SECONDS = 0.25
_REST_SECONDS = 5.0  # when nothing has happened for so long, nothing more will
_DEAD_SECONDS = 1.0  # that the killed worker stays away


@dataclass(frozen=True, slots=True)
class Cast:
    """Who plays."""

    worker: WorkerProcess
    producer: Producer
    listener: Listener
    payer: Payer
    watch: Watch
    own_log: Path


@dataclass(frozen=True, slots=True)
class _Account:
    """What both sides say at one moment."""

    verdict: Verdict
    charges: list[Charge]
    sight: Sight
    moved_on: int  # orders that are not at the first gateway of their route any more
    at_rest: bool  # nothing is under way at a gateway, in a queue or in the outbox


class Performance:
    """One performance of the demo, told to `view`."""

    def __init__(self, view: View, orders: Sequence[Wish], *, kill: bool) -> None:
        self.orders = orders
        self._view = view
        self._say = view.console.print
        self._kill = kill
        self._picture = Picture(orders=Counter(order.product for order in orders))
        self._given_up = ""
        self._over = asyncio.Event()

    def give_up(self, why: str) -> None:
        """End the performance: something that it cannot do without has failed for good."""
        self._given_up = why

    async def run(self, cast: Cast) -> int:
        """Play it; return 0 when everything agrees, else 1."""
        try:
            with self._view:
                showing = asyncio.create_task(self._show(cast))
                try:
                    await self._work(cast, showing)
                finally:
                    self._over.set()  # not cancelled: in the middle of a look that would end the watch's channel
                    await asyncio.gather(showing, return_exceptions=True)
            account = await self._account(cast)
        except Exception:
            self._keep(cast, [])
            raise
        self._report(cast, account)
        right = account.verdict.right and len(cast.producer.published) == len(self.orders)
        if not right:
            concerned = sorted({order for orders in account.verdict.differences.values() for order in orders})
            self._keep(cast, await cast.watch.journal(concerned))
        if right:
            self._say("everything agrees, to the fen", style="bold green")
        else:
            self._say("the ledgers DIFFER, or somebody was not told", style="bold red")
        return 0 if right else 1

    # --- the course --------------------------------------------------------------------------------

    async def _work(self, cast: Cast, showing: "asyncio.Task[None]") -> None:
        await self._start(cast.worker)
        publishing = asyncio.create_task(cast.producer.run())
        try:
            self._picture.phase = "orders come in"
            if self._kill:
                await cast.producer.halfway.wait()
                self._picture.phase, self._picture.worker = "the worker is killed", "killed with SIGKILL"
                await asyncio.to_thread(cast.worker.kill)
                await asyncio.sleep(_DEAD_SECONDS)
                await self._start(cast.worker)
                self._picture.phase = "another worker goes on"
            await publishing
        finally:
            publishing.cancel()
        self._picture.phase = "waiting for the last orders"
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(WAIT_SECONDS):
                await self._wait(cast, showing)

    async def _start(self, worker: WorkerProcess) -> None:
        self._picture.worker = "starting"
        await asyncio.to_thread(worker.start)
        self._picture.worker = "running"

    async def _wait(self, cast: Cast, showing: "asyncio.Task[None]") -> None:
        """Return when everything agrees, or when nothing more can come of it."""
        loop = asyncio.get_running_loop()
        busy_at = loop.time()
        while True:
            account = await self._account(cast)
            if not account.at_rest:
                busy_at = loop.time()
            elif account.verdict.right or loop.time() - busy_at > _REST_SECONDS:
                return
            if showing.done():
                await showing  # raises what kept it from looking
            if self._given_up:
                raise ServiceError(self._given_up)
            if not cast.worker.running:
                raise ServiceError("the worker has ended by itself; its log says why")
            await asyncio.sleep(_LOOK_SECONDS)

    async def _show(self, cast: Cast) -> None:
        picture = self._picture
        while not self._over.is_set():
            picture.sight = await cast.watch.look()
            picture.published, picture.heard = len(cast.producer.published), cast.listener.kinds.total()
            picture.repeats = cast.listener.repeats
            self._view.show(picture)
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_LOOK_SECONDS):
                    await self._over.wait()

    # --- the end -----------------------------------------------------------------------------------

    async def _account(self, cast: Cast) -> _Account:
        sight = await cast.watch.look()
        charges, rows = await cast.watch.charges(), await cast.watch.rows()
        compared = verdict.compare(cast.producer.published, rows, charges, cast.listener.latest, cast.listener.accepted)
        compared.differences[verdict.DEAD] = ["see the worker's log"] * sight.depths["dead"]
        waiting = sum(depth for name, depth in sight.depths.items() if name != "dead")
        ended = sight.ended == len(self.orders) and all(charge.settled for charge in charges)
        moved_on = sum(row.attempt > 1 for row in rows)
        return _Account(compared, charges, sight, moved_on, ended and not sight.outbox and not waiting)

    def _report(self, cast: Cast, given: _Account) -> None:
        charges, producer, listener, say = given.charges, cast.producer, cast.listener, self._say
        faults = Counter(charge.fault for charge in charges if charge.fault)
        again = sum(charge.pushes > 1 for charge in charges)
        told = Counter({kind.removeprefix("order."): count for kind, count in listener.kinds.items()})
        lines = [
            f"published: {len(producer.published)} orders, {producer.repeated} of them twice",
            f"ended: {_counted(given.sight.states)}; {given.moved_on} at the second gateway of their route",
            f"sent again: {again}, once the gateway had denied to have them for long enough",
            f"campus charges that a payer was told of: {_counted(cast.payer.courses)}",
            f"events: {_counted(told)}; {listener.repeats} came again, with the same id",
            f"the gateways misbehaved {faults.total()} times: {_counted(faults)}",
        ]
        say()
        say(account(given.verdict))
        say(differences(given.verdict))
        say()
        for line in lines:
            say(line)

    def _keep(self, cast: Cast, journal: list[dict[str, Any]]) -> None:
        """Put what explains a failure where it stays."""
        kept = temporary_directory()
        for path, name in (
            (cast.worker.log, "worker.log"),
            (cast.worker.settings, "worker.toml"),
            (cast.own_log, "demo.log"),
        ):
            if path.exists():
                shutil.copy(path, kept / name)
        (kept / "journal.jsonl").write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in journal))
        self._say(
            f"the worker's log, and the journal of the orders in question: {kept}", style="yellow", soft_wrap=True
        )


def _counted(counts: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in counts.most_common()) or "none"
