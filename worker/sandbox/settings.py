"""What can be set about the sandbox; every default is one that `worker sandbox` starts with."""

from dataclasses import dataclass, field
from pathlib import Path


@dataclass(frozen=True, slots=True, kw_only=True)
class SandboxSettings:
    """How the simulators behave. Times are seconds, fractions allowed."""

    host: str = "127.0.0.1"  # loopback: the pages that force faults have no password
    port: int = 9180  # 0: a free port

    store_id: str = "1001"
    app_key: str = "2002"
    app_secret: str = field(default="sandbox-secret", repr=False)
    balance_fen: int = 10_000_000_000  # what the merchant has prepaid; pushes take from it
    amounts: tuple[int, ...] = (50, 100, 200)  # mobile face values in whole yuan; empty: any

    answer_latency: float = 0.0  # before every well-behaved answer
    settle_after: float = 1.0  # from one step of an order's life to the next
    late_seconds: float = 20.0  # `late_answer`: keep it above the worker's time-out
    slow_seconds: float = 1.0  # `slow`: keep it below
    absent_seconds: float = 5.0  # `absent_for_a_while`: keep it below the worker's settling period
    unlisted_seconds: float = 5.0  # `unknown_status`

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
            "callback_repeat_after",
            "callback_timeout",
            "callback_repeats",
            "balance_fen",
            "port",
        ):
            if not getattr(self, name) >= 0:
                raise ValueError(f"{name}: expected 0 or more")
        for name in ("host", "store_id", "app_key", "app_secret"):
            if not getattr(self, name):
                raise ValueError(f"{name}: expected a text that is not empty")
        if any(amount <= 0 for amount in self.amounts):
            raise ValueError("amounts: expected whole yuan above 0")
