"""`worker orders resolve` and `resubmit`: what a named person decides about an order in review."""

# ruff: noqa: PLC0415 - the database's client is slow to import, and `worker --help` does not need it

import asyncio
import random
import sys
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from worker.cli.common import (
    Common,
    ConfigOption,
    FailedError,
    JsonOption,
    LevelOption,
    OperatorOption,
    common,
    operator_name,
)
from worker.cli.database import database
from worker.cli.orders import OrderArgument, order_number
from worker.cli.output import moment, write_json
from worker.core.masking import mask_text
from worker.core.money import fen_to_text
from worker.core.order import Event, Fact, Order, State, reference

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Sequence

    from worker.config import Settings
    from worker.core.machine import Decision, Ignored
    from worker.ledger.ledger import Ledger
    from worker.ledger.reading import Reader, Seen
    from worker.ledger.rows import OutboxEvent

NoteOption = Annotated[str, typer.Option(metavar="TEXT", help="Why; kept in the order's journal")]
YesOption = Annotated[bool, typer.Option("--yes", "-y", help="Do not ask; without a terminal nobody is asked anyway")]
_LONGEST_NOTE = 500


class Ending(StrEnum):
    """What a person may find that an order came to."""

    SUCCEEDED = "succeeded"
    FAILED = "failed"


_EVENTS = {Ending.SUCCEEDED: Event.RESOLVED_SUCCEEDED, Ending.FAILED: Event.RESOLVED_FAILED}


def resolve(
    context: typer.Context,
    order_no: OrderArgument,
    ending: Annotated[Ending, typer.Argument(metavar="succeeded|failed", help="What it came to")],
    *,
    note: NoteOption,
    operator: OperatorOption = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    log_level: LevelOption = None,
) -> None:
    """Decide that an order in review has succeeded or failed.

    Its producer is told by an event; the note and your name stay in its journal, and the note is the event's reason
    where it failed. With --json the order is written as `orders show` does.
    """
    fact = fact_of(_EVENTS[ending], note, operator)
    asyncio.run(_decide(common(context, config, log_level), order_number(order_no), fact, ask=False, as_json=as_json))


def resubmit(
    context: typer.Context,
    order_no: OrderArgument,
    *,
    note: NoteOption,
    operator: OperatorOption = None,
    yes: YesOption = False,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    log_level: LevelOption = None,
) -> None:
    """Have an order in review sent again to its gateway, under a new number.

    Only when it is certain that the call before came to nothing: the gateway cannot know that both are one order, and
    would charge twice. With --json the order is written as `orders show` does.
    """
    fact = fact_of(Event.RESUBMITTED, note, operator)
    ask = not yes and sys.stdin.isatty()
    asyncio.run(_decide(common(context, config, log_level), order_number(order_no), fact, ask=ask, as_json=as_json))


def fact_of(event: Event, note: str, operator: str | None) -> Fact:
    """Return the decision as a fact, with what it rests on.

    Raises:
        typer.BadParameter: the note says nothing or too much.
    """
    text = note.strip()
    if not text or not text.isprintable() or len(text) > _LONGEST_NOTE:
        raise typer.BadParameter(f"expected 1 to {_LONGEST_NOTE} printable characters on one line", param_hint="--note")
    shown = mask_text(text, _LONGEST_NOTE)
    return Fact(event, message=shown, evidence={"operator": operator_name(operator), "note": shown})


async def _decide(options: Common, order_no: str, fact: Fact, *, ask: bool, as_json: bool) -> None:
    from worker.core.machine import Ignored

    settings = options.settings("database.dsn")
    async with desk(options, settings) as (ledger, reader):
        seen = await reader.seen(order_no)
        if seen is None:
            raise FailedError(f"{order_no}: there is no such order")
        _expect_review(seen.order)
        if fact.event is Event.RESUBMITTED:
            _warn(seen)
            if ask and not typer.confirm("send it again?", err=True):
                raise FailedError(f"{order_no}: nothing was done")
        decision = await decided_on(ledger, seen.order, fact)
        if isinstance(decision, Ignored):
            raise FailedError(
                f"{order_no}: something was heard of it meanwhile, it is {decision.order.state}: look again"
            )
        story = await reader.story(order_no)
    if as_json and story is not None:
        write_json([story.view()])
        return
    order = decision.order
    again = f", to be sent to {order.gateway} as {order.reference}" if fact.event is Event.RESUBMITTED else ""
    typer.echo(f"{order_no}: {order.state}{again}; a running worker tells its producer")


async def decided_on(ledger: "Ledger", order: Order, fact: Fact) -> "Decision | Ignored":
    """Apply a person's decision to the order as he looked at it, or not at all.

    What was heard since has to be looked at first, also where it was only noted and moved nothing: it may say that the
    money arrived.
    """
    return await ledger.apply(order, lambda now: fact if now.revision == order.revision else None)


def _expect_review(order: Order) -> None:
    if order.state is not State.REVIEW:
        raise FailedError(f"{order.order_no}: it is {order.state}; only an order in review is decided by a person")


def _warn(seen: "Seen") -> None:
    """Say what may be out already, before more is sent."""
    order = seen.order
    amount = f"{fen_to_text(order.amount_fen)} yuan"
    numbers = ", ".join(reference(order.order_no, attempt) for attempt in range(1, order.attempt + 1))
    lines = [f"{order.order_no}: {amount} at {order.gateway}, in review: {order.reason.code if order.reason else '?'}"]
    if order.delivered:
        lines.append(
            f"WARNING: the gateway has once proven that the money arrived: {amount} would be paid a second time"
        )
    elif order.sent_at is not None:
        lines.append(f"WARNING: it was sent as {numbers}, and money may be out: {amount} would be paid twice")
    else:
        lines.append(f"WARNING: no call is known to be open, yet look at the gateway for {numbers} first")
    if order.expires_at is not None and order.expires_at <= datetime.now(UTC):
        lines.append(f"it was not to be sent after {moment(order.expires_at)}: it will be cancelled instead")
    for line in lines:
        typer.echo(line, err=True)


@asynccontextmanager
async def desk(options: Common, settings: "Settings") -> "AsyncIterator[tuple[Ledger, Reader]]":
    """Give the ledger to write a decision to, and a reader of it. Its events wait for a running worker.

    Raises:
        FailedError: the database is away, refuses us, or has another schema.
    """
    from worker.flows.events import Renderer
    from worker.ledger.ledger import Ledger
    from worker.ledger.reading import Reader

    told: list[OutboxEvent] = []

    def tell(events: "Sequence[OutboxEvent]") -> None:
        told.extend(events)

    options.log()
    async with database(settings) as pool:
        ledger = Ledger(pool, policies={}, render=Renderer(settings.events.publish), tell=tell, chance=random.random)
        await ledger.start()
        try:
            yield ledger, Reader(pool)
            if told:
                await ledger.release_events([event.id for event in told])
        finally:
            await ledger.stop()
