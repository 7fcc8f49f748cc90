"""When to try again: schedules and limits as data. Time is seconds; chance is an argument."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Policy:
    """How patient to be with one gateway."""

    query_after: tuple[float, ...] = (5, 10, 20, 40, 60)  # then the last one again and again
    query_deadline: float = 86_400  # from the first sending that may have arrived; then a person must look
    lease: float = 60  # after it a submit whose worker died is unknown
    settle_seconds: float = 120  # how long "no such order" must hold before it is believed
    settle_queries: int = 3  # and how often it must have been said
    retry_after: tuple[float, ...] = (1, 2, 5, 10, 30, 60)  # after a call that came to nothing
    hint_after: tuple[float, ...] = (1, 2, 5, 10, 30, 60, 300, 900, 3600)  # about a closed order, without an answer
    unfunded_pause: float = 60  # until one order is tried, once the gateway has said that our money is used up
    jitter: float = 0.2  # a delay is stretched or shortened by at most this share
    repeat_safe: bool = False  # the gateway declares that a submit may be repeated

    def query_delay(self, queries: int, chance: float) -> float:
        """Return the seconds until the next query, after `queries` of them in this state."""
        return self._step(self.query_after, queries, chance)

    def retry_delay(self, unsent: int, chance: float) -> float:
        """Return the seconds until the next sending, after `unsent` (at least 1) calls that came to nothing."""
        return self._step(self.retry_after, unsent - 1, chance)

    def hint_delay(self, asked: int, chance: float) -> float:
        """Return the seconds until a hint is asked about again, after `asked` (at least 1) questions in vain."""
        return self._step(self.hint_after, asked - 1, chance)

    def _step(self, schedule: tuple[float, ...], count: int, chance: float) -> float:
        base = schedule[min(count, len(schedule) - 1)]
        return base * (1 + self.jitter * (2 * chance - 1))
