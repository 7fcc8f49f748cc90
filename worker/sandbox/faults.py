"""How a simulated gateway may misbehave: the table of faults as data, and the choice of one for a call."""

import random
from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType

from worker.sandbox.settings import SandboxSettings

ANY = "*"
"""Stands for every order number in a forced fault."""


class Answer(Enum):
    """What becomes of the answer."""

    GOOD = auto()
    SLOW = auto()
    LATE = auto()
    CLOSED = auto()  # the connection ends orderly, without an answer
    RESET = auto()  # it is torn down
    CUT = auto()  # it ends in the middle of the answer
    ERROR_500 = auto()
    GARBAGE = auto()
    UNLISTED_CODE = auto()
    REFUSAL = auto()
    HELD = auto()  # until somebody releases it
    HELD_FIRST = auto()  # the same, before anything is done


class Course(Enum):
    """How the order's life goes once it is taken."""

    SUCCEEDS = auto()
    FAILS = auto()
    REVIVES = auto()  # fails, then succeeds after all
    ARRIVES_IN_PART = auto()
    IS_REVERSED = auto()  # succeeds, then is taken back
    TIMES_OUT = auto()


class Callbacks(Enum):
    """How the merchant is told."""

    GOOD = auto()
    NONE = auto()
    FIVE = auto()
    EARLY = auto()  # before the push is answered
    FALSE = auto()  # says failure of an order that succeeded


