"""Carrying out commands: each is answered, when it asks for that, within its gateway's time-out plus five seconds.

A command is acknowledged when it is over, so one that is lost with its worker is carried out again: whatever
changes something may run twice. What is slow waits here for its own gateway, and holds up nobody else.
"""

import asyncio
from collections import defaultdict
from collections.abc import Coroutine, Mapping
from typing import TYPE_CHECKING, Any

import orjson
import structlog

from schemas.commands import CardCommand, Command, OrderCancel
from schemas.decode import check_properties, decode_command
from schemas.errors import InvalidMessageError
from worker.broker.dead import encodable
from worker.broker.message import Delivery, Outgoing
from worker.broker.settlement import AWAY, COMMITTED, Publish, Settled
from worker.core.subject import about, about_person
from worker.core.trace import COMMAND, Kind, headers, read
from worker.flows.command_trouble import RefusedCommandError
from worker.ledger.connection import is_away

if TYPE_CHECKING:
    from worker.core.order import Order
    from worker.core.trace import Tracing
    from worker.flows.gateway_commands import GatewayCommands
    from worker.flows.order_commands import OrderCommands
    from worker.gateways.gateway import Gateway
    from worker.ledger.ledger import Ledger

log = structlog.get_logger("worker.commands")

FIND_SECONDS = 3.0
ROOM_SECONDS = 0.25
GRACE_SECONDS = 4.0
"""Beyond the gateway's time-out; the fifth second is for the answer's own way."""
_CODES: Mapping[str, str] = {"invalid_message": "invalid_command"}
"""The code of a dead letter's answer; any other reason is a failure of ours."""
_DONE = "ok"

Answer = dict[str, Any]


class _NoRoomError(Exception):
    """Too many commands wait for the same gateway."""


