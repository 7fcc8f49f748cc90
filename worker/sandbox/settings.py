"""What can be set about the whole sandbox; every default is one that `worker sandbox` starts with."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSettings:
    """How the simulators behave. Times are seconds, fractions allowed."""

    host: str = "127.0.0.1"  # loopback: the pages that force faults have no password
    port: int = 9180  # 0: a free port

    simulators: Mapping[str, Mapping[str, Any]] = field(default_factory=dict, repr=False)
    """What differs from a simulator's own defaults: `{"wikeyun": {"app_secret": "…"}}`."""

    balance_fen: int = 10_000_000_000  # what the merchant has prepaid at each gateway; pushes take from it

    answer_latency: float = 0.0  # before every well-behaved answer
    settle_after: float = 1.0  # from one step of an order's life to the next
    late_seconds: float = 20.0  # `late_answer`: keep it above the worker's time-out
    slow_seconds: float = 1.0  # `slow`: keep it below
    absent_seconds: float = 5.0  # `absent_for_a_while`: keep it below the worker's settling period
    unlisted_seconds: float = 5.0  # `unknown_status`
    payer_late_seconds: float = 10.0  # `pays_late`

    callback_repeats: int = 5  # after the first one, while it is not acknowledged
    callback_repeat_after: float = 1.0
    callback_timeout: float = 5.0

    by_ending: bool = True  # the last two digits of an account may ask for a fault
    fault_rate: float = 0.0  # the share of the other orders that get a fault drawn for them
    seed: int = 1  # with the order number it decides the draw, in whatever order the pushes come
    accept_duplicates: bool = False  # charge a repeated order number again instead of refusing it
    ledger_file: Path | None = None  # JSON Lines, appended; read back at start

    def __post_init__(self) -> None:
        if not 0 <= self.fault_rate <= 1:
            raise ValueError("fault_rate: expected a share from 0 to 1")
        for name in (
            "answer_latency",
            "settle_after",
            "late_seconds",
            "slow_seconds",
            "absent_seconds",
            "unlisted_seconds",
            "payer_late_seconds",
            "callback_repeat_after",
            "callback_timeout",
            "callback_repeats",
            "balance_fen",
            "port",
        ):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}: expected 0 or more")
        if not self.host:
            raise ValueError("host: expected a text that is not empty")
