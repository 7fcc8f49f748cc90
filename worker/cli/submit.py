"""`worker submit`: publishes orders from JSON Lines, all of them or, when one line is bad, none."""

# ruff: noqa: PLC0415 - the models and the broker's client are slow to import, and `worker --help` needs neither

import asyncio
import secrets
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, TYPE_CHECKING, Annotated

import typer

from worker.cli.common import ConfigOption, FailedError, JsonOption, LevelOption, common
from worker.cli.output import write_json

if TYPE_CHECKING:
    from worker.broker.message import Outgoing
    from worker.broker.publisher import Publisher
    from worker.config import Settings

STDIN = Path("-")
BATCH = 256
TRIES = 3
MOST_TOLD = 50
_IN_MEMORY = 32 * 1024 * 1024
_BOM = b"\xef\xbb\xbf"


@dataclass(slots=True)
class Checked:
    """The lines of the input that are good, spooled; and what is wrong with the others."""

    spool: IO[bytes]
    count: int = 0
    products: set[str] = field(default_factory=set)
    problems: list[str] = field(default_factory=list)
    _orders: dict[str, tuple[bytes, str]] = field(default_factory=dict)  # content and place by number

    def add(self, place: str, body: bytes) -> None:
        """Take one line of the input."""
        from schemas.decode import InvalidMessageError, decode_submit

        try:
            order = decode_submit(body)
        except InvalidMessageError as error:
            self.problems.append(f"{place}: {error}")
            return
        digest = order.content_digest()
        known, where = self._orders.setdefault(order.order_no, (digest, place))
        if known != digest:
            self.problems.append(f"{place}: order_no: {where} has the same number with other content")
            return
        # decoded JSON holds line breaks only as white space
        self.spool.write(order.product.encode() + b" " + body.replace(b"\r", b" ").replace(b"\n", b" ") + b"\n")
        self.products.add(order.product)
        self.count += 1

    def bodies(self) -> Iterator[tuple[str, bytes]]:
        """Yield product and body of each good line."""
        self.spool.seek(0)
        for line in self.spool:
            product, _, body = line.rstrip(b"\n").partition(b" ")
            yield product.decode(), body


def submit(
    context: typer.Context,
    *,
    files: Annotated[
        list[Path] | None,
        typer.Argument(metavar="[FILE…]", help="JSON Lines, an order each; - or none: standard input"),
    ] = None,
    as_json: JsonOption = False,
    config: ConfigOption = None,
    log_level: LevelOption = None,
) -> None:
    """Publish orders from JSON Lines.

    Every line is checked first: when one is bad, nothing is published. The broker confirms each order.
    """
    options = common(context, config, log_level)
    settings = options.settings("amqp.url")
    options.log()
    with tempfile.SpooledTemporaryFile(_IN_MEMORY) as spool:
        checked = Checked(spool)
        check_lines(checked, files or [STDIN])
        if checked.problems:
            told, more = checked.problems[:MOST_TOLD], len(checked.problems) - MOST_TOLD
            raise FailedError(*told, *([f"and {more} more"] if more > 0 else []), "nothing was published")
        if checked.count:
            asyncio.run(_publish(settings, checked))
        if as_json:
            write_json([{"published": checked.count}])
        else:
            typer.echo(f"published {checked.count} {'order' if checked.count == 1 else 'orders'}")


def check_lines(checked: Checked, files: Iterable[Path]) -> None:
    """Give every line of the files to `checked`; blank ones do not count.

    Raises:
        typer.BadParameter: a file cannot be read.
    """
    for file in files:
        try:
            if file == STDIN:
                _check_file(checked, "stdin", sys.stdin.buffer)
            else:
                with file.open("rb") as stream:
                    _check_file(checked, str(file), stream)
        except OSError as error:
            raise typer.BadParameter(f"{file}: {error.strerror or type(error).__name__}", param_hint="FILE") from None


def _check_file(checked: Checked, name: str, stream: Iterable[bytes]) -> None:
    for number, line in enumerate(stream, 1):
        body = (line.removeprefix(_BOM) if number == 1 else line).strip(b" \t\r\n")
        if body:
            checked.add(f"{name}:{number}", body)


async def _publish(settings: "Settings", checked: Checked) -> None:
    from worker.broker.connection import BrokerLostError
    from worker.broker.publisher import Publisher
    from worker.broker.topology import Topology, check

    url, prefix = settings.amqp.url.get_secret_value(), settings.amqp.prefix
    try:
        # without its queue an order would land among the dead letters
        problems = await check(url, Topology(prefix, tuple(sorted(checked.products))))
    except BrokerLostError as error:
        raise FailedError(f"broker: {error}", "nothing was published") from None
    if problems:
        raise FailedError(*(f"broker: {problem}" for problem in problems), "nothing was published")
    publisher = Publisher(url, on_stuck=lambda _why: None, name="worker submit")
    await publisher.start()
    done = 0
    try:
        for batch in _batches(prefix, checked.bodies()):
            trouble, confirmed = await publish_batch(publisher, batch)
            done += confirmed
            if trouble:
                raise FailedError(
                    trouble,
                    f"{done} of {checked.count} orders are confirmed; submit all of them again: "
                    "what is known already is not sent twice",
                )
    finally:
        await publisher.stop()


def _batches(prefix: str, bodies: Iterator[tuple[str, bytes]]) -> Iterator[list["Outgoing"]]:
    from worker.broker.message import Outgoing

    batch: list[Outgoing] = []
    for product, body in bodies:
        batch.append(Outgoing(prefix, f"submit.{product}", body, message_id=secrets.token_hex(16), type="order.submit"))
        if len(batch) == BATCH:
            yield batch
            batch = []
    if batch:
        yield batch


async def publish_batch(publisher: "Publisher", batch: list["Outgoing"]) -> tuple[str, int]:
    """Publish, and again with the same id what is not confirmed; return the trouble, if any, and how many went out."""
    left, trouble = batch, ""
    for _ in range(TRIES):
        results = await publisher.publish_many(left)
        unroutable = sum(result is False for result in results)
        lost = [
            (message, result) for message, result in zip(left, results, strict=True) if not isinstance(result, bool)
        ]
        if unroutable:
            return f"broker: no queue took {unroutable} of the orders", len(batch) - len(lost) - unroutable
        if not lost:
            return "", len(batch)
        left, trouble = [message for message, _ in lost], f"broker: {lost[0][1]}"
    return trouble, len(batch) - len(left)
