"""`worker check`: looks at settings, database, broker and gateways at once, and says what to do about what it finds."""

from worker.ops.doctor.visit import examine

__all__ = ["examine"]
