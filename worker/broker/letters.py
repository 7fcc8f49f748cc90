"""A dead letter as it lies in its queue: why it is there, and what it becomes when it is replayed. Pure.

Three kinds lie there: what a worker could not process (`dead.py`, with `x-dead-*` headers), what the broker itself gave
up (with an `x-death` header), and what came through the alternate exchange since no queue took its key.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, NamedTuple

from worker.broker.dead import AT, DETAIL, EXPIRATION, ID, PREFIX, QUEUE, REASON, USER, encodable, one_line
from worker.broker.message import Delivery, Outgoing, Properties
from worker.broker.topology import Topology

UNROUTABLE = "unroutable"
REPLAYED_FROM, REPLAYED_COUNT, REPLAYED_AT = "x-replayed-from", "x-replayed-count", "x-replayed-at"
_DELIVERIES = "x-delivery-count"
_DEATHS = "x-death"
_OF_DELIVERY = frozenset({_DELIVERIES, "x-acquired-count"})
"""Headers that a quorum queue adds for whoever reads it."""
_OF_DEATH = ("x-death", "x-first-death-", "x-last-death-")
"""What the headers begin with that the broker's own dead-lettering adds."""
_BROKERS_REASONS: Mapping[str, str] = {"expired": "expired"}
"""Our word for why the broker gave a message up; whatever it is otherwise, the message failed again and again."""
_LONGEST_REASON = 40
_ID = re.compile(r"d[0-9a-f]{16}")
_NO_TIME = datetime.min.replace(tzinfo=UTC)


class _Death(NamedTuple):
    """Why a letter is one."""

    reason: str
    detail: str | None = None
    queue: str | None = None
    at: datetime | None = None


@dataclass(frozen=True, slots=True)
class Letter:
    """One dead letter, without its body.

    `id` is the digest of what it is and why it died: it stays the same as long as the letter lies there, and copies
    that are alike in all that share it. `queue` is the one that the message died in, `key` its original routing key.
    """

    id: str
    reason: str
    detail: str | None
    queue: str | None
    key: str
    at: datetime | None
    returned: bool  # it was handed out before and came back
    worn: bool  # and that was counted: a queue may allow it but a few times
    properties: Properties


def read_letter(delivery: Delivery, topology: Topology) -> Letter:
    """Return the letter that was delivered from the queue of dead letters."""
    headers = delivery.properties.headers
    death = _death(delivery, topology)
    kept = headers.get(ID) if delivery.exchange != topology.main else None
    count = headers.get(_DELIVERIES)
    return Letter(
        id=kept if isinstance(kept, str) and _ID.fullmatch(kept) else _digest(delivery, death),
        reason=death.reason,
        detail=death.detail,
        queue=death.queue,
        key=delivery.routing_key,
        at=death.at,
        returned=delivery.redelivered,
        worn=isinstance(count, int) and count > 0,
        properties=delivery.properties,
    )


def destination(letter: Letter, topology: Topology) -> tuple[str, str]:
    """Return the exchange and the key by which a letter's message gets again where it was.

    That is its original exchange and key; only what was put into a queue of ours directly is put there again.
    """
    known = {queue.name for queue in topology.queues}
    if letter.queue in known and letter.queue != _taker(letter.key, topology):
        return "", letter.queue
    return topology.main, letter.key


def goes_to(letter: Letter, topology: Topology) -> str | None:
    """Return the queue of ours that takes a letter's message when it is replayed; None: none of ours."""
    exchange, key = destination(letter, topology)
    return _taker(key, topology) if exchange else key


def replayed(letter: Letter, body: bytes, topology: Topology, at: datetime) -> Outgoing:
    """Return a letter's message as it is published again: nothing of its death is left but where it comes from."""
    headers = letter.properties.headers
    before = headers.get(REPLAYED_COUNT)
    lineage = {
        REPLAYED_FROM: letter.id,
        REPLAYED_COUNT: before + 1 if isinstance(before, int) and 0 < before < 2**31 else 1,
        REPLAYED_AT: at.astimezone(UTC).isoformat().replace("+00:00", "Z"),
    }
    died_here = _by_broker(headers, topology) is not None
    kept = {
        name: value
        for name, value in headers.items()
        if not name.startswith(PREFIX) and name not in _OF_DELIVERY and not (died_here and name.startswith(_OF_DEATH))
    }
    exchange, key = destination(letter, topology)
    return letter.properties.outgoing(exchange, key, body, encodable(kept) | lineage)


