"""One configured gateway: its dialect driven over its sender, and what a failure at each step means.

The rule for a submit: a failure is "not sent" as long as no request that moves money has left, and
"unknown" from then on, whatever failed: the network, the answer, or our own code.
"""

import time
from collections.abc import Callable, Iterable, Mapping
from dataclasses import replace
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

import structlog
from pydantic import BaseModel, SecretStr

from worker.core.order import Order
from worker.core.outcome import Outcome, Report, Status, Submitted
from worker.core.policy import Policy
from worker.gateways.base import (
    Adapter,
    Call,
    CallbackRefusal,
    CallbackReport,
    RawCallback,
    Reply,
    Request,
    UnreadableReplyError,
)
from worker.gateways.evidence import Transcript, personal
from worker.gateways.gate import Gate
from worker.gateways.http import CallError, NotSentError, Sender
from worker.gateways.lease import Lease
from worker.gateways.settings import GatewaySettings

T = TypeVar("T")
Result = TypeVar("Result", Submitted, Report)

_log = structlog.get_logger("worker.gateways")

Observer = Callable[[str, str, float, str], None]
"""Called after every exchange with gateway, operation, seconds, and `http_<status>` or the failure's code."""

_NOT_OURS = frozenset({"lease_over", "closed"})
"""Failures that say nothing about the gateway."""


class Sends(Protocol):
    """What a gateway needs of its sender."""

    async def send(self, request: Request, lease: Lease | None = None) -> Reply:
        """Send once; see `Sender.send`."""

    async def close(self) -> None:
        """Close the connections."""


