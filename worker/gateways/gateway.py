"""One configured gateway: its dialect driven over its sender, and what a failure at each step means.

The rule for a submit: a failure is "not sent" as long as no request that moves money has left, and
"unknown" from then on, whatever failed: the network, the answer, or our own code.
"""

import random
import time
from collections.abc import Callable, Mapping
from datetime import datetime
from pathlib import Path
from typing import Any, Protocol, TypeVar

import structlog

from worker.core.card import CardError
from worker.core.masking import personal_fields
from worker.core.money import fen_to_text
from worker.core.order import Order
from worker.core.outcome import Outcome, Report, Status, Submitted
from worker.core.policy import Policy
from worker.core.trace import COMMAND, Kind, Tracing, headers
from worker.gateways.base import (
    Adapter,
    Call,
    CallbackRefusal,
    CallbackReport,
    CardCall,
    RawCallback,
    RefusedError,
    Reply,
    Request,
    UnreadableReplyError,
)
from worker.gateways.cards import CardAction, CardBook, CardHand, CardRefusal
from worker.gateways.evidence import Transcript, personal
from worker.gateways.gate import Gate
from worker.gateways.http import CallError, NotSentError, Sender
from worker.gateways.lease import Lease
from worker.gateways.settings import GatewaySettings, secret_values

T = TypeVar("T")
Result = TypeVar("Result", Submitted, Report)

_log = structlog.get_logger("worker.gateways")

Observer = Callable[[str, str, float, str], None]
"""Called after every exchange with gateway, operation, seconds, and `http_<status>` or the failure's code."""