class View(Enum):
    """What a query shows."""

    TRUE = auto()
    ABSENT = auto()  # for a while
    UNLISTED_STATUS = auto()  # for a while
    OTHER_AMOUNT = auto()


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to misbehave."""

    name: str
    ending: str  # the last two digits of an account that asks for it; empty: only by force
    meaning: str
    taken: bool = True  # the gateway takes the order and charges it
    answer: Answer = Answer.GOOD
    course: Course = Course.SUCCEEDS
    callbacks: Callbacks = Callbacks.GOOD
    view: View = View.TRUE
    once: bool = False  # strikes only the first push of an order number
    drawn: bool = True  # `fault_rate` may draw it: queries find out the truth in the end


NO_FAULT = Fault("", "", "well-behaved", drawn=False)

_TABLE = (
    Fault("late_answer", "01", "charged; answered only after `late_seconds`", answer=Answer.LATE),
    Fault("drop_after_read", "02", "charged; the connection is closed without an answer", answer=Answer.CLOSED),
    Fault(
        "drop_before_read",
        "03",
        "first push: connection reset as if nothing had been read, nothing charged; a second push goes well",
        taken=False,
        answer=Answer.RESET,
        once=True,
    ),
    Fault("error_500_charged", "04", "charged; answered HTTP 500", answer=Answer.ERROR_500),
    Fault("garbage", "05", "charged; the answer is HTML instead of JSON", answer=Answer.GARBAGE),
    Fault(
        "unknown_code",
        "06",
        "not charged, at every push; answered with a code that no document lists",
        taken=False,
        answer=Answer.UNLISTED_CODE,
    ),
    Fault(
        "unknown_code_charged",
        "07",
        "charged, though answered with a code that no document lists",
        answer=Answer.UNLISTED_CODE,
    ),
    Fault(
        "unknown_status",
        "08",
        "queries show a status that no document lists for `unlisted_seconds`, then the truth",
        view=View.UNLISTED_STATUS,
    ),
    Fault("no_callback", "09", "succeeds, and never calls back", callbacks=Callbacks.NONE),
    Fault("five_callbacks", "10", "the same callback five times, acknowledged or not", callbacks=Callbacks.FIVE),
    Fault("early_callback", "11", "succeeds at once and calls back before it answers", callbacks=Callbacks.EARLY),
    Fault(
        "success_after_failure",
        "12",
        "fails and gives the money back, calls back so, then charges again and succeeds",
        course=Course.REVIVES,
        drawn=False,
    ),
    Fault(
        "absent_for_a_while",
        "13",
        "charged, yet queries say that there is no such order for `absent_seconds`",
        view=View.ABSENT,
    ),
    Fault("refused", "14", "refused for good at every push; not charged", taken=False, answer=Answer.REFUSAL),
    Fault("fails", "15", "taken, later failed, later still refunded", course=Course.FAILS),
    Fault("slow", "16", "answered after `slow_seconds`", answer=Answer.SLOW),
    Fault(
        "not_received",
        "17",
        "every push is lost: connection closed, nothing charged, and queries never know the order",
        taken=False,
        answer=Answer.CLOSED,
        drawn=False,
    ),
    Fault("partly_arrived", "18", "only half of the money arrives", course=Course.ARRIVES_IN_PART, drawn=False),
    Fault(
        "reversed_later", "19", "succeeds, and later is reversed and refunded", course=Course.IS_REVERSED, drawn=False
    ),
    Fault("timed_out", "20", "ends as timed out: the gateway itself cannot say", course=Course.TIMES_OUT, drawn=False),
    Fault("other_amount", "21", "queries show another amount than was pushed", view=View.OTHER_AMOUNT, drawn=False),
    Fault("false_callback", "22", "succeeds, but the callback says that it failed", callbacks=Callbacks.FALSE),
    Fault("cut_answer", "23", "charged; the connection ends in the middle of the answer", answer=Answer.CUT),
    Fault("hold", "", "charged; the answer waits for a release", answer=Answer.HELD, drawn=False),
    Fault(
        "hold_uncharged",
        "",
        "waits for a release before anything is charged; goes on then, even when its caller is gone",
        answer=Answer.HELD_FIRST,
        drawn=False,
    ),
)

FAULTS: Mapping[str, Fault] = MappingProxyType({fault.name: fault for fault in _TABLE})
"""Every fault by its name."""

_BY_ENDING = {fault.ending: fault for fault in _TABLE if fault.ending}
_DRAWN = tuple(fault for fault in _TABLE if fault.drawn)
_FOR_ANY_CALL = frozenset(fault.name for fault in _TABLE if fault.answer not in (Answer.GOOD, Answer.REFUSAL))


@dataclass(slots=True)
class Forced:
    """A fault that somebody asked for by name."""

    order_no: str
    fault: str
    call: str = "push"
    times: int = 1  # calls that it still strikes; 0: every one


class Faults:
    """Chooses: what was forced, else what the account's ending asks for, else what chance draws."""

    def __init__(self, settings: SandboxSettings) -> None:
        self._by_ending = settings.by_ending
        self._rate = settings.fault_rate
        self._seed = settings.seed
        self._forced: dict[tuple[str, str], Forced] = {}

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
        if wanted.call != "push" and wanted.fault not in _FOR_ANY_CALL:
            raise ValueError(f"fault: a {wanted.call} can only have one of {', '.join(sorted(_FOR_ANY_CALL))}")
        self._forced[wanted.call, wanted.order_no] = wanted

    def clear(self) -> None:
        """Forget what was forced."""
        self._forced.clear()

    def for_push(self, order_no: str, account: str, *, first: bool) -> Fault:
        """Return the fault of a push; `first`: no push of this number came before."""
        if self._forced and (fault := self._take("push", order_no)) is not None:
            return fault
        fault = (self._by_ending and _BY_ENDING.get(account[-2:])) or self._draw(order_no)
        return NO_FAULT if fault.once and not first else fault

    def for_call(self, call: str, order_no: str) -> Fault:
        """Return the fault of any other call: only a forced one, of which only the answer's part counts."""
        return (self._take(call, order_no) if self._forced else None) or NO_FAULT

    def strikes_unread(self) -> bool:
        """Say whether the next push, whatever is in it, must be dropped with its body unread."""
        forced = self._forced.get(("push", ANY))
        return forced is not None and forced.fault == "drop_before_read" and self._take("push", ANY) is not None

    def _take(self, call: str, order_no: str) -> Fault | None:
        forced = self._forced.get((call, order_no)) or self._forced.get((call, ANY))
        if forced is None:
            return None
        if forced.times == 1:
            del self._forced[forced.call, forced.order_no]
        elif forced.times:
            forced.times -= 1
        return FAULTS[forced.fault]

    def _draw(self, order_no: str) -> Fault:
        if not self._rate:
            return NO_FAULT
        chance = random.Random(f"{self._seed}:{order_no}")  # noqa: S311 - repeatable by design, nothing secret
        return chance.choice(_DRAWN) if chance.random() < self._rate else NO_FAULT