class GatewayUnavailableError(Exception):
    """A question to the gateway got no readable answer; `code` is stable, `message` masked."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


class _Flow:
    """How far one call has come."""

    __slots__ = ("asked", "money", "reply", "request")

    def __init__(self) -> None:
        self.asked = False  # the sender was asked for something
        self.money = False  # a request that moves money has left, or may have
        self.request: Request | None = None
        self.reply: Reply | None = None  # the answer to `request`


class Gateway:
    """Calls one gateway. Failures come back as outcomes and reports; only cancellation is raised.

    Slots: whoever submits has entered `gate` before it commits `submitting`, and leaves it
    afterwards; queries and balances enter and leave by themselves. Submits tell the breaker.
    """

    def __init__(
        self, adapter: Adapter, sender: Sends, gate: Gate, policy: Policy, *, observe: Observer | None = None
    ) -> None:
        self.name = adapter.name
        self.adapter = adapter
        self.gate = gate
        self.policy = policy
        self._sender = sender
        self._observer = observe
        self._transcript = Transcript(adapter.secrets, _secret_values(adapter.settings), adapter.charset)

    @classmethod
    def build(
        cls, adapter: type[Adapter], name: str, settings: GatewaySettings, *, observe: Observer | None = None
    ) -> "Gateway":
        """Return the gateway that `settings` describe, with a sender and a gate of its own."""
        sender = Sender(settings.concurrency, settings.timeout_seconds)
        gate = Gate(settings.concurrency, settings.rate_per_second)
        policy = settings.policy(repeat_safe=adapter.repeat_safe)
        return cls(adapter(name, settings), sender, gate, policy, observe=observe)

    async def submit(self, order: Order, now: datetime, lease: Lease | None) -> Submitted:
        """Send the order once and return what became of it; the caller holds a slot of `gate`.

        Cancelling this leaves the outcome unknown: shield it.
        """
        flow = _Flow()
        try:
            outcome = await self._drive(self.adapter.submit(order, now), flow, lease)
        except CallError as error:
            outcome = _failed(flow, error.code, error.message)
        except UnreadableReplyError as error:
            outcome = _failed(flow, "unreadable", str(error))
        except Exception as error:  # noqa: BLE001 - a bug in an adapter must not decide about money
            outcome = _failed(flow, "adapter_error", self._bug(error, "submit", order.order_no))
        if flow.asked and outcome.code not in _NOT_OURS:
            self.gate.record(outcome.doubt or outcome.outcome not in (Outcome.NOT_SENT, Outcome.UNKNOWN))
        return self._documented(outcome, flow, order)

    async def query(self, order: Order, now: datetime) -> Report:
        """Ask what became of the order's current attempt; no readable answer is `SILENT`."""
        flow = _Flow()
        await self.gate.enter_query()
        try:
            report = await self._drive(self.adapter.query(order, now), flow, None)
        except CallError as error:
            report = Report(Status.SILENT, error.code, error.message)
        except UnreadableReplyError as error:
            report = Report(Status.SILENT, "unreadable", str(error))
        except Exception as error:  # noqa: BLE001 - the next query may find another answer
            report = Report(Status.SILENT, "adapter_error", self._bug(error, "query", order.order_no))
        finally:
            self.gate.leave(query=True)
        return self._documented(report, flow, order)

    async def balance(self, now: datetime) -> int:
        """Return our balance there, in fen.

        Raises:
            GatewayUnavailableError: there was no readable answer.
        """
        code, message = "", ""
        await self.gate.enter_query()
        try:
            return await self._drive(self.adapter.balance(now), _Flow(), None)
        except CallError as error:
            code, message = error.code, error.message
        except UnreadableReplyError as error:
            code, message = "unreadable", self._transcript.text(str(error))
        except Exception as error:  # noqa: BLE001 - one gateway's bug must not end a check of all
            code, message = "adapter_error", self._bug(error, "balance", None)
        finally:
            self.gate.leave(query=True)
        raise GatewayUnavailableError(code, message)

    def parse_callback(self, raw: RawCallback) -> CallbackReport | CallbackRefusal:
        """Read a callback with its masked evidence; what the adapter cannot read is refused."""
        try:
            parsed = self.adapter.parse_callback(raw)
        except UnreadableReplyError as error:
            return CallbackRefusal("invalid_message", self._transcript.text(str(error)))
        except Exception as error:  # noqa: BLE001 - bytes from outside must not stop the consumer
            return CallbackRefusal("invalid_message", self._bug(error, "callback", None))
        if isinstance(parsed, CallbackRefusal) or parsed.report.evidence:
            return parsed
        return replace(parsed, report=replace(parsed.report, evidence=self._transcript.callback(raw)))

    async def close(self) -> None:
        """Close the connections; calls in flight end as unanswered."""
        await self._sender.close()

    async def _drive(self, call: Call[T], flow: _Flow, lease: Lease | None) -> T:
        """Send what the adapter asks for until it returns; errors of both pass through."""
        try:
            request = next(call)
            while True:
                reply = await self._send(request, flow, lease if request.moves_money else None)
                request = call.send(reply)
        except StopIteration as done:
            result: T = done.value
            return result
        finally:
            call.close()

    async def _send(self, request: Request, flow: _Flow, lease: Lease | None) -> Reply:
        money_before = flow.money
        flow.asked = True
        flow.request, flow.reply = request, None
        flow.money = money_before or request.moves_money  # until the opposite is proven
        began = time.perf_counter()
        result = "cancelled"
        try:
            reply = flow.reply = await self._sender.send(request, lease)
            result = f"http_{reply.status}"
        except CallError as error:
            result = error.code
            if isinstance(error, NotSentError):
                flow.money = money_before
            raise
        else:
            return reply
        finally:
            self._observe(request.operation, time.perf_counter() - began, result)

    def _observe(self, operation: str, seconds: float, result: str) -> None:
        if self._observer is None:
            return
        try:
            self._observer(self.name, operation, seconds, result)
        except Exception as error:  # noqa: BLE001 - counting must not change what is counted
            self._bug(error, "observe", None)

    def _documented(self, result: Result, flow: _Flow, order: Order) -> Result:
        """Return `result` with the exchange that it rests on, and its message masked."""
        message, evidence = result.message, result.evidence
        if flow.request is None and message is None:
            return result
        try:
            private = personal(order)
            if message is not None:
                message = self._transcript.text(message, private)
            if flow.request is not None and not evidence:
                evidence = self._transcript.exchange(flow.request, flow.reply, private)
        except Exception as error:  # noqa: BLE001 - the outcome stands without its evidence
            message = self._bug(error, "evidence", order.order_no)
        return replace(result, message=message, evidence=evidence)

    def _bug(self, error: Exception, operation: str, order_no: str | None) -> str:
        """Log where our own code failed, without any value of the order's, and return a line about it."""
        kind = type(error).__name__
        _log.error("adapter_failed", gateway=self.name, operation=operation, order_no=order_no, error=kind,
                   where=_where(error))  # fmt: skip
        return f"{kind} in the adapter's {operation}"


def _failed(flow: _Flow, code: str, message: str) -> Submitted:
    return Submitted(Outcome.UNKNOWN if flow.money else Outcome.NOT_SENT, code, message)


def _where(error: Exception) -> str:
    """Return the innermost places of a traceback as `file:line`."""
    places: list[str] = []
    trace = error.__traceback__
    while trace is not None:
        places.append(f"{Path(trace.tb_frame.f_code.co_filename).name}:{trace.tb_lineno}")
        trace = trace.tb_next
    return " > ".join(places[-4:])


def _secret_values(settings: Any) -> list[str]:
    """Return the text of every secret in `settings`, nested or not."""
    if isinstance(settings, SecretStr):
        return [settings.get_secret_value()]
    inner: Iterable[Any] = ()
    if isinstance(settings, BaseModel):
        inner = [value for _name, value in settings]
    elif isinstance(settings, Mapping):
        inner = settings.values()
    elif isinstance(settings, list | tuple):
        inner = settings
    return [secret for value in inner for secret in _secret_values(value)]
