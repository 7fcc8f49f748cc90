"""Searching what is shown, and what is logged, for what must not be there."""

import json
import logging
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

from structlog.testing import capture_logs


def assert_unseen(text: str, canaries: Iterable[str]) -> None:
    """Fail if one of these is in the text, as it is or as JSON would write it."""
    for canary in canaries:
        escaped = json.dumps(canary)[1:-1]
        assert canary not in text, f"{canary!r} is shown"
        assert escaped not in text, f"{escaped!r} is shown"


@contextmanager
def listening() -> Iterator[list[str]]:
    """Collect what is logged, by whoever; `Desk.canaries` are what must not be in it."""
    lines: list[str] = []

    class Lines(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            lines.append(self.format(record))

    handler = Lines()
    logging.getLogger().addHandler(handler)
    try:
        with capture_logs() as events:
            yield lines
        lines += [repr(event) for event in events]
    finally:
        logging.getLogger().removeHandler(handler)
