"""Which fault a call gets: what was forced, else what the account's ending asks for, else what chance draws."""

import random
from dataclasses import dataclass

from worker.sandbox.faults import BY_ENDING, DRAWN, FAULTS, FOR_ANY_CALL, NO_FAULT, Fault
from worker.sandbox.settings import SandboxSettings

ANY = "*"
"""Stands for every order number, or every gateway, in a forced fault."""


@dataclass(slots=True)
class Forced:
    """A fault that somebody asked for by name."""

    order_no: str  # or an account, where the number is not known beforehand
    fault: str
    call: str = "push"
    times: int = 1  # calls that it still strikes; 0: every one
    gateway: str = ANY


@dataclass(frozen=True, slots=True)
class Asked:
    """A call, as far as the choice depends on it."""

    gateway: str
    call: str
    order_no: str
    account: str


class Faults:
    """Chooses."""

    def __init__(self, settings: SandboxSettings) -> None:
        self._by_ending = settings.by_ending
        self._rate = settings.fault_rate
        self._seed = settings.seed
        self._forced: dict[tuple[str, str, str], Forced] = {}  # by gateway, call and order number

    @property
    def forced(self) -> list[Forced]:
        """Return what is still going to strike."""
        return list(self._forced.values())

    def force(self, wanted: Forced) -> None:
        """Let the next `times` calls about this order number get this fault.

        Raises:
            ValueError: no such fault, or one that such a call cannot have.
        """
        if wanted.fault not in FAULTS:
            raise ValueError(f"fault: expected one of {', '.join(FAULTS)}")
        if wanted.call != "push" and wanted.fault not in FOR_ANY_CALL:
            raise ValueError(f"fault: a {wanted.call} can only have one of {', '.join(sorted(FOR_ANY_CALL))}")
        self._forced[wanted.gateway, wanted.call, wanted.order_no] = wanted

    def clear(self) -> None:
        """Forget what was forced."""
        self._forced.clear()

    def for_push(self, asked: Asked, *, first: bool) -> Fault:
        """Return the fault of a push; `first`: no push of this number came before."""
        if self._forced and (fault := self._take(asked)) is not None:
            return fault
        fault = (self._by_ending and BY_ENDING.get(asked.account[-2:])) or self._draw(asked.order_no)
        return NO_FAULT if (fault.once or fault.hides) and not first else fault

    def for_call(self, asked: Asked) -> Fault:
        """Return the fault of any other call: only a forced one, of which only the answer's part counts."""
        return (self._take(asked) if self._forced else None) or NO_FAULT

    def strikes_unread(self, gateway: str) -> bool:
        """Say whether the next push there, whatever is in it, must be dropped with its body unread."""
        if not self._forced:
            return False
        asked = Asked(gateway, "push", ANY, ANY)
        forced = self._find(asked)
        return forced is not None and forced.fault == "drop_before_read" and self._take(asked) is not None

    def _find(self, asked: Asked) -> Forced | None:
        for gateway in (asked.gateway, ANY):
            for order_no in (asked.order_no, asked.account, ANY):
                forced = self._forced.get((gateway, asked.call, order_no))
                if forced is not None:
                    return forced
        return None

    def _take(self, asked: Asked) -> Fault | None:
        forced = self._find(asked)
        if forced is None:
            return None
        if forced.times == 1:
            del self._forced[forced.gateway, forced.call, forced.order_no]
        elif forced.times:
            forced.times -= 1
        return FAULTS[forced.fault]

    def _draw(self, order_no: str) -> Fault:
        if not self._rate:
            return NO_FAULT
        chance = random.Random(f"{self._seed}:{order_no}")  # noqa: S311 - repeatable by design, nothing secret
        return chance.choice(DRAWN) if chance.random() < self._rate else NO_FAULT
