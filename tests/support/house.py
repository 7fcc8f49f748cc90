"""What the contract tests must be told of a gateway: a file in `tests/contract/houses/`, named as its adapter.

What has to happen is not told: that follows from the adapter's own declarations (`worker.gateways.features`).
"""

import importlib
import pkgutil
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import houses


@dataclass(frozen=True, kw_only=True)
class Sample:
    """An order as its producer would send it.

    The last six characters of its account (`worker.core.order.ACCOUNT_FIELDS`) are replaced by digits of the test's
    own, so that each order has its own; `canaries` are values of the target, besides the account, that no log, error
    or journal may show (of at least four characters: a shorter one is hidden only where it stands alone).
    """

    amount_fen: int
    target: Mapping[str, Any]
    canaries: tuple[str, ...] = ()


def nothing(_directory: Path) -> Mapping[str, Any]:
    """Nothing differs from the defaults."""
    return {}


@dataclass(frozen=True, kw_only=True)
class House:
    """One gateway against its simulator.

    `settings` returns what `[gateways.<name>]` holds besides `adapter`, `base_url`, `notify_url` and the times, every
    secret being a literal; `simulated` what differs from the simulator's defaults. Both get a directory of their own
    in which the simulator may leave files; `simulated` is called first, then the simulator starts.
    """

    simulator: str  # its name, and the prefix of its addresses
    samples: Mapping[str, Sample]  # one for each product that the adapter sells
    settings: Callable[[Path], Mapping[str, Any]]
    simulated: Callable[[Path], Mapping[str, Any]] = nothing
    codes: Mapping[str, Any] = field(default_factory=dict)  # settings that name this simulator's codes, where any do


def find() -> dict[str, House]:
    """Return every house by its adapter's name."""
    names = sorted(listed.name for listed in pkgutil.iter_modules(houses.__path__))
    return {name: importlib.import_module(f"houses.{name}").HOUSE for name in names}
