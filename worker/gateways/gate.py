"""Who may call a gateway now: slots, the rate, the breaker, and a pause. Synchronous where nothing has to wait.

Rate: at most `rate_per_second` calls begun in any one second (below 1, one call in `1 / rate`
seconds). It is counted here and not by a leaky bucket such as aiolimiter's, which lets twice the
rate through in the first second, and can be neither entered without awaiting nor given a clock.
"""

import asyncio
import math
import time
from collections import deque
from collections.abc import Callable

from worker.gateways.breaker import Breaker, BreakerState

_SHARE = 8  # one slot in so many is kept for each kind of call


class Gate:
    """Admits calls to one gateway: each kind in order of arrival, and where both wait, by turns.

    Of `concurrency` slots one in eight is kept for queries and one in eight for submits; that, and the
    turns, where there are too few slots or the rate is used up, let neither starve the other. Whoever
    entered must `leave`, in the same kind. The breaker and the pause stop submits only: queries settle
    what is already there.
    """

    def __init__(
        self,
        concurrency: int,
        rate_per_second: float = 0,
        *,
        clock: Callable[[], float] = time.monotonic,
        breaker: Breaker | None = None,
    ) -> None:
        self._clock = clock
        self._breaker = breaker or Breaker()
        self._slots = concurrency
        self._most = concurrency - concurrency // _SHARE
        self._submits = 0
        self._queries = 0
        self._paused = False
        self._paused_until = -math.inf
        self._trial_until = -math.inf
        self._lines: dict[bool, deque[asyncio.Future[bool]]] = {True: deque(), False: deque()}  # queries, submits
        self._last_query = True  # which kind began last
        self.observe: Callable[[bool, float], None] | None = None
        """Told of each wait that is over: whether for a query, and its seconds."""
        self._timer: asyncio.TimerHandle | None = None
        burst = max(1, int(rate_per_second))
        self._window = burst / rate_per_second if rate_per_second else 0.0
        self._begun: deque[float] = deque(maxlen=burst)
        self._turns = max(1, burst // 2)  # of submits among queries, until the rate lets as many begin again

    # --- entering and leaving --------------------------------------------------------------------

    def try_enter_submit(self) -> bool:
        """Take a slot for a submit if one may begin at once; those who wait come first."""
        return not self._waits(query=False) and self._take(query=False)

    async def enter_submit(self, patience: float) -> bool:
        """Take a slot for a submit, waiting at most `patience` seconds; False: not admitted."""
        return self.try_enter_submit() or await self._wait(patience, query=False)

    def try_enter_query(self) -> bool:
        """Take a slot for a query (or any call that moves no money) if one may begin at once."""
        return not self._waits(query=True) and self._take(query=True)

    async def enter_query(self) -> None:
        """Take a slot for a query, waiting as long as it takes."""
        if not self.try_enter_query():
            await self._wait(None, query=True)

    def leave(self, *, query: bool = False) -> None:
        """Give back a slot of the kind that was entered."""
        if query:
            self._queries -= 1
        else:
            self._submits -= 1
        if self._anybody():
            self._admit()

    def record(self, order_no: str, *, ok: bool) -> None:
        """Tell the breaker how a submit ended: whether there was a readable answer, be it a refusal."""
        self._breaker.record(self._clock(), order_no, ok=ok)
        if self._anybody():
            self._admit()

    # --- how it stands ---------------------------------------------------------------------------

    def free_submits(self) -> int:
        """Return how many submits could begin at once, or will have their turn soon where queries wait as well."""
        now = self._clock()
        if self._stopped(now) or not self._breaker.allows(now):
            return 0
        free = min(self._most - self._submits, self._slots - self._submits - self._queries, self._free_rate(now))
        if self._breaker.retry_at() is not None or self._held(now):
            free = min(free, 1)
        if self._lines[True]:
            free = max(free, min(self._turns, self._most - self._submits))
        return max(0, free - len(self._lines[False]))

    @property
    def in_flight(self) -> int:
        """Calls that have entered and not left."""
        return self._submits + self._queries

    @property
    def calls(self) -> tuple[int, int]:
        """How many submits, and how many queries, have entered and not left."""
        return self._submits, self._queries

    @property
    def waiting(self) -> tuple[int, int]:
        """How many submits, and how many queries, wait for a slot."""
        return len(self._lines[False]), len(self._lines[True])

    @property
    def breaker(self) -> BreakerState:
        """How the breaker stands."""
        return self._breaker.state(self._clock())

    @property
    def paused(self) -> bool:
        """Whether submits are stopped until somebody says otherwise; the end of it ends also a pause for a while."""
        return self._paused

    @paused.setter
    def paused(self, paused: bool) -> None:
        if self._paused and not paused:
            self._paused_until = self._trial_until = -math.inf
        self._paused = paused
        self._admit()

    def allow_one(self, seconds: float) -> None:
        """Let one submit begin in spite of a pause, at most so long from now."""
        self._trial_until = self._clock() + seconds
        self._admit()

    def pause_for(self, seconds: float) -> bool:
        """Let no submit begin for so long, from now; return whether they could begin until now."""
        now = self._clock()
        could = not self._stopped(now)
        self._paused_until = now + seconds
        self._look_again()
        return could

    @property
    def resting(self) -> bool:
        """Whether such a pause lasts."""
        return self._clock() < self._paused_until

    # --- inside ----------------------------------------------------------------------------------

    def _held(self, now: float) -> bool:
        """Return whether there is a pause."""
        return self._paused or now < self._paused_until

    def _stopped(self, now: float) -> bool:
        """Return whether a pause lets no submit begin, not even one."""
        return self._held(now) and now >= self._trial_until

    def _take(self, *, query: bool) -> bool:
        now = self._clock()
        if self._submits + self._queries >= self._slots or not self._free_rate(now):
            return False
        if query:
            if self._queries >= self._most:
                return False
            self._queries += 1
        else:
            if self._stopped(now) or self._submits >= self._most or not self._breaker.allows(now):
                return False
            self._breaker.entered(now)
            self._trial_until = -math.inf
            self._submits += 1
        if self._window:
            self._begun.append(now)
        self._last_query = query
        return True

    def _free_rate(self, now: float) -> int:
        """Return how many calls the rate lets begin now."""
        begun = self._begun
        if not self._window:
            return self._slots
        while begun and now - begun[0] >= self._window:
            begun.popleft()
        return (begun.maxlen or 0) - len(begun)

    def _waits(self, *, query: bool) -> bool:
        """Return whether somebody was here first and can use what is free."""
        if not self._anybody():
            return False
        self._admit()
        return bool(self._lines[query])

    def _anybody(self) -> bool:
        return bool(self._lines[True] or self._lines[False])

    def _admit(self) -> None:
        """Let in whoever can be, the kinds by turns; then look again when time alone opens the gate."""
        while self._admit_one(query=not self._last_query) or self._admit_one(query=self._last_query):
            pass
        self._look_again()

    def _admit_one(self, *, query: bool) -> bool:
        """Let in the first who waits of a kind; return whether somebody was."""
        line = self._lines[query]
        while line and line[0].done():
            line.popleft()
        if not line or not self._take(query=query):
            return False
        line.popleft().set_result(True)
        return True

    def _look_again(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        if not self._anybody():
            return
        now = self._clock()
        moments = [self._paused_until]
        if self._begun:
            moments.append(self._begun[0] + self._window)
        retry_at = self._breaker.retry_at()
        if retry_at is not None:
            moments.append(retry_at)
        ahead = [moment - now for moment in moments if moment > now]
        if ahead:
            self._timer = asyncio.get_running_loop().call_later(min(ahead), self._admit)

    async def _wait(self, patience: float | None, *, query: bool) -> bool:
        if patience is not None and patience <= 0:
            return False
        loop = asyncio.get_running_loop()
        began = self._clock()
        granted: asyncio.Future[bool] = loop.create_future()
        line = self._lines[query]
        line.append(granted)
        self._admit()
        # a future is settled once: by a slot, by the end of patience, or by the task's cancellation
        limit = None if patience is None else loop.call_later(patience, _give_up, granted)
        entered = False
        try:
            entered = await granted
        except asyncio.CancelledError:
            if not granted.cancelled() and granted.result():
                self.leave(query=query)  # the slot came in the same moment
            raise
        finally:
            if self.observe is not None:
                self.observe(query, self._clock() - began)
            if limit is not None:
                limit.cancel()
            if not entered and granted in line:  # who entered was taken out of it, and the line may be long
                line.remove(granted)
        return entered


def _give_up(granted: "asyncio.Future[bool]") -> None:
    if not granted.done():
        granted.set_result(False)
