"""What waits in the ledger for a person or a worker: reviews, overdue orders, events, and how gateways stand."""

from collections.abc import AsyncIterator, Collection, Iterator, Mapping
from typing import TYPE_CHECKING

from worker.core.finding import Finding
from worker.core.masking import mask_text
from worker.core.money import fen_to_text
from worker.core.order import State, Task

if TYPE_CHECKING:
    from worker.gateways.settings import GatewaySettings
    from worker.ledger.checkup import Checkup, Stalled
    from worker.ledger.figures import Figures
    from worker.ledger.gateways import Live, Standing

OVERDUE_SECONDS = 60.0
"""Scheduled work that nobody has begun for so long."""
OLD_EVENT_SECONDS = 60.0
"""An event that no broker has confirmed for so long."""

MANY_TRIES = 5
"""Calls in a row that came to nothing: an order with so many does not wait for its turn, something is in its way.

Also submits that were lost one after another: so many are no accident of the network's.
"""

_RUN = "start `worker run`, or see in its log why it does not keep up"
_ASK = "correct what is ours of it (a key, the network), else ask its operator; workers try again by themselves"


async def check_standing(checkup: "Checkup", gateways: "Mapping[str, GatewaySettings]") -> AsyncIterator[Finding]:
    """Yield what waits, and which gateways do not work as they should."""
    figures = await checkup.figures.look()
    strays = await checkup.stray_gateways(gateways)
    standings, live = await checkup.gateways.standings(gateways), await checkup.gateways.live(gateways)
    explained = {(name, task) for name in gateways for task in _stopped(standings[name], live[name])}
    explained |= {(name, task) for name in strays for task in Task}
    for finding in (*_orders(figures, explained), *_strays(figures, strays)):
        yield finding
    for finding in map(_stalled, await checkup.stalled(MANY_TRIES)):
        yield finding
    for name, given in gateways.items():
        found = [*_pause(standings[name], live[name]), *_balance(standings[name], given.balance_warning_hours)]
        if _broken(live[name]):
            found.append(_breaker(live[name], await checkup.last_unanswered(name)))
        for finding in found:
            yield finding.below(f"gateways.{name}")


def _stopped(standing: "Standing", live: "Live") -> Iterator[Task]:
    """Yield the work of a gateway that waits for the gateway, and not for a worker."""
    if _broken(live) and live.open + live.half_open == live.workers:
        yield Task.SUBMIT
        yield Task.QUERY  # each waits for an answer until its time is over, and the others for it
    elif standing.pause is not None:
        yield Task.SUBMIT


def _broken(live: "Live") -> bool:
    """Return whether orders are held back by a breaker: where none waits, one that is half open holds back nothing."""
    return bool(live.open or (live.half_open and live.waiting))


def _orders(figures: "Figures", explained: Collection[tuple[str, Task]]) -> Iterator[Finding]:
    """`explained` is the work whose delay has a line of its own."""
    reviews = [watched for (_, state), watched in figures.watched.items() if state is State.REVIEW]
    if reviews:
        count, fen = sum(each.orders for each in reviews), sum(each.fen for each in reviews)
        age = max(each.age for each in reviews)
        detail = f"{count} orders, {fen_to_text(fen)} yuan, wait for a person, the first for {_span(age)}"
        yield Finding.warning("orders.review", detail, "see `worker orders list --state review`, then decide each")
    overdue = [each for work, each in figures.backlog.items() if work not in explained and each.due]
    oldest = max((each.overdue for each in overdue), default=0.0)
    if oldest > OVERDUE_SECONDS:
        detail = f"{sum(each.due for each in overdue)} orders are due, the first for {_span(oldest)}"
        yield Finding.warning("orders.overdue", detail, _RUN)
    if figures.oldest_event > OLD_EVENT_SECONDS:
        detail = f"{figures.events} events wait for the broker, the first for {_span(figures.oldest_event)}"
        yield Finding.warning("events", detail, _RUN)


def _stalled(stalled: "Stalled") -> Finding:
    if stalled.lost:
        return Finding.warning(
            f"gateways.{mask_text(stalled.gateway)}.doubt",
            f"{stalled.orders} orders were sent {MANY_TRIES} times or more and are still in doubt, "
            f"the first for {_span(stalled.age)}",
            f"see in `worker orders show {stalled.first}` what became of the submits; "
            "ask the gateway's support whether it loses them",
        )
    return Finding.warning(
        f"gateways.{mask_text(stalled.gateway)}.orders",
        f"{stalled.orders} orders were tried {MANY_TRIES} times or more and not sent, "
        f"the first for {_span(stalled.age)}",
        f"see in `worker orders show {stalled.first}` what the tries came to",
    )


def _strays(figures: "Figures", strays: list[str]) -> Iterator[Finding]:
    for name in strays:
        count = sum(each.orders for (gateway, _), each in figures.backlog.items() if gateway == name)
        yield Finding.failed(
            f"gateways.{mask_text(name)}",
            f"{count} open orders are at this gateway, which is not configured here: nobody asks about them",
            f"configure [gateways.{mask_text(name)}] again until they are closed",
        )


def _pause(standing: "Standing", live: "Live") -> Iterator[Finding]:
    pause = standing.pause
    if pause is not None:
        note = f": {mask_text(pause.note)}" if pause.note else ""
        told = f"paused by {mask_text(pause.by)}{note}; {live.waiting} orders wait"
        if pause.automatic:
            yield Finding.warning("pause", told, "top up our money there; it goes on by itself when that is seen")
        else:
            yield Finding.warning("pause", told, f"`worker gateways resume {standing.gateway}` when it may go on")


def _breaker(live: "Live", said: str) -> Finding:
    """`said` is what was wrong with the last call, where that is known."""
    stopped = live.open + live.half_open
    detail = f"{stopped} of {live.workers} workers have stopped sending: orders get no readable answer"
    return Finding.warning("breaker", f"{detail} ({mask_text(said)})" if said else detail, _ASK)


def _balance(standing: "Standing", warning_hours: float) -> Iterator[Finding]:
    hours = standing.hours_left
    if hours is not None and hours < warning_hours and standing.balance_fen is not None:
        detail = f"{fen_to_text(standing.balance_fen)} yuan last {hours:.1f} hours at the present rate"
        yield Finding.warning("balance", detail, "top up our money there")


def _span(seconds: float) -> str:
    """Return a duration for people."""
    for unit, length in (("days", 86_400), ("hours", 3600), ("minutes", 60)):
        if seconds >= 2 * length:
            return f"{seconds / length:.0f} {unit}"
    return f"{seconds:.0f} s"