class Commands:
    """Handles the deliveries of the command queue.

    Args:
        publish: a publisher's, for the answers.
        prefetch: how many deliveries may be in hand at once; one gateway's may only be a part of them.
    """

    def __init__(
        self,
        ledger: "Ledger",
        gateways: "Mapping[str, Gateway]",
        orders: "OrderCommands",
        at_gateways: "GatewayCommands",
        *,
        publish: Publish,
        reply: Publish,
        prefetch: int,
        tracing: "Tracing",
    ) -> None:
        self._ledger = ledger
        self._gateways = gateways
        self._orders = orders
        self._at_gateways = at_gateways
        self._publish = publish
        self._reply = reply
        self._tracing = tracing
        room = max(1, prefetch // (len(gateways) + 1))
        self._rooms: defaultdict[str, asyncio.Semaphore] = defaultdict(lambda: asyncio.Semaphore(room))
        self._tasks: set[asyncio.Task[Answer]] = set()

    async def handle(self, delivery: Delivery) -> Settled:
        """Carry out one command and answer it."""
        given = delivery.properties
        name = delivery.routing_key.removeprefix("command.")
        try:
            command = decode_command(name, delivery.body)
            check_properties(given.content_type, given.content_encoding, given.type, name)
        except InvalidMessageError as error:
            return Settled.impossible(error.reason, str(error))
        if not given.reply_to and not _changes(name, command):
            return COMMITTED  # nobody would hear what it found
        about_person(command.model_dump())
        span = self._tracing.span("command", Kind.CONSUMER, read(given.headers))
        COMMAND.set(span.context)
        outcome = "error"
        try:
            settled, outcome = await self._answer(name, command, delivery)
        finally:
            span.end(outcome, failed=outcome != _DONE, command=name)
        return settled

    async def _answer(self, name: str, command: Command, delivery: Delivery) -> tuple[Settled, str]:
        """Carry a command out, and tell what came of it; return that in a word too."""
        given = delivery.properties
        try:
            answer: Answer = {"ok": True, "data": await self._carry_out(name, command, asked=bool(given.reply_to))}
        except RefusedCommandError as error:
            answer = refused(error.code, error.message)
        except _NoRoomError:
            return await self._put_back(delivery), "postponed"
        except Exception as error:
            if not given.reply_to:
                if is_away(error):
                    return AWAY, "away"  # what it changes is still to be done
                raise
            answer = refused("unavailable", _trouble(error, name))
        code: str = answer.get("error", {}).get("code", _DONE)
        log.info("command", command=name, code=code)
        if given.reply_to and not await self._reply(_reply(delivery, answer, COMMAND.get())):
            log.warning("answer_unheard", command=name)
        return COMMITTED, code

    async def _put_back(self, delivery: Delivery) -> Settled:
        """Let a command wait at the end of its queue: what waits in hand would hold up those behind it."""
        again = delivery.properties.outgoing(
            delivery.exchange, delivery.routing_key, delivery.body, encodable(delivery.properties.headers)
        )
        return COMMITTED if await self._publish(again) else AWAY

    def stop(self) -> None:
        """Give up what goes on after its answer was due."""
        for task in self._tasks:
            task.cancel()

    async def _carry_out(self, name: str, command: Command, *, asked: bool) -> Answer:
        """Return the answer's data, in time where somebody waits for it."""
        began = asyncio.get_running_loop().time()
        order, gateway = await self._subject(command)
        if order is not None:
            about(order)
        room = await self._room("" if gateway is None else gateway.name, asked=asked)
        task = asyncio.create_task(self._work(name, command, order, gateway))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        task.add_done_callback(lambda _: room.release())
        limit = FIND_SECONDS if gateway is None else gateway.adapter.settings.timeout_seconds
        left = began + limit + GRACE_SECONDS - asyncio.get_running_loop().time()
        # a task of its own, which nothing cancels: what a late answer tells is written all the same
        await asyncio.wait({task}, timeout=left if asked else None)
        if not task.done():
            task.add_done_callback(_retrieve)
            raise RefusedCommandError("timeout", f"no result within {limit + GRACE_SECONDS:g} s; it may come yet")
        return task.result()

    async def _subject(self, command: Command) -> "tuple[Order | None, Gateway | None]":
        """Return what the command is about.

        Raises:
            RefusedCommandError: nobody here knows it, or (`unavailable`) the database does not answer.
        """
        named = getattr(command, "gateway", None)
        if named is not None:
            gateway = self._gateways.get(named)
            if gateway is None:
                raise RefusedCommandError("unknown_gateway", "gateway: not a configured gateway")
            return None, gateway
        async with asyncio.timeout(FIND_SECONDS):
            order = await self._ledger.find(getattr(command, "order_no", ""))
        if order is None:
            raise RefusedCommandError("unknown_order", "order_no: there is no such order")
        return order, self._gateways.get(order.gateway)

    def _work(
        self, name: str, command: Command, order: "Order | None", gateway: "Gateway | None"
    ) -> Coroutine[Any, Any, Answer]:
        if order is not None:
            work = self._orders.cancel if isinstance(command, OrderCancel) else self._orders.query
            return work(order, gateway)
        if gateway is None:
            raise LookupError("a command about neither an order nor a gateway")
        return self._at_gateways.carry_out(name, command, gateway)

    async def _room(self, gateway: str, *, asked: bool) -> asyncio.Semaphore:
        """Take one of the few places of those who wait for a gateway, and return what it is to be released to.

        Whoever waits for an answer is sent away where there is none; what nobody would hear of waits a moment for one.

        Raises:
            RefusedCommandError: there is none, and somebody waits for the answer.
            _NoRoomError: there is none, and nobody does.
        """
        room = self._rooms[gateway]
        if asked and room.locked():
            raise RefusedCommandError("unavailable", f"too many commands wait for {gateway}: try again later")
        try:
            async with asyncio.timeout(ROOM_SECONDS):
                await room.acquire()
        except TimeoutError:
            raise _NoRoomError from None
        return room


def refused(code: str, message: str) -> Answer:
    """Return the answer to a command that was not carried out."""
    return {"ok": False, "error": {"code": code, "message": message}}


def invalid(delivery: Delivery, settled: Settled) -> Outgoing | None:
    """Return what whoever sent a command hears when it became a dead letter; None: nobody asked."""
    if not delivery.properties.reply_to:
        return None
    answer = refused(_CODES.get(settled.reason, "unavailable"), settled.detail)
    return _reply(delivery, answer, read(delivery.properties.headers))


def _reply(delivery: Delivery, answer: Answer, trace: str | None) -> Outgoing:
    given = delivery.properties
    return Outgoing(
        "",
        given.reply_to or "",
        orjson.dumps(answer),
        correlation_id=given.correlation_id or given.message_id,
        headers=headers(trace),
    )


def _changes(name: str, command: Command) -> bool:
    return isinstance(command, OrderCancel) or (isinstance(command, CardCommand) and name != "card.show")


def _trouble(error: Exception, name: str) -> str:
    if is_away(error):
        return "the database does not answer: try again later"
    log.error("command_failed", command=name, error=type(error).__name__, exc_info=error)
    return "the worker failed on it; its log says where"


def _retrieve(task: "asyncio.Task[Answer]") -> None:
    """Tell what came of a command after its answer was due."""
    if task.cancelled():
        return
    error = task.exception()
    if error is not None and not isinstance(error, RefusedCommandError):
        log.error("command_failed", error=type(error).__name__, exc_info=error)
