"""Everything that is looked at, at once and each within a bound: what hangs or breaks hides nothing else."""

import asyncio
from collections.abc import AsyncGenerator
from itertools import chain
from typing import TYPE_CHECKING

from worker.core.finding import Finding
from worker.ops.doctor.broker import check_broker
from worker.ops.doctor.database import check_database
from worker.ops.doctor.gateways import check_gateway
from worker.ops.doctor.secrets import check_secrets
from worker.ops.doctor.settings import check_settings

if TYPE_CHECKING:
    from worker.config import Settings

BOUND_SECONDS = 20.0
"""For each of database, broker and gateways; they are looked at side by side."""


async def examine(settings: "Settings") -> list[Finding]:
    """Return what was found, the settings first."""
    dependencies = {
        "database": check_database(settings),
        "broker": check_broker(settings),
        **{f"gateways.{name}": check_gateway(name, given) for name, given in settings.gateways.items()},
    }
    told = await asyncio.gather(*(_within_bound(name, findings) for name, findings in dependencies.items()))
    return [*check_settings(settings), *check_secrets(settings), *chain.from_iterable(told)]


async def _within_bound(name: str, findings: AsyncGenerator[Finding, None]) -> list[Finding]:
    """Return what is found in time; if there is more to be found, that it was not."""
    found: list[Finding] = []
    try:
        async with asyncio.timeout(BOUND_SECONDS):
            async for finding in findings:
                found.append(finding)  # noqa: PERF401 - what was found before a time-out counts
    except TimeoutError:
        detail = f"no answer within {BOUND_SECONDS:g} s"
        found.append(Finding.failed(name, detail, "see whether it is overloaded, or a firewall drops our packets"))
    except Exception as error:  # noqa: BLE001 - a bug in one check must not hide what the others find
        place = error.__traceback__
        while place is not None and place.tb_next is not None:
            place = place.tb_next
        where = "" if place is None else f" at {place.tb_frame.f_code.co_filename}:{place.tb_lineno}"
        detail = f"the check itself failed: {type(error).__name__}{where}"
        found.append(Finding.failed(name, detail, "this is an error in the worker itself: report it with this line"))
    finally:
        await findings.aclose()
    return found
