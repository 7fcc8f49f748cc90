"""Every gateway in one deployment: the simulators, the real relay, and an order of each product, as the houses say.

A gateway that has a house (`tests/contract/houses/`) is in it. Only the payer knows one by its name: whoever has heard
of a charge pays it, as no simulator can know.
"""

import itertools
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from support.house import House, find
from support.market import Market
from support.stage import Stage, stage

from worker.core.order import ACCOUNT_FIELDS, reference
from worker.embedded.service import free_ports
from worker.gateways.registry import adapters
from worker.sandbox import SandboxSettings

HOUSES: Mapping[str, House] = find()
"""By the adapter's name."""

PATIENCE: Mapping[str, Any] = {
    "timeout_seconds": 1.5,
    "lease_seconds": 4,
    "query_after_seconds": [0.3, 0.5, 1],
    "settle_seconds": 2,
    "settle_queries": 3,
}
"""Every gateway is asked soon and often; the simulators' own times (`QUICK`) fit into these."""

QUICK: Mapping[str, Any] = {
    "port": 0,
    "settle_after": 0.5,
    "late_seconds": 2.5,
    "slow_seconds": 0.4,
    "absent_seconds": 1,
    "unlisted_seconds": 1,
    "callback_repeat_after": 0.3,
    "accept_duplicates": True,  # a second push of a number would be charged: nobody but the worker prevents it
}
PAYER: Mapping[str, Mapping[str, Any]] = {"zjzdy": {"payer": "asked", "pay_seconds": 8}}
"""How the simulators are set that have payers: they pay when `Street.pay` does, in time."""

_DIGITS = 4


def products() -> list[tuple[str, str]]:
    """Return every adapter with each of its products."""
    return [(name, product) for name in HOUSES for product in sorted(adapters()[name].products)]


class Street:
    """A deployment before all simulators; gateways are opened one by one, then workers started with `stage.worker`.

    Args:
        keys: where the simulators have left their files.
        callbacks: the URL for a gateway's callbacks, by its name.
        first: what the numbers of the accounts begin with; streets that share a market must not share accounts.
    """

    def __init__(
        self, market: Market, made: Stage, keys: Path, callbacks: Callable[[str], str], *, first: int = 1
    ) -> None:
        self.market, self.stage = market, made
        self._keys = keys
        self._callbacks = callbacks
        self._serial = itertools.count(first)
        self.accounts: dict[str, str] = {}
        """Whom each order is for, by its number: what a gateway without our numbers knows it by."""
        self._charges: dict[str, tuple[str, float]] = {}  # told of and not paid: their order, and since when, by ids
        self._told: set[str] = set()

    def open(self, name: str, adapter: str, **changes: Any) -> None:
        """Configure a gateway, called `name`, for what is started from now on."""
        house = HOUSES[adapter]
        values = {**house.settings(directory(self._keys, adapter)), **house.codes, **PATIENCE, **changes}
        values |= {"adapter": adapter, "base_url": self.market.base(house.simulator)}
        if "notify_url" in adapters()[adapter].settings_type.model_fields:
            values["notify_url"] = self._callbacks(name)
        tables = {key: value for key, value in values.items() if isinstance(value, Mapping)}
        self.stage.gateways[name] = {key: value for key, value in values.items() if key not in tables}
        for key, table in tables.items():
            self.stage.sections[f"gateways.{name}.{key}"] = dict(table)

    def order(self, order_no: str, adapter: str, product: str, ending: str = "00", **changes: Any) -> dict[str, Any]:
        """Return a submit message for an account of its own that ends so."""
        sample, field = HOUSES[adapter].samples[product], ACCOUNT_FIELDS[product]
        account = f"{sample.target[field][: -_DIGITS - 2]}{next(self._serial):0{_DIGITS}d}{ending}"
        self.accounts[order_no] = account
        return {
            "order_no": order_no,
            "source": "shop",
            "product": product,
            "amount_fen": sample.amount_fen,
            "target": {**sample.target, field: account},
        } | changes

    def pay(self, after: Callable[[str], float | None] = lambda _order_no: 0) -> None:
        """Pay the charges that producers were told of: so many seconds `after` that (by order number), None: never."""
        self.stage.producer.look()
        for event in self.stage.producer.seen:
            body = event.body
            if body["event"] == "order.awaiting_payment" and body["upstream_no"] not in self._told:
                self._told.add(body["upstream_no"])
                self._charges[body["upstream_no"]] = (body["order_no"], time.monotonic())
        for record_ids, (order_no, since) in list(self._charges.items()):
            seconds = after(order_no)
            if seconds is not None and time.monotonic() - since >= seconds:
                del self._charges[record_ids]
                self.market.pay(record_ids)

    def entries(self) -> dict[str, list[dict[str, Any]]]:
        """Return what the gateways know of each order, by its number: the entries of all its attempts, oldest first."""
        numbers = {reference(order_no, attempt): order_no for order_no in self.accounts for attempt in range(1, 10)}
        owners = {account: order_no for order_no, account in self.accounts.items()}
        found: dict[str, list[dict[str, Any]]] = {order_no: [] for order_no in self.accounts}
        for entry in self.market.entries():
            order_no = numbers.get(entry["order_no"]) or owners.get(entry["account"])
            if order_no is not None:
                found[order_no].append(entry)
        return found


def directory(root: Path, adapter: str) -> Path:
    """Return where a simulator may leave files."""
    made = root / adapter
    made.mkdir(exist_ok=True)
    return made


def sandbox(root: Path, **changes: Any) -> SandboxSettings:
    """Return the settings of a sandbox as the houses want it; `changes` differ from `QUICK`."""
    own = {}
    for name, house in HOUSES.items():
        own[house.simulator] = {**house.simulated(directory(root, name)), **PAYER.get(house.simulator, {})}
    for name, given in changes.pop("simulators", {}).items():
        own[name] |= given
    return SandboxSettings(**{**QUICK, **changes}, simulators=own)


@contextmanager
def street(
    amqp_url: str, database_server: str, root: Path, gateways: Mapping[str, Mapping[str, Any]], **changes: Any
) -> Iterator[Street]:
    """Make a deployment with these gateways (what `open` wants, by name) and the real relay; `changes` as `sandbox`."""
    (port,) = free_ports(1)
    with (
        Market(sandbox(root, **changes)) as market,
        stage(amqp_url, database_server, root, "http://127.0.0.1:1") as made,
    ):
        here = Street(market, made, root, lambda name: f"http://127.0.0.1:{port}/callbacks/{name}")
        for name, values in gateways.items():
            here.open(name, **values)
        made.sections["relay"] = {"listen": f"127.0.0.1:{port}"}
        made.worker(command="relay").await_ready()
        yield here
