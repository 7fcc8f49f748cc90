"""Settings: `worker.toml`, overridden by `WORKER_<SECTION>__<KEY>`, over defaults; every problem is told at once."""

from worker.config.loading import DEFAULT_REQUIRED, load
from worker.config.model import Address, Amqp, Database, Events, Ops, Relay, SecretUrl, Settings
from worker.config.problems import SettingsError

__all__ = [
    "DEFAULT_REQUIRED",
    "Address",
    "Amqp",
    "Database",
    "Events",
    "Ops",
    "Relay",
    "SecretUrl",
    "Settings",
    "SettingsError",
    "load",
]
