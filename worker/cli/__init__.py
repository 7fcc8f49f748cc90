"""The command line: `worker …`. What goes wrong as it may is told in a line, never in a traceback.

Exit codes: 0 done; 1 the thing asked for failed; 2 wrong usage or settings; 130 interrupted from the keyboard,
143 by SIGTERM.
"""

import asyncio
import io
import os
import sys
from collections.abc import Iterable, Sequence
from typing import NoReturn

import typer

from worker.cli.common import FailedError
from worker.cli.program import app

FAILED, WRONG, INTERRUPTED, TERMINATED = 1, 2, 130, 143


def main() -> NoReturn:
    """Run the command that the process was started for, and end the process."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a narrow encoding must not hide an order
    try:
        code = execute(sys.argv[1:])
        sys.stdout.flush()
    except BrokenPipeError:  # `worker orders list | head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        code = FAILED
    except Exception as error:  # noqa: BLE001 - as Python would tell it, but for what must not be shown
        from worker.ops.showing import concealed, describe  # noqa: PLC0415 - rarely needed

        code = _tell(["this is an error in the worker itself; report it:", *describe(error, concealed())], FAILED)
    sys.exit(code)


def execute(arguments: Sequence[str]) -> int:
    """Run one command and return its exit code; only what nobody expects is raised."""
    try:
        result = app(list(arguments), prog_name="worker", standalone_mode=False)
    except FailedError as error:
        return _tell(error.lines, FAILED)
    except typer.TyperException as error:
        text, context = error.format_message().replace("Value error, ", ""), getattr(error, "ctx", None)
        hint = [] if context is None or text.startswith("Usage:") else [f"try: {context.command_path} --help"]
        return _tell([*text.splitlines(), *hint], error.exit_code)
    except typer.Abort:
        return FAILED
    except (KeyboardInterrupt, asyncio.CancelledError) as error:
        return INTERRUPTED if isinstance(error, KeyboardInterrupt) else TERMINATED
    except Exception as error:
        from worker.config import SettingsError  # noqa: PLC0415 - slow to import, and rarely needed

        if not isinstance(error, SettingsError):
            raise
        return _tell(error.problems, WRONG)
    return result if isinstance(result, int) else 0


def _tell(lines: Iterable[str], code: int) -> int:
    for line in lines:
        typer.echo(line, err=True)
    return code
