"""Settings that are valid each, and do not go together: times, sizes, addresses, products, and what is believed."""

from collections.abc import Iterator
from ipaddress import ip_address
from itertools import combinations
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from worker.core.finding import Finding
from worker.core.order import ACCOUNT_FIELDS

if TYPE_CHECKING:
    from worker.config import Settings
    from worker.gateways.settings import GatewaySettings

_FEWEST_CONNECTIONS = 2
_MANUALS = ("example", "example.com", "example.net", "example.org", "invalid")
"""Names that nobody can have: they stand in manuals (RFC 2606)."""


_SUBMIT_CODES = ("duplicate_codes", "unfunded_codes", "refusal_codes")
"""What a submit's code may mean by the settings; an adapter looks into them in this order."""


def check_settings(settings: "Settings") -> Iterator[Finding]:
    """Yield a summary, and everything in the settings that somebody should look at."""
    gateways, products = ", ".join(settings.gateways), ", ".join(sorted(settings.routes))
    yield Finding.ok("configuration", f"gateways {gateways}; products {products}")
    yield from _sizes(settings)
    unsold = [product for product in ACCOUNT_FIELDS if product not in settings.routes]
    if unsold:
        yield Finding.warning(
            "routes",
            f"no gateway sells {', '.join(unsold)}: such orders go to the dead letters",
            "configure a gateway that does, unless nobody orders them",
        )
    for name, given in settings.gateways.items():
        for finding in (*_times(given), *_denials(given), *_meanings(given), *_addresses(name, given)):
            yield finding.below(f"gateways.{name}")


def _sizes(settings: "Settings") -> Iterator[Finding]:
    most = max((given.concurrency for given in settings.gateways.values()), default=0)
    if settings.amqp.prefetch < 2 * most:
        yield Finding.warning(
            "amqp.prefetch",
            f"{settings.amqp.prefetch} messages in hand do not keep {most} calls at a gateway going",
            f"set amqp.prefetch to {2 * most} or more, or lower that gateway's concurrency",
        )
    if settings.database.pool_size < _FEWEST_CONNECTIONS:
        yield Finding.warning(
            "database.pool_size",
            "with a single connection one slow statement holds up everything",
            f"set database.pool_size to {_FEWEST_CONNECTIONS} or more; the default is 4",
        )


def _times(given: "GatewaySettings") -> Iterator[Finding]:
    lease, timeout, settle = given.lease_seconds, given.timeout_seconds, given.settle_seconds
    if lease < 2 * timeout:
        yield Finding.warning(
            "lease_seconds",
            f"{lease:g} s leave little time beside a call of {timeout:g} s: a slow worker's orders are taken from it",
            f"set lease_seconds to {2 * timeout:g} or more",
        )
    if settle < timeout:
        yield Finding.warning(
            "settle_seconds",
            f'"no such order" is believed after {settle:g} s, when a call of {timeout:g} s may still be under way',
            f"set settle_seconds to {max(120, 2 * timeout):g}: what is believed too early is sent again",
        )
    first, span = _schedule(given)
    if settle < span:
        yield Finding.warning(
            "settle_queries",
            f"{given.settle_queries} answers take {span:g} s by query_after_seconds, settle_seconds is {settle:g}",
            f"set settle_seconds to {span:g}, or query_after_seconds to shorter steps",
        )
    needed = first + max(span, settle)
    if given.query_deadline_seconds < needed:
        yield Finding.warning(
            "query_deadline_seconds",
            f"after {given.query_deadline_seconds:g} s a person must look; settling a lost order takes {needed:g} s",
            f"set query_deadline_seconds well above {needed:g}; the default is a day",
        )


def _schedule(given: "GatewaySettings") -> tuple[float, float]:
    """Return the seconds until the first query, and from its answer to the last of the `settle_queries`."""
    steps, last = given.query_after_seconds, len(given.query_after_seconds) - 1
    more = given.settle_queries - 1
    span = sum(steps[min(n, last)] for n in range(1, min(more, last) + 1))
    return steps[0], span + steps[last] * max(0, more - last)


def _denials(given: "GatewaySettings") -> Iterator[Finding]:
    """Yield what is missing to settle lost orders, and what is believed without proof."""
    if getattr(given, "no_such_order_codes", None) == ():
        yield Finding.warning(
            "no_such_order_codes",
            "none: the gateway cannot deny an order, so each submit that is lost on the way ends in review",
            "ask the gateway which code a query answers for an unknown order, and list it",
        )
    if getattr(given, "unfunded_codes", None) == ():
        yield Finding.warning(
            "unfunded_codes",
            "none: when our money there is used up that is not seen, and orders fail instead of waiting for a top-up",
            "ask the gateway which code a submit is refused with then, and list it here, and not in refusal_codes",
        )
    if getattr(given, "trust_callbacks", False):
        yield Finding.warning(
            "trust_callbacks",
            "true: whoever can reach the relay can declare orders paid, since these callbacks are not signed",
            "set it to false, unless the relay lets in this gateway's addresses only",
        )


def _meanings(given: "GatewaySettings") -> Iterator[Finding]:
    """Yield the codes that two lists give different meanings to."""
    lists = {setting: set(getattr(given, setting, ())) for setting in _SUBMIT_CODES}
    for (first, codes), (second, others) in combinations(lists.items(), 2):
        if both := sorted(codes & others):
            yield Finding.warning(
                second,
                f"{', '.join(both)} is in {first}, too, which counts: one answer cannot mean both",
                f"ask the gateway what it means, and leave it in one of the two: {first} or {second}",
            )


def _addresses(name: str, given: "GatewaySettings") -> Iterator[Finding]:
    base = urlsplit(given.base_url)
    if base.scheme == "http" and not _is_loopback(base.hostname):
        yield Finding.warning(
            "base_url", "http: what is sent can be read and answers can be forged on the way", "use https, or a tunnel"
        )
    notify_url: str | None = getattr(given, "notify_url", None)
    for setting, url in (("base_url", given.base_url), ("notify_url", notify_url)):
        if url is not None and _is_of_a_manual(urlsplit(url).hostname):
            yield Finding.warning(setting, "its host is a manual's example, and leads nowhere", "set the real one")
    if notify_url is None:
        return
    notify = urlsplit(notify_url)
    if not notify.path.endswith(f"/callbacks/{name}"):
        yield Finding.warning(
            "notify_url",
            f"it does not end in /callbacks/{name}, where the relay takes this gateway's callbacks",
            "correct its end, unless a proxy in front of the relay rewrites it",
        )
    if _is_loopback(notify.hostname) and not _is_loopback(base.hostname):
        yield Finding.warning(
            "notify_url", "a gateway elsewhere cannot reach this machine's loopback", "name the relay's public address"
        )


def _is_loopback(host: str | None) -> bool:
    try:
        return ip_address(host or "").is_loopback
    except ValueError:
        return host == "localhost" or (host or "").endswith(".localhost")


def _is_of_a_manual(host: str | None) -> bool:
    return any(host == name or (host or "").endswith(f".{name}") for name in _MANUALS)
