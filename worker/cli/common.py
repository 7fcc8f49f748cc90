"""What all commands share: their common options, how they get at the settings, and how they fail."""

# ruff: noqa: PLC0415 - settings and logs are slow to import, and `worker --help` needs neither

import asyncio
import getpass
import os
import re
import signal
import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Literal, TextIO

import typer

if TYPE_CHECKING:
    from worker.config import Settings

Level = Literal["debug", "info", "warning", "error", "critical"]

ConfigOption = Annotated[
    Path | None,
    typer.Option("--config", metavar="PATH", help="The settings file; default: WORKER_CONFIG, then worker.toml"),
]
LevelOption = Annotated[
    Level | None, typer.Option("--log-level", metavar="LEVEL", help="debug, info, warning, error or critical")
]
JsonOption = Annotated[bool, typer.Option("--json", help="Write JSON, and nothing else, to standard output")]

OperatorOption = Annotated[
    str | None, typer.Option("--operator", metavar="NAME", help="Who does this; default: the user logged in")
]

_LONGEST_NAME = 200
_AGO = re.compile(r"([0-9]{1,6})([smhd])")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_MOMENT = "expected RFC 3339 with an offset (2026-11-21T12:00:00Z), a date (UTC), or how long ago: 90s, 15m, 2h, 7d"


class FailedError(Exception):
    """What was asked for failed as such things do: `lines` say why, the exit code is 1."""

    def __init__(self, *lines: str) -> None:
        super().__init__("\n".join(lines))
        self.lines = lines


@dataclass(frozen=True, slots=True)
class Common:
    """The options that stand before or after the command; after it they count more."""

    config: Path | None = None
    log_level: Level | None = None

    def settings(self, *required: str) -> "Settings":
        """Return the settings; `required` names those without a default that the command cannot do without.

        From now on no log line shows one of their secrets.

        Raises:
            SettingsError: something is wrong with them.
        """
        from worker.config import load
        from worker.config.secrets import secrets_of
        from worker.ops.showing import conceal

        settings = load(self.config, os.environ, required=required)
        conceal(secrets_of(settings))
        return settings

    def log(self, level: Level = "critical", stream: TextIO | None = None) -> None:
        """Begin to log, to standard error unless told otherwise; `level` is the command's own default.

        Most commands say themselves what went wrong, so the default keeps the logs of what they use out of that.
        """
        from worker.ops.logging import configure

        configure(self.log_level or level, stream or sys.stderr)


def common(context: typer.Context, config: Path | None, log_level: Level | None) -> Common:
    """Return the common options from both places."""
    before = context.obj if isinstance(context.obj, Common) else Common()
    return Common(config or before.config, log_level or before.log_level)


def keep_options(context: typer.Context, *, config: ConfigOption = None, log_level: LevelOption = None) -> None:
    """Keep the common options for the command that follows; the callback of a group of commands."""
    context.obj = common(context, config, log_level)


def stop_on_signal() -> asyncio.Event:
    """Return an event that SIGTERM or SIGINT sets; a second signal ends the process at once, with exit code 1."""
    stop = asyncio.Event()

    def on_signal() -> None:
        if stop.is_set():
            os._exit(1)
        stop.set()

    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, on_signal)
    return stop


def cancel_on_sigterm() -> None:
    """Let SIGTERM cancel the running task, as Ctrl-C does, so that it ends what it has begun."""
    if task := asyncio.current_task():
        asyncio.get_running_loop().add_signal_handler(signal.SIGTERM, task.cancel)


def operator_name(given: str | None) -> str:
    """Return who does this: whoever is named, or else logged in.

    Raises:
        typer.BadParameter: the name cannot be one, or this system does not tell who is logged in.
    """
    try:
        name = given if given is not None else os.environ.get("SUDO_USER") or getpass.getuser()
    except (OSError, KeyError):  # no name for this user, as in some containers
        raise typer.BadParameter("expected your name, this system does not tell it", param_hint="--operator") from None
    if not name.strip() or not name.isprintable() or len(name) > _LONGEST_NAME:
        raise typer.BadParameter("expected a name of 1 to 200 printable characters", param_hint="--operator")
    return name.strip()


def parse_moment(text: str) -> datetime:
    """Return the moment that an option names, in UTC.

    Raises:
        typer.BadParameter: it is none.
    """
    try:
        if found := _AGO.fullmatch(text):
            return datetime.now(UTC) - timedelta(seconds=int(found[1]) * _SECONDS[found[2]])
        moment = datetime.fromisoformat(text)
        if moment.tzinfo is None and len(text) == len("2026-11-21"):
            moment = moment.replace(tzinfo=UTC)
        if moment.tzinfo is not None:
            return moment.astimezone(UTC)
    except (ValueError, OverflowError):
        pass
    raise typer.BadParameter(_MOMENT)


def parse_age(text: str) -> timedelta:
    """Return the length of time that an option names.

    Raises:
        typer.BadParameter: it is none.
    """
    found = _AGO.fullmatch(text)
    if found is None:
        raise typer.BadParameter("expected a length of time: 90s, 10m, 2h, 7d")
    return timedelta(seconds=int(found[1]) * _SECONDS[found[2]])
