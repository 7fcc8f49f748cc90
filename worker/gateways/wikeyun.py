"""The wikeyun gateway: mobile top-up, electricity, fuel cards.

Sources: the "mobile", "power" and "oil API documents" (paths, business parameters, statuses 0-4, 6 and 7,
the callback and its acknowledgement); "public clients" of the platform, which agree on the system
parameters, the signature, the other statuses, the optional fields of an answer, and how to cancel.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, ClassVar

from worker.core.errors import AmountNotSupportedError
from worker.core.finding import Finding
from worker.core.masking import mask
from worker.core.money import fen_to_whole_yuan
from worker.core.order import Order
from worker.core.outcome import Outcome, Report, Status, Submitted
from worker.gateways import wikeyun_wire as wire
from worker.gateways.base import (
    Acknowledgement,
    Adapter,
    Call,
    CallbackRefusal,
    CallbackReport,
    CardCall,
    RawCallback,
    Reply,
    UnreadableReplyError,
)
from worker.gateways.cards import CardAction, CardAnswer, CardRefusal
from worker.gateways.features import Callbacks, Codes, Features
from worker.gateways.signing import check_vector, sandwich
from worker.gateways.wikeyun_cards import AREAS, Cards
from worker.gateways.wikeyun_wire import WikeyunSettings, Wire

_AREAS: Mapping[str, str] = {"mobile": "Recharge", **AREAS}  # mobile API document, 2.1
_BALANCE = "/rest/User/query"  # mobile API document, 2.4
_ENDS = frozenset({Status.SUCCEEDED, Status.PARTIAL, Status.FAILED, Status.REFUNDED, Status.CANCELLED})


class Wikeyun(Adapter):
    """Three products of one kind. Callbacks prove nothing (no document gives their `sign`) unless settings trust them.

    Power and oil are paid onto cards, which `Cards` adds and edits.
    """

    adapter = "wikeyun"
    products = frozenset(_AREAS)
    settings_type = WikeyunSettings
    features = Features(
        query_by="their number, else ours",
        signing="MD5 over all parameters, sorted, between the secret twice",
        callbacks=Callbacks.HINTS,
        refusal=Codes.SETTINGS,
        no_such_order=Codes.SETTINGS,
        duplicate=Codes.SETTINGS,
        unfunded=Codes.SETTINGS,
        amount_told=frozenset(_AREAS),
        account_told=frozenset(_AREAS),
        cards=frozenset(AREAS),
    )
    secrets = frozenset({"app_key", "app_secret", "sign", "user_ext", "user_num"})

    settings: WikeyunSettings

    statuses: ClassVar[Mapping[str, Status]] = {
        "0": Status.CHARGING,  # mobile API document: waiting for payment; between us and them that is our deposit
        "1": Status.CHARGING,  # mobile API document: paid, charging
        "2": Status.SUCCEEDED,  # mobile API document
        "3": Status.FAILED,  # mobile API document: failed, to be refunded
        "4": Status.REFUNDED,  # mobile API document
        "5": Status.DISPUTED,  # public clients: timed out, they cannot say
        "6": Status.CHARGING,  # mobile API document: waiting to charge
        "7": Status.CHARGING,  # mobile API document: matched
        "8": Status.CHARGING,  # public clients: parked
        "9": Status.CANCELLED,  # public clients
        "10": Status.REFUNDED,  # public clients: reversed after success
        "11": Status.PARTIAL,  # public clients: partly arrived, see `arrived_amount`
        "12": Status.CHARGING,  # public clients: being cancelled
    }
    """`status` in queries and callbacks, the same for all products; any other leaves the order as it is."""

    def __init__(self, name: str, settings: WikeyunSettings) -> None:
        super().__init__(name, settings)
        self._wire = Wire(settings)
        self._cards = Cards(settings, self._wire)

    def submit(self, order: Order, now: datetime) -> CardCall[Submitted]:
        """Push the order, onto its card where it needs one; only amounts that it sells are sent."""
        try:
            yuan = self._yuan(order)
        except AmountNotSupportedError as error:
            return Submitted(Outcome.REJECTED, "amount_not_supported", str(error))
        if order.product == "mobile":
            business = self._push_mobile(order, yuan)
        else:
            settled = yield from self._cards.settle(order.product, order.target, now)
            if isinstance(settled, CardRefusal):
                # a code that no table lists was an answer all the same; no money has moved, so the order is tried again
                outcome = Outcome.REJECTED if settled.definite else Outcome.NOT_SENT
                return Submitted(outcome, settled.code, settled.message, doubt=not settled.definite)
            business = self._push_onto_card(order, yuan, settled)
        reply = yield self._wire.request("push", _path(order, "pushOrder"), business, now, moves_money=True)
        return self._read_push(reply)

    def query(self, order: Order, now: datetime) -> Call[Report]:
        """Ask by their number (mobile API document, 2.3), or by ours while theirs is unknown (public clients)."""
        number = {"order_number": order.upstream_no} if order.upstream_no else {"order_no": order.reference}
        business = number | {"store_id": self.settings.store_id}
        reply = yield self._wire.request("query", _path(order, "query"), business, now)
        if status := wire.refused_by_http(reply):
            return Report(Status.SILENT, status)
        answer = wire.read(reply)
        if answer.code in self.settings.no_such_order_codes:
            return Report(Status.ABSENT, answer.code, answer.message)
        if answer.code != wire.OK:
            # readable, yet in no table: journalled once, so that an operator can add it to the settings
            return Report(Status.UNCLEAR, answer.code, answer.message)
        if not isinstance(answer.data, dict):
            raise UnreadableReplyError("data: expected an object")
        return self._report(answer.data, order, proven=True)

    def cancel(self, order: Order, now: datetime) -> Call[Report]:
        """Cancel by their number (public clients), asking for it first where it is unknown; then ask what it came to.

        No document tells what a cancel's answer means, so only the query's answer proves anything.
        """
        if order.upstream_no is None:
            report = yield from self.query(order, now)
            if report.upstream_no is None or report.foreign is not None or report.status is not Status.CHARGING:
                return report  # there is nothing of ours to cancel, or not any more
            order = order.changed({"upstream_no": report.upstream_no})
        business = {"order_number": str(order.upstream_no)}
        reply = yield self._wire.request("cancel", _path(order, "cancel"), business, now)
        if status := wire.refused_by_http(reply):
            return Report(Status.SILENT, status)
        answer = wire.read(reply)
        if answer.code != wire.OK:
            return Report(Status.UNCLEAR, answer.code, answer.message)
        return (yield from self.query(order, now))

    def balance(self, now: datetime) -> Call[int]:
        """Ask for the deposit that is left (mobile API document, 2.4), in fen."""
        reply = yield self._wire.request("balance", _BALANCE, {}, now)
        answer = wire.read(reply)
        if answer.code != wire.OK:
            raise UnreadableReplyError(f"code {answer.code}: {answer.message or ''}")
        return wire.balance(answer.data.get("money") if isinstance(answer.data, dict) else None)

    def card(
        self, action: CardAction, kind: str, fields: Mapping[str, Any], card_id: str | None, now: datetime
    ) -> CardCall[CardAnswer | CardRefusal] | None:
        """Add, edit, delete or show a card of `power` or `oil`."""
        return self._cards.command(action, kind, fields, card_id, now) if kind in AREAS else None

    def parse_callback(self, raw: RawCallback) -> CallbackReport | CallbackRefusal:
        """Read a callback (mobile API document, 2.2; power API document, 3; JSON and other fields: public clients)."""
        try:
            fields = wire.read_callback(raw.body)
            reference, upstream_no = wire.text(fields, "order_no"), wire.text(fields, "order_number")
            if reference is None and upstream_no is None:
                return CallbackRefusal("invalid_message", "order_no: expected it, or order_number")
            report = self._report(fields, None, proven=self.settings.trust_callbacks)
        except UnreadableReplyError as error:
            return CallbackRefusal("invalid_message", str(error))
        return CallbackReport(reference, upstream_no, report)

    def acknowledge(self, *, ok: bool) -> Acknowledgement:
        """Answer the bare `success` that stops its repetitions (mobile API document, 2.2)."""
        return Acknowledgement(200, b"success") if ok else Acknowledgement(400, b"fail")

    def self_test(self, now: datetime) -> Iterable[Finding]:  # noqa: ARG002 - its secret does not end
        """Sign a fixed text."""
        return (check_vector(sandwich("k3y", {"b": "2"}, {"a": "1", "c": "中"}), "55F41CF9D59BFD92032D392B2CF58142"),)

    # --- requests --------------------------------------------------------------------------------

    def _yuan(self, order: Order) -> int:
        """Return the order's amount in yuan.

        Raises:
            AmountNotSupportedError: it does not sell that.
        """
        yuan = fen_to_whole_yuan(order.amount_fen)
        multiple = self.settings.power_multiple
        if order.product == "power" and yuan % multiple:
            raise AmountNotSupportedError(f"it sells power in multiples of {multiple} yuan, not {yuan}")
        lists = {"mobile": self.settings.mobile_amounts, "oil": self.settings.oil_amounts}
        sold = lists.get(order.product)
        if sold and yuan not in sold:
            raise AmountNotSupportedError(f"it does not sell {yuan} yuan")
        return yuan

    def _push_mobile(self, order: Order, yuan: int) -> dict[str, str]:
        """Return the parameters of mobile API document, 2.1."""
        target = order.target
        business = {
            "store_id": self.settings.store_id,
            "mobile": order.account,
            "order_no": order.reference,
            "money": str(yuan),
            "recharge_type": "0" if target.get("speed") == "slow" else "1",
            "notify_url": self.settings.notify_url,
        }
        change, source = target.get("change_channel"), target.get("channel")
        if change is not None:
            business["change"] = "1" if change else "0"
        if source is not None:
            business["source"] = str(source)
        return business

    def _push_onto_card(self, order: Order, yuan: int, card_id: str) -> dict[str, str]:
        """Return the parameters of power API document, 2, and of oil API document, 2, which are the same."""
        return {
            "store_id": self.settings.store_id,
            "cardId": card_id,
            "order_no": order.reference,
            "amount": str(yuan),
            "recharge_type": "0",  # whatever the order's speed: "send 0 for now"
            "notify_url": self.settings.notify_url,
        }

    # --- answers ---------------------------------------------------------------------------------

    def _read_push(self, reply: Reply) -> Submitted:
        if status := wire.refused_by_http(reply):
            return Submitted(Outcome.UNKNOWN, status)
        code, message, data = wire.read(reply)
        number = wire.text(data, "order_number") if isinstance(data, dict) else None
        if code == wire.OK:
            if number is None:
                raise UnreadableReplyError("order_number: expected a number with code 0000")
            return Submitted(Outcome.ACCEPTED, upstream_no=number)
        if code in self.settings.duplicate_codes:
            return Submitted(Outcome.ACCEPTED, code, message)  # it was taken earlier; the query tells more
        if number is not None:
            return Submitted(Outcome.UNKNOWN, code, message)  # a refusal that names an order is no definite no
        unfunded = code in self.settings.unfunded_codes
        if unfunded or code in self.settings.refusal_codes:
            return Submitted(Outcome.UNFUNDED if unfunded else Outcome.REJECTED, code, message)
        return Submitted(Outcome.UNKNOWN, code, message, doubt=True)

    def _report(self, data: Mapping[str, Any], asked: Order | None, *, proven: bool) -> Report:
        """Read the fields that queries and callbacks share; `asked` is the order that was asked about."""
        code = wire.text(data, "status") or "no_status"
        status = self.statuses.get(code, Status.UNCLEAR)
        amount_fen = arrived_fen = account = foreign = None
        if proven:
            amount_fen = wire.fen(data.get("amount"), "amount")
            account = wire.text(data, "mobile")  # power document: a phone number, and no field for the account
            foreign = _foreign(data, asked, status) if asked is not None else None
            if status is Status.PARTIAL:
                arrived_fen = wire.fen(data.get("arrived_amount"), "arrived_amount")
                if not arrived_fen:
                    status = Status.UNCLEAR  # how much arrived is what a partial arrival is about
        return Report(
            status,
            code,
            wire.message(data.get("reason")),
            upstream_no=wire.text(data, "order_number"),
            amount_fen=amount_fen,
            account=account,
            foreign=foreign,
            arrived_fen=arrived_fen,
            cost_fen=wire.cost(data.get("cost_price")) if proven else None,
            proven=proven,
        )


def _path(order: Order, call: str) -> str:
    """Return the path of a call; the documents leave oil's query out, public clients have it."""
    return f"/rest/{_AREAS[order.product]}/{call}"


def _foreign(data: Mapping[str, Any], asked: Order, status: Status) -> str | None:
    """Return which number says that the answer is about another order than `asked`.

    Raises:
        UnreadableReplyError: an end that names no order at all; it may be anybody's.
    """
    ours, theirs = wire.text(data, "order_no"), wire.text(data, "order_number")
    if ours is None and theirs is None and status in _ENDS:
        raise UnreadableReplyError("order_no: expected it, or order_number")
    if ours is not None and ours != asked.reference:
        return f"order_no: ours {mask(asked.reference)}, theirs {mask(ours)}"
    if theirs is not None and asked.upstream_no is not None and theirs != asked.upstream_no:
        return f"order_number: asked about {mask(asked.upstream_no)}, told of {mask(theirs)}"
    return None
