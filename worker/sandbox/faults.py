"""How a simulated gateway may misbehave: the table of faults, as data."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum, auto
from types import MappingProxyType


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
    FORGED = auto()  # its signature is wrong
    HELD = auto()  # until somebody releases it
    HELD_FIRST = auto()  # the same, before anything is done


_TOLD = frozenset({Answer.GOOD, Answer.SLOW, Answer.HELD_FIRST})


class Reason(Enum):
    """Why a call is refused, in words that every gateway has a code of its own for."""

    NO_SUCH_ORDER = auto()
    DUPLICATE = auto()
    BALANCE_TOO_LOW = auto()
    NOT_POSSIBLE = auto()  # a definite no
    UNLISTED = auto()  # a code that no document lists


class Course(Enum):
    """How the order's life goes once it is taken."""

    SUCCEEDS = auto()
    FAILS = auto()
    REVIVES = auto()  # fails, then succeeds after all
    ARRIVES_IN_PART = auto()
    IS_REVERSED = auto()  # succeeds, then is taken back
    TIMES_OUT = auto()
    PAYS_LATE = auto()
    NEVER_PAYS = auto()


class Callbacks(Enum):
    """How the merchant is told."""

    GOOD = auto()
    NONE = auto()
    FIVE = auto()
    EARLY = auto()  # before the push is answered
    FALSE = auto()  # says failure of an order that succeeded, and success of one that failed
    FORGED = auto()  # one with a wrong signature that says so, then the true one
    STALE = auto()  # the true one, then an older one
    OTHER_AMOUNT = auto()
    OTHER_ACCOUNT = auto()


class View(Enum):
    """What a query shows."""

    TRUE = auto()
    ABSENT = auto()  # for a while
    UNLISTED_STATUS = auto()  # for a while
    OTHER_AMOUNT = auto()
    OTHER_ACCOUNT = auto()


@dataclass(frozen=True, slots=True)
class Fault:
    """One way to misbehave."""

    name: str
    ending: str  # the last two digits of an account that asks for it; empty: only by force
    meaning: str
    taken: bool = True  # the gateway takes the order and charges it
    answer: Answer = Answer.GOOD
    says: Reason | None = None  # what the answer refuses with, truly or not
    course: Course = Course.SUCCEEDS
    callbacks: Callbacks = Callbacks.GOOD
    view: View = View.TRUE
    once: bool = False  # strikes only the first push of an order number
    drawn: bool = True  # `fault_rate` may draw it: queries find out the truth in the end

    @property
    def hides(self) -> bool:
        """Whether an order is taken, and its caller does not learn so from the answer."""
        return self.taken and (self.says is not None or self.answer not in _TOLD)


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
    Fault("garbage", "05", "charged; the answer is HTML", answer=Answer.GARBAGE),
    Fault(
        "unknown_code",
        "06",
        "not charged, at every push; answered with a code that no document lists",
        taken=False,
        says=Reason.UNLISTED,
    ),
    Fault(
        "unknown_code_charged",
        "07",
        "charged, though answered with a code that no document lists",
        says=Reason.UNLISTED,
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
    Fault("refused", "14", "refused for good at every push; not charged", taken=False, says=Reason.NOT_POSSIBLE),
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
    Fault(
        "balance_too_low",
        "24",
        "refused at every push as if the prepaid balance were used up; not charged",
        taken=False,
        says=Reason.BALANCE_TOO_LOW,
        drawn=False,
    ),
    Fault("other_account", "25", "queries show another account than was pushed", view=View.OTHER_ACCOUNT, drawn=False),
    Fault(
        "forged_callback",
        "26",
        "succeeds; a callback with a wrong signature says that it failed, then the true one comes",
        callbacks=Callbacks.FORGED,
        drawn=False,
    ),
    Fault(
        "other_amount_callback", "27", "callbacks name another amount", callbacks=Callbacks.OTHER_AMOUNT, drawn=False
    ),
    Fault(
        "other_account_callback",
        "28",
        "callbacks name another account",
        callbacks=Callbacks.OTHER_ACCOUNT,
        drawn=False,
    ),
    Fault(
        "stale_callback",
        "29",
        "each callback is followed by an older one, which says that the order is still charging",
        callbacks=Callbacks.STALE,
        drawn=False,
    ),
    Fault("forged_answer", "30", "charged; the answer's signature is wrong", answer=Answer.FORGED, drawn=False),
    Fault(
        "already_submitted",
        "31",
        "charged, though answered as if the number had been submitted before",
        says=Reason.DUPLICATE,
        drawn=False,
    ),
    Fault("pays_late", "32", "the payer pays after `payer_late_seconds`", course=Course.PAYS_LATE, drawn=False),
    Fault("never_pays", "33", "the payer never pays", course=Course.NEVER_PAYS, drawn=False),
    Fault(
        "false_success",
        "34",
        "fails, but the first callback says that it succeeded",
        course=Course.FAILS,
        callbacks=Callbacks.FALSE,
        drawn=False,
    ),
    Fault(
        "forged_success",
        "35",
        "fails; a callback with a wrong signature says that it succeeded, then the true one comes",
        course=Course.FAILS,
        callbacks=Callbacks.FORGED,
        drawn=False,
    ),
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

BY_ENDING: Mapping[str, Fault] = MappingProxyType({fault.ending: fault for fault in _TABLE if fault.ending})
"""The faults that the last two digits of an account ask for."""

DRAWN = tuple(fault for fault in _TABLE if fault.drawn)
"""The faults that chance may draw."""

FOR_ANY_CALL = frozenset(
    fault.name
    for fault in _TABLE
    if fault.answer is not Answer.GOOD or fault.says in (Reason.UNLISTED, Reason.NOT_POSSIBLE)
)
"""The faults that calls other than a push can have: those of the answer. Where nothing is taken, nothing is done."""