def renewed(letter: Letter, body: bytes, topology: Topology) -> Outgoing:
    """Return a copy of a letter to lay in its place: the same to whoever reads it, and handed out to nobody yet."""
    headers = {name: value for name, value in letter.properties.headers.items() if name not in _OF_DELIVERY}
    if letter.reason == UNROUTABLE:  # the copy comes by another exchange, so it has to say so itself
        headers = {name: value for name, value in headers.items() if not name.startswith((PREFIX, _DEATHS))}
        headers[REASON] = UNROUTABLE
    moved = {EXPIRATION: letter.properties.expiration, USER: letter.properties.user_id}
    headers |= {name: value for name, value in moved.items() if value}
    return letter.properties.outgoing(topology.dead, letter.key, body, encodable(headers) | {ID: letter.id})


def _death(delivery: Delivery, topology: Topology) -> _Death:
    headers = delivery.properties.headers
    if delivery.exchange == topology.main:  # the alternate exchange: whatever its headers say is its producer's
        return _Death(UNROUTABLE)
    deaths = [death for death in (_by_worker(headers), _by_broker(headers, topology)) if death is not None]
    return max(deaths, key=lambda death: death.at or _NO_TIME, default=_Death(UNROUTABLE))


def _by_worker(headers: Mapping[str, Any]) -> _Death | None:
    reason = headers.get(REASON)
    if not isinstance(reason, str) or not reason:
        return None
    detail, queue = headers.get(DETAIL), headers.get(QUEUE)
    return _Death(
        one_line(reason)[:_LONGEST_REASON],
        one_line(detail) if isinstance(detail, str) else None,
        queue if isinstance(queue, str) and queue else None,
        _moment(headers.get(AT)),
    )


def _by_broker(headers: Mapping[str, Any], topology: Topology) -> _Death | None:
    """Return the latest death in a queue of ours that the broker tells of; others are of its producer's own making."""
    ours = {queue.name for queue in topology.queues}
    told = headers.get(_DEATHS)
    for each in told if isinstance(told, list) else []:
        queue = each.get("queue") if isinstance(each, dict) else None
        if isinstance(queue, str) and queue in ours:
            why = one_line(str(each.get("reason", "")))
            at = each.get("time")
            reason = _BROKERS_REASONS.get(why, "poison")
            return _Death(
                reason,
                f"RabbitMQ gave it up: {why or 'no reason'}",
                queue,
                at if isinstance(at, datetime) and at.tzinfo else None,
            )
    return None


def _moment(text: object) -> datetime | None:
    try:
        moment = datetime.fromisoformat(text) if isinstance(text, str) else None
        return moment.astimezone(UTC) if moment is not None and moment.tzinfo is not None else None
    except (ValueError, OverflowError):  # the latter: there is no such moment in UTC
        return None


def _taker(key: str, topology: Topology) -> str | None:
    """Return the queue of ours that takes a key."""
    for queue in topology.queues:
        family = queue.key.removesuffix(".#")
        if queue.exchange == topology.main and (
            key == family or (family != queue.key and key.startswith(f"{family}."))
        ):
            return queue.name
    return None


def _digest(delivery: Delivery, death: _Death) -> str:
    given = delivery.properties
    parts = (
        delivery.routing_key,
        given.message_id,
        given.correlation_id,
        given.timestamp,
        death,
        given.headers.get(REPLAYED_FROM),
        given.headers.get(REPLAYED_AT),
    )
    # a letter first, so that no id is taken for a number that has to be masked
    return "d" + hashlib.sha256(repr(parts).encode("utf-8", "replace") + b"\0" + delivery.body).hexdigest()[:16]
