"""The shared clock by itself: which measurement it goes by, on a machine's clock that the test moves."""

from datetime import UTC, datetime, timedelta

from worker.ledger.clock import SharedClock

NOON = datetime(2026, 11, 21, 12, tzinfo=UTC)


class Machine:
    """A machine whose clock is at 1000 seconds at noon, and a database that may be asked slowly."""

    def __init__(self) -> None:
        self.seconds = 1000.0
        self.clock = SharedClock(lambda: self.seconds)

    def measure(self, there: float = 0.0, back: float = 0.0, wrong: float = 0.0) -> None:
        """Ask the database, whose clock is `wrong` seconds ahead, with these seconds to it and back."""
        asked_at = self.seconds
        self.seconds += there
        theirs = self.true() + timedelta(seconds=wrong)
        self.seconds += back
        self.clock.measured(asked_at, theirs, self.seconds)

    def true(self) -> datetime:
        """Return what the time really is."""
        return NOON + timedelta(seconds=self.seconds - 1000)

    def off(self) -> float:
        """Return how many seconds the shared clock is ahead of the truth."""
        return (self.clock.now() - self.true()).total_seconds()


def test_between_two_looks_it_follows_the_machine() -> None:
    machine = Machine()
    machine.measure()
    machine.seconds += 12.5
    assert machine.clock.now() == NOON + timedelta(seconds=12.5)


def test_the_first_look_is_taken_however_slow_it_was() -> None:
    machine = Machine()
    machine.measure(there=8)
    assert machine.off() == 4


def test_a_slow_look_says_little() -> None:
    """The answer took a second, so it may be half a second off; what is known is far better."""
    machine = Machine()
    machine.measure(there=0.001, back=0.001)
    machine.seconds += 30
    machine.measure(back=1)
    assert abs(machine.off()) < 0.001


def test_a_better_look_replaces_a_slow_one() -> None:
    machine = Machine()
    machine.measure(back=1)
    machine.measure(back=0.002)
    assert abs(machine.off()) <= 0.001


def test_what_is_known_grows_old() -> None:
    """A network that has become slow for good is believed after a while: clocks part."""
    machine = Machine()
    machine.measure()
    machine.seconds += 3 * 3600
    machine.measure(there=0.6)
    assert abs(machine.off() - 0.3) < 1e-6


def test_a_database_whose_clock_was_set_is_followed_even_if_it_answers_slowly() -> None:
    """Both cannot be true: a standby with another clock has taken over."""
    machine = Machine()
    machine.measure()
    machine.measure(there=0.25, back=0.25, wrong=-7)
    assert abs(machine.off() + 7) < 1e-6
