"""One gateway: its keys by its adapter's self-test, whether it answers, its clock, and our balance there."""

from collections.abc import AsyncGenerator, Iterator
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from types import MappingProxyType
from typing import TYPE_CHECKING

from worker.core.finding import Finding
from worker.core.money import fen_to_text
from worker.gateways.base import Adapter, Reply, Request
from worker.gateways.gate import Gate
from worker.gateways.gateway import Gateway, GatewayUnavailableError
from worker.gateways.http import Sender
from worker.gateways.registry import adapters
from worker.ops.doctor.reach import UnreachableError, reach

if TYPE_CHECKING:
    from worker.gateways.lease import Lease
    from worker.gateways.settings import GatewaySettings

LONGEST_CALL_SECONDS = 10.0
MOST_SKEW = timedelta(seconds=30)
"""Gateways refuse requests whose time is minutes from theirs; HTTP tells it in whole seconds."""
FEWEST_DAYS = 14
"""Of their certificate for TLS."""

_FIXES = MappingProxyType(
    {
        "dns": "correct the host in base_url, or this machine's name servers",
        "certificate": "have the gateway renew its certificate, or add its authority to this machine's",
        "tls": "check with `openssl s_client` what it offers, and whether base_url has the right port",
        "unreadable": "compare key, secret and merchant number with what the gateway has, and base_url with its manual",
        "adapter_error": "this is an error in the worker itself: report it with the log's `adapter_failed`",
    }
)
_UNREACHABLE = "correct base_url, open the firewall towards it, or ask its operator whether it is down"


class _Dated:
    """Sends as its sender does, and notes how far the gateway's clock is ahead of ours."""

    def __init__(self, sender: Sender) -> None:
        self._sender = sender
        self.skew: timedelta | None = None

    async def send(self, request: Request, lease: "Lease | None" = None) -> Reply:
        """Send once."""
        before = datetime.now(UTC)
        reply = await self._sender.send(request, lease)
        self.skew = _skew(reply.headers.get("Date", ""), before, datetime.now(UTC))
        return reply

    async def close(self) -> None:
        """Close the connections."""
        await self._sender.close()


async def check_gateway(name: str, given: "GatewaySettings") -> AsyncGenerator[Finding, None]:
    """Yield what there is to say about the gateway that is configured so."""
    called = f"gateways.{name}"
    adapter = adapters()[given.adapter](name, given)
    for finding in _self_test(adapter):
        yield finding.below(called)
    dated = _Dated(Sender(1, min(given.timeout_seconds, LONGEST_CALL_SECONDS)))
    gateway = Gateway(adapter, dated, Gate(1), given.policy(repeat_safe=adapter.repeat_safe))
    try:
        ends = await reach(given.base_url)
        yield await _balance(called, gateway)
        if ends is not None and (ends - datetime.now(UTC)).days < FEWEST_DAYS:
            yield _certificate(ends).below(called)
        if dated.skew is not None:
            yield _clock(dated.skew).below(called)
    except UnreachableError as error:
        yield Finding.failed(called, str(error), _UNREACHABLE)
    finally:
        await gateway.close()


def _self_test(adapter: Adapter) -> Iterator[Finding]:
    try:
        yield from adapter.self_test(datetime.now(UTC))
    except Exception as error:  # noqa: BLE001 - whatever breaks here would break with an order
        detail = f"the self-test failed: {type(error).__name__}"
        yield Finding.failed("self_test", detail, "compare its keys and secrets with the gateway's manual")


async def _balance(called: str, gateway: Gateway) -> Finding:
    """Ask for our balance, which proves our signature as well; where there is none, it was reached at least."""
    if not gateway.keeps_balance:
        return Finding.ok(called, "it can be connected to; it keeps no balance for us")
    try:
        balance = await gateway.balance(datetime.now(UTC))
    except GatewayUnavailableError as error:
        return Finding.failed(called, str(error), _FIXES.get(error.code, _UNREACHABLE))
    return Finding.ok(called, f"balance {fen_to_text(balance)} yuan")


def _skew(date: str, before: datetime, after: datetime) -> timedelta | None:
    """Return how far a `Date` header is ahead of our clock between the two moments; None: it is no date."""
    try:
        told = parsedate_to_datetime(date)
    except ValueError:
        return None
    if told.tzinfo is None:
        return None
    return told + timedelta(seconds=0.5) - (before + (after - before) / 2)


def _clock(skew: timedelta) -> Finding:
    seconds = skew.total_seconds()
    told = f"{abs(seconds):.0f} s {'ahead of' if seconds > 0 else 'behind'} this machine's"
    if abs(skew) <= MOST_SKEW:
        return Finding.ok("clock", told)
    return Finding.warning(
        "clock", told, "let NTP set this machine's clock; if it is right, tell the gateway's operator"
    )


def _certificate(ends: datetime) -> Finding:
    told = f"its certificate for TLS ends on {ends:%Y-%m-%d}"
    return Finding.warning("tls", told, "ask its operator whether it is renewed in time: afterwards nothing is sent")