_CODE_LIMIT = 64
"""Characters of a gateway's code that are kept: whatever it is, it is a word of theirs."""

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

    __slots__ = ("asked", "cards", "earlier", "money", "order", "reply", "request")

    def __init__(self, cards: CardHand, order: Order | None) -> None:
        self.cards = cards
        self.order = order  # None: it is about none
        self.earlier: list[tuple[Request, Reply | None]] = []  # the exchanges before `request`
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
        self,
        adapter: Adapter,
        sender: Sends,
        gate: Gate,
        policy: Policy,
        *,
        observe: Observer | None = None,
        tracing: Tracing | None = None,
    ) -> None:
        self.name = adapter.name
        self.adapter = adapter
        self.gate = gate
        self.policy = policy
        self.cards: CardBook | None = None  # set where a ledger is at hand; without it no card is touched
        self._sender = sender
        self._observer = observe
        self._tracing = tracing or Tracing(random.getrandbits)
        self._transcript = Transcript(adapter.secrets, secret_values(adapter.settings), adapter.charset)

    @classmethod
    def build(
        cls,
        adapter: type[Adapter],
        name: str,
        settings: GatewaySettings,
        *,
        observe: Observer | None = None,
        tracing: Tracing | None = None,
    ) -> "Gateway":
        """Return the gateway that `settings` describe, with a sender and a gate of its own."""
        sender = Sender(settings.concurrency, settings.timeout_seconds)
        gate = Gate(settings.concurrency, settings.rate_per_second)
        policy = settings.policy(repeat_safe=adapter.repeat_safe)
        return cls(adapter(name, settings), sender, gate, policy, observe=observe, tracing=tracing)

    @property
    def keeps_balance(self) -> bool:
        """Whether it can be asked for our balance."""
        return type(self.adapter).balance is not Adapter.balance

    async def submit(self, order: Order, now: datetime, lease: Lease | None) -> Submitted:
        """Send the order once and return what became of it; the caller holds a slot of `gate`.

        Cancelling this leaves the outcome unknown: shield it.
        """
        flow = self._flow(order)
        try:
            outcome = await self._drive(self.adapter.submit(order, now), flow, lease)
        except (CallError, CardError) as error:
            outcome = _failed(flow, error.code, error.message)
        except UnreadableReplyError as error:
            outcome = _failed(flow, "unreadable", str(error))
        except Exception as error:  # noqa: BLE001 - a bug in an adapter must not decide about money
            outcome = _failed(flow, "adapter_error", self._bug(error, "submit", order.order_no))
        if flow.asked and outcome.code not in _NOT_OURS:
            answered = outcome.doubt or outcome.outcome not in (Outcome.NOT_SENT, Outcome.UNKNOWN)
            self.gate.record(order.order_no, ok=answered)
        if outcome.outcome is Outcome.UNFUNDED and self.gate.pause_for(self.policy.unfunded_pause):
            _log.error("gateway_unfunded", gateway=self.name, code=outcome.code, seconds=self.policy.unfunded_pause,
                       what="our money there is used up: orders go to the next gateway, or wait")  # fmt: skip
        if outcome.outcome is not Outcome.UNKNOWN:  # else the gateway may still be at it: the hold ends by itself
            await self._let_go(flow)
        return self._documented(outcome, flow, order)

    async def query(self, order: Order, now: datetime) -> Report:
        """Ask what became of the order's current attempt; no readable answer is `SILENT`."""
        return await self._report(self.adapter.query(order, now), "query", order)

    @property
    def cancels(self) -> bool:
        """Whether orders can be cancelled there."""
        return type(self.adapter).cancel is not Adapter.cancel

    async def cancel(self, order: Order, now: datetime) -> Report:
        """Ask to cancel the order's current attempt, where it `cancels`; no readable answer is `SILENT`."""
        call = self.adapter.cancel(order, now)
        if call is None:
            raise NotImplementedError(f"{self.name} cannot cancel")
        return await self._report(call, "cancel", order)

    async def _report(self, call: Call[Report], operation: str, order: Order) -> Report:
        flow = self._flow(order)
        await self.gate.enter_query()
        try:
            report = await self._drive(call, flow, None)
        except CallError as error:
            report = Report(Status.SILENT, error.code, error.message)
        except UnreadableReplyError as error:
            report = Report(Status.SILENT, "unreadable", str(error))
        except Exception as error:  # noqa: BLE001 - the next query may find another answer
            report = Report(Status.SILENT, "adapter_error", self._bug(error, operation, order.order_no))
        finally:
            self.gate.leave(query=True)
        return self._documented(report, flow, order)

    async def balance(self, now: datetime) -> int:
        """Return our balance there, in fen.

        Raises:
            GatewayUnavailableError: there was no readable answer, or (`not_supported`) it keeps no balance.
        """
        return await self._ask(self.adapter.balance(now), "balance")

    async def packages(self, user_id: str, kind: str, pay_kind: str, now: datetime) -> Mapping[str, Any]:
        """Return what a user may buy, as the gateway describes it; `kind` and `pay_kind` as the adapter takes them.

        Raises:
            GatewayUnavailableError: there was no readable answer, or (`not_supported`) it has no such list.
            RefusedError: the gateway says no.
        """
        return await self._ask(self.adapter.packages(user_id, kind, pay_kind, now), "packages")

    async def card(
        self, action: CardAction, kind: str, fields: Mapping[str, Any], card_id: str | None, now: datetime
    ) -> dict[str, Any]:
        """Add, edit, delete or show a card; return its `card_id`, and for `show` the gateway's fields of it, masked.

        `kind` is `power` or `oil`; `fields` are those of an order's target, of which `delete` and `show` need only
        the number (`account_no`, `card_no`), or none where `card_id` is given. Everything may be repeated: a card
        that was added is found again, and one that is known there with other fields is edited.

        Raises:
            RefusedError: the gateway says no; or the card is not known here (`unknown_card`), or known otherwise.
            GatewayUnavailableError: there was no readable answer, the card is in use (`card_busy`), the database is
                away (`database_away`), or the gateway keeps no such cards (`not_supported`).
        """
        private = personal_fields(fields)
        answer = await self._ask(self.adapter.card(action, kind, fields, card_id, now), f"{kind} cards", private)
        if isinstance(answer, CardRefusal):
            message = self._transcript.text(answer.message or "it was refused", private)
            raise RefusedError(self._transcript.text(answer.code, private, _CODE_LIMIT), message)
        shown = self._transcript.shown(answer.data, private)
        return {**shown, "card_id": answer.card_id}

    async def _ask(self, call: Call[T] | CardCall[T] | None, operation: str, private: tuple[str, ...] = ()) -> T:
        """Return the answer to a question that is about no order; `private` is what it says about a person."""
        if call is None:
            raise GatewayUnavailableError("not_supported", f"it has no {operation} for us")
        code, message = "", ""
        flow = self._flow(None)
        await self.gate.enter_query()
        try:
            return await self._drive(call, flow, None)
        except (CallError, CardError) as error:
            code, message = error.code, error.message
        except UnreadableReplyError as error:
            code, message = "unreadable", self._transcript.text(str(error), private)
        except RefusedError as error:
            code = self._transcript.text(error.code, private, _CODE_LIMIT)
            raise RefusedError(code, self._transcript.text(error.message, private)) from None
        except Exception as error:  # noqa: BLE001 - one gateway's bug must not end a check of all
            code, message = "adapter_error", self._bug(error, operation, None)
        finally:
            self.gate.leave(query=True)
            await self._let_go(flow)
        raise GatewayUnavailableError(code, message)

    def parse_callback(self, raw: RawCallback) -> CallbackReport | CallbackRefusal:
        """Read a callback with its masked evidence; what the adapter cannot read is refused."""
        try:
            parsed = self.adapter.parse_callback(raw)
        except UnreadableReplyError as error:
            return CallbackRefusal("invalid_message", self._transcript.text(str(error)))
        except Exception as error:  # noqa: BLE001 - bytes from outside must not stop the consumer
            return CallbackRefusal("invalid_message", self._bug(error, "callback", None))
        if isinstance(parsed, CallbackRefusal):
            return parsed
        report = parsed.report
        if report.code is not None:
            report = report._replace(code=self._transcript.text(report.code, limit=_CODE_LIMIT))
        if report.message is not None:
            report = report._replace(message=self._transcript.text(report.message))
        return parsed._replace(report=report._replace(evidence=report.evidence or self._transcript.callback(raw)))

    def concealed(self, report: Report, order: Order) -> Report:
        """Return what a callback says without what it repeats of the person that its order is about."""
        return self._transcript.concealed(report, personal(order))

    async def close(self) -> None:
        """Close the connections; calls in flight end as unanswered."""
        await self._sender.close()

    def _flow(self, order: Order | None) -> _Flow:
        return _Flow(CardHand(self.name, self.cards, self.policy.lease), order)

    async def _let_go(self, flow: _Flow) -> None:
        """End the hold on a card; where that fails it ends by itself."""
        try:
            await flow.cards.let_go()
        except Exception as error:  # noqa: BLE001 - what the call came to stands
            _log.warning("card_not_released", gateway=self.name, error=type(error).__name__)

    async def _drive(self, call: Call[T] | CardCall[T], flow: _Flow, lease: Lease | None) -> T:
        """Do what the adapter asks for until it returns; errors of both pass through."""
        answer: Any = None
        try:
            while True:
                step = call.send(answer)
                if isinstance(step, Request):
                    answer = await self._send(step, flow, lease if step.moves_money else flow.cards.lease)
                else:
                    answer = await flow.cards.do(step)
        except StopIteration as done:
            result: T = done.value
            return result
        finally:
            call.close()

    async def _send(self, request: Request, flow: _Flow, lease: Lease | None) -> Reply:
        money_before = flow.money
        flow.asked = True
        if flow.request is not None:
            flow.earlier.append((flow.request, flow.reply))
        flow.request, flow.reply = request, None
        flow.money = money_before or request.moves_money  # until the opposite is proven
        order = flow.order
        span = self._tracing.span(request.operation, Kind.CLIENT, COMMAND.get() or (order.trace if order else None))
        if span.context is not None:
            request = request._replace(headers={**(request.headers or {}), **headers(span.context)})
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
            number, attempt = (order.order_no, order.attempt) if order else (None, None)
            span.end(result, failed=flow.reply is None, gateway=self.name, order_no=number, attempt=attempt)
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
        result = self._weighed(result, order)
        code, message, evidence = result.code, result.message, result.evidence
        if flow.request is None and message is None:
            return result
        try:
            private = personal(order)
            if code is not None:
                code = self._transcript.text(code, private, _CODE_LIMIT)
            if message is not None:
                message = self._transcript.text(message, private)
            if evidence:
                evidence = self._transcript.facts(evidence, private)
            elif flow.request is not None:
                evidence = self._transcript.exchange(flow.request, flow.reply, private)
                if flow.earlier:
                    evidence["earlier"] = [self._transcript.exchange(*each, private) for each in flow.earlier]
        except Exception as error:  # noqa: BLE001 - the outcome stands without its evidence
            code, message = "adapter_error", self._bug(error, "evidence", order.order_no)
        return result._replace(code=code, message=message, evidence=evidence)

    def _weighed(self, result: Result, order: Order) -> Result:
        """Return `result`, saying so where the order costs us more than it is worth; nothing else comes of that."""
        cost = result.cost_fen
        if cost is None or cost <= order.amount_fen or cost == order.cost_fen:
            return result
        _log.warning("cost_above_amount", gateway=self.name, order_no=order.order_no, cost_fen=cost,
                     amount_fen=order.amount_fen)  # fmt: skip
        told = f"it costs {fen_to_text(cost)} yuan, above the order's {fen_to_text(order.amount_fen)}"
        return result._replace(message=f"{result.message}; {told}" if result.message else told)

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
