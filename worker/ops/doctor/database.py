"""PostgreSQL: whether it can be trusted with money, and whether its schema is the one that this worker writes."""

from collections.abc import AsyncGenerator, AsyncIterator, Iterator
from datetime import timedelta
from typing import TYPE_CHECKING

from worker.core.finding import Finding
from worker.core.masking import mask_text
from worker.ledger.checkup import Checkup, Server
from worker.ledger.connection import opened
from worker.ledger.trouble import describe
from worker.ops.doctor.standing import check_standing

if TYPE_CHECKING:
    from worker.config import Settings

MOST_SKEW = timedelta(seconds=2)
OLDEST = 150_000
"""PostgreSQL 15."""
FEWEST_MONTHS = 3
"""Partitions of the journal, this month's among them; with fewer, it is time."""
LONGEST_TRANSACTION_SECONDS = 300.0

_REACH = "start PostgreSQL, or correct host, user, password or name in database.dsn"
_TRUST = "add `sslrootcert=…` to database.dsn, with the certificate of who signed PostgreSQL's, for the host it names"
_DURABLE = ("synchronous_commit", "fsync", "full_page_writes")


async def check_database(settings: "Settings") -> AsyncGenerator[Finding, None]:
    """Yield what there is to say about the database, and about the ledger in it."""
    try:
        async with opened(settings.database.dsn.get_secret_value()) as pool:
            async for finding in _look(Checkup(pool), settings):
                yield finding
    except Exception as error:
        line = describe(error)
        if line is None:
            raise
        yield Finding.failed("database", line, _TRUST if "certificate" in line.lower() else _REACH)


async def _look(checkup: Checkup, settings: "Settings") -> AsyncIterator[Finding]:
    server = await checkup.server()
    for finding in _server(server, settings.database.pool_size):
        yield finding
    yield _clock(await checkup.skew())
    if (held := await _transactions(checkup)) is not None:
        yield held
    if rights := await checkup.missing_rights():
        grants = "; ".join(f"GRANT {each} TO …" for each in rights.values())
        detail = f"our user may not do all that the worker does with {', '.join(rights)}"
        yield Finding.failed("database.rights", detail, f"let the tables' owner run: {grants}")
        return
    problem = await checkup.schema_problem()
    if problem is not None:
        detail, _, fix = problem.rpartition(": ")
        yield Finding.failed("database.schema", detail, fix)
        return  # what follows would be asked of tables that are not there
    yield Finding.ok("database.schema", "up to date")
    async for finding in _contents(checkup):
        yield finding
    async for finding in check_standing(checkup, settings.gateways):
        yield finding


def _server(server: Server, pool_size: int) -> Iterator[Finding]:
    version = f"PostgreSQL {server.version}"
    if server.number < OLDEST:
        yield Finding.failed("database", f"{version} is too old", "upgrade it to 15 or newer")
    elif server.read_only:
        yield Finding.failed(
            "database", f"{version} takes no writes here", "let database.dsn name the primary, read-write"
        )
    else:
        yield Finding.ok("database", version)
    lossy = [name for name in _DURABLE if getattr(server, name) == "off"]
    if lossy:
        detail = f"{', '.join(lossy)} off: a crash of it would lose what was committed, and orders could be sent again"
        yield Finding.failed("database.durability", detail, f"set {', '.join(f'{name} = on' for name in lossy)}")
    else:
        told = ", ".join(f"{name} {getattr(server, name)}" for name in _DURABLE)
        yield Finding.ok("database.durability", told)
    if server.time_zone != "UTC":
        yield Finding.warning(
            "database.session",
            f"the session's time zone is {mask_text(server.time_zone)} though the worker asks for UTC",
            "connect to PostgreSQL itself: a pooler or a login trigger changes our session's settings",
        )
    if server.free_connections < pool_size:
        yield Finding.warning(
            "database.connections",
            f"it lets in {max(server.free_connections, 0)} more clients, one worker needs {pool_size}",
            "raise max_connections in PostgreSQL, or lower database.pool_size",
        )


def _clock(skew: timedelta) -> Finding:
    seconds = skew.total_seconds()
    told = f"{abs(seconds):.3f} s {'ahead of' if seconds > 0 else 'behind'} this machine's"
    if abs(skew) <= MOST_SKEW:
        return Finding.ok("database.clock", told)
    return Finding.warning("database.clock", told, "let NTP set both clocks (`timedatectl` tells whether it does)")


async def _transactions(checkup: Checkup) -> Finding | None:
    found = await checkup.oldest_transaction(LONGEST_TRANSACTION_SECONDS)
    if found is None:
        return None
    who = mask_text(" ".join(each for each in (found.user, found.application) if each)) or "somebody"
    return Finding.warning(
        "database.transactions",
        f"{who} (pid {found.pid}, {found.state}) has had a transaction open for {found.seconds:.0f} s",
        f"end it: SELECT pg_terminate_backend({found.pid})",
    )


async def _contents(checkup: Checkup) -> AsyncIterator[Finding]:
    if missing := await checkup.missing_transitions():
        detail = f"the database does not know {missing} steps of this worker's machine, and would refuse them"
        yield Finding.failed("database.transitions", detail, "run `worker migrate --database`")
    months = await checkup.months()
    if months.ahead < FEWEST_MONTHS or months.strays:
        told = f"partitions for {months.ahead} months, this one first"
        strays = "; lines without their month's lie in `journal_default`" if months.strays else ""
        yield Finding.warning(
            "database.journal", f"{told}{strays}", "run `worker migrate --database`, once a year at least"
        )
    else:
        yield Finding.ok("database.journal", f"partitions for {months.ahead} months")
