"""An order's story for people: when, what, why, and what proves it."""

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

import typer

from worker.cli.output import moment, plain, write_fields
from worker.core.masking import mask
from worker.core.money import fen_to_text
from worker.core.order import ACCOUNT_FIELDS, Event

if TYPE_CHECKING:
    from worker.ledger.reading import Step, Story

TOLD: Mapping[str, str] = {
    Event.ADMITTED: "the order was taken in",
    Event.TAKEN: "its turn came: the call to the gateway was about to begin",
    Event.EXPIRED: "its time was over before it was sent",
    Event.CANCEL_REQUESTED: "its producer asked to cancel it",
    Event.ACCEPTED: "the gateway took it",
    Event.REJECTED: "the gateway refused it",
    Event.UNFUNDED: "the gateway refused it: our money there is used up",
    Event.NOT_SENT: "the call never left, which is proven",
    Event.UNANSWERED: "the call was made, and what became of it is not known",
    Event.LEASE_ENDED: "its worker did not come back from the call",
    Event.CHARGING: "the gateway says that it is on its way",
    Event.PAYMENT_DUE: "the gateway waits for the payer",
    Event.ARRIVED: "the gateway proved that the money arrived",
    Event.ARRIVED_IN_PART: "the gateway proved that a part of the money arrived",
    Event.REFUSED: "the gateway proved that it failed",
    Event.RETURNED: "the gateway proved that the money came back",
    Event.CALLED_OFF: "the gateway proved that it is cancelled",
    Event.DISPUTED: "the gateway itself cannot say what became of it",
    Event.MISMATCH: "what the gateway says is not about our order as it is",
    Event.ABSENT: "the gateway says that there is no such order",
    Event.UNCLEAR: "the gateway said something that no table lists",
    Event.SILENT: "there was no readable answer",
    Event.CLAIMED: "a callback without proof said something, so the gateway is asked",
    Event.GHOST: "an attempt that was given up turned out to live",
    Event.OLD_NEWS: "more was heard of what is over already",
    Event.RESOLVED_SUCCEEDED: "an operator decided that it succeeded",
    Event.RESOLVED_FAILED: "an operator decided that it failed",
    Event.RESUBMITTED: "an operator had it sent again, under a new number",
}
"""What each cause in the journal means."""

_INDENT = " " * len("2026-11-21 12:00:00.000Z  ")
_LONGEST = 160


def write_story(story: "Story") -> None:
    """Write an order as it is, and below it what happened, the oldest first."""
    write_fields(_fields(story))
    typer.echo()
    for step in story.steps:
        for line in _lines(step):
            typer.echo(plain(line))


def _fields(story: "Story") -> list[tuple[str, str]]:
    seen, order = story.seen, story.seen.order
    account = str(order.target.get(ACCOUNT_FIELDS.get(order.product, ""), ""))
    reason = order.reason
    return [
        ("order", order.order_no),
        ("source", order.source),
        ("product", order.product),
        ("account", mask(account) if account else ""),
        ("state", f"{order.state} (version {order.version})"),
        ("reason", f"{reason.code}: {reason.message}" if reason else ""),
        ("gateway", f"{order.gateway}, attempt {order.attempt} as {order.reference}"),
        ("upstream", order.upstream_no or ""),
        # whoever asks a gateway about an attempt that was given up needs to know which gateway, and the number
        *(("before", f"{each.gateway}, attempt {each.attempt} as {each.reference}") for each in story.earlier),
        ("amount", f"{fen_to_text(order.amount_fen)} yuan"),
        ("arrived", _yuan(order.arrived_fen)),
        ("cost", _yuan(order.cost_fen)),
        ("created", moment(seen.created_at)),
        ("updated", moment(seen.updated_at)),
        ("due", moment(seen.due_at)),
    ]


def _yuan(fen: int | None) -> str:
    return "" if fen is None else f"{fen_to_text(fen)} yuan"


def _lines(step: "Step") -> Iterator[str]:
    what = (
        f"still {step.to_state}"
        if step.from_state == step.to_state
        else f"{step.from_state or '(new)'} -> {step.to_state}"
    )
    yield f"{moment(step.at)}  {what} (attempt {step.attempt}, version {step.version})"
    yield f"{_INDENT}{step.cause}: {TOLD.get(step.cause, 'unknown to this version')}"
    said = ": ".join(part for part in (step.code, step.message) if part)
    if said:
        yield f"{_INDENT}{said}"
    if step.evidence:
        yield f"{_INDENT}evidence: {', '.join(f'{name} {_short(value)}' for name, value in step.evidence.items())}"


def _short(value: Any) -> str:
    text = value if isinstance(value, str) else _json(value)
    return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"


def _json(value: Any) -> str:
    import orjson  # noqa: PLC0415 - only needed where there is evidence

    return orjson.dumps(value).decode()
