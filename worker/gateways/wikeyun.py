"""The wikeyun gateway: mobile top-up.

Sources: the "mobile API document" (paths, business parameters, statuses 0-4, 6 and 7, the callback
and its acknowledgement); "public clients" of the platform, which agree on the system parameters,
the signature, the other statuses and the optional fields of an answer.
"""

from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import parse_qsl, quote_plus

import orjson
from pydantic import Field

from worker.core.errors import AmountNotSupportedError
from worker.core.masking import mask, mask_text
from worker.core.money import fen_to_whole_yuan, yuan_to_fen
from worker.core.order import Order
from worker.core.outcome import Outcome, Report, Status, Submitted
from worker.gateways.base import (
    Acknowledgement,
    Adapter,
    Call,
    CallbackRefusal,
    CallbackReport,
    RawCallback,
    Reply,
    Request,
    UnreadableReplyError,
)
from worker.gateways.settings import GatewaySettings, Secret
from worker.gateways.signing import sandwich

_OK = "0000"
_HTTP_OK = 200
_FORM = "application/x-www-form-urlencoded"
_PUSH = "/rest/Recharge/pushOrder"  # mobile API document, 2.1
_QUERY = "/rest/Recharge/query"  # mobile API document, 2.3
_BALANCE = "/rest/User/query"  # mobile API document, 2.4
_LONGEST_NUMBER = 64
_MOST_FIELDS = 100


class WikeyunSettings(GatewaySettings):
    """What `[gateways.<name>]` holds for this adapter. No document lists the codes: they are settings."""

    store_id: str = Field(min_length=1, description="the shop's number there")
    app_key: str = Field(min_length=1, description="who we are there")
    app_secret: Secret = Field(description="signs every request")
    notify_url: str = Field(pattern=r"^https?://\S+$", description="where its callbacks go: our relay")
    client_ip: str = Field("127.0.0.1", description="our address, as the system parameter `client`")
    trust_callbacks: bool = Field(default=False, description="callbacks settle orders: filter them by address first")
    refusal_codes: tuple[str, ...] = Field(("1003",), description="submit codes that are a definite no")
    no_such_order_codes: tuple[str, ...] = Field((), description='query codes that say "no such order"')
    duplicate_codes: tuple[str, ...] = Field((), description='submit codes that say "already submitted"')
    mobile_amounts: tuple[int, ...] = Field((50, 100, 200), description="yuan it sells; empty: any whole yuan")


class Wikeyun(Adapter):
    """Mobile top-up. Its callbacks prove nothing (their `sign` has no documented rule) unless settings trust them."""

    adapter = "wikeyun"
    products = frozenset({"mobile"})
    settings_type = WikeyunSettings
    secrets = frozenset({"app_key", "app_secret", "sign"})

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
    """`status` in queries and callbacks; any other leaves the order as it is."""

    def submit(self, order: Order, now: datetime) -> Call[Submitted]:
        """Push the order (mobile API document, 2.1); only amounts that it sells are sent."""
        try:
            yuan = fen_to_whole_yuan(order.amount_fen)
        except AmountNotSupportedError as error:
            return Submitted(Outcome.REJECTED, "amount_not_supported", str(error))
        sold = self.settings.mobile_amounts
        if sold and yuan not in sold:
            return Submitted(Outcome.REJECTED, "amount_not_supported", f"it does not sell {yuan} yuan")
        reply = yield self._request("push", _PUSH, self._push(order, yuan), now, moves_money=True)
        return self._read_push(reply)

    def query(self, order: Order, now: datetime) -> Call[Report]:
        """Ask by their number (mobile API document, 2.3), or by ours while theirs is unknown (public clients)."""
        number = {"order_number": order.upstream_no} if order.upstream_no else {"order_no": order.reference}
        reply = yield self._request("query", _QUERY, number | {"store_id": self.settings.store_id}, now)
        if reply.status != _HTTP_OK:
            return Report(Status.SILENT, f"http_{reply.status}")
        answer = _answer(reply.body)
        code, message = _code(answer), _message(answer.get("msg"))
        if code in self.settings.no_such_order_codes:
            return Report(Status.ABSENT, code, message)
        if code != _OK:
            # readable, yet in no table: journalled once, so that an operator can add it to the settings
            return Report(Status.UNCLEAR, code, message)
        data = answer.get("data")
        if not isinstance(data, dict):
            raise UnreadableReplyError("data: expected an object")
        return self._report(data, order.reference, proven=True)

    def balance(self, now: datetime) -> Call[int]:
        """Ask for the deposit that is left (mobile API document, 2.4), in fen."""
        reply = yield self._request("balance", _BALANCE, {}, now)
        if reply.status != _HTTP_OK:
            raise UnreadableReplyError(f"HTTP {reply.status}")
        answer = _answer(reply.body)
        if _code(answer) != _OK:
            raise UnreadableReplyError(f"code {_code(answer)}: {_message(answer.get('msg')) or ''}")
        data = answer.get("data")
        fen = _fen(data.get("money"), "money") if isinstance(data, dict) else None
        if fen is None:
            raise UnreadableReplyError("money: expected the balance in yuan")
        return fen

    def parse_callback(self, raw: RawCallback) -> CallbackReport | CallbackRefusal:
        """Read a callback (mobile API document, 2.2; JSON and further fields: public clients)."""
        try:
            fields = _callback_fields(raw.body)
            reference, upstream_no = _text(fields.get("order_no")), _text(fields.get("order_number"))
            if reference is None and upstream_no is None:
                return CallbackRefusal("invalid_message", "order_no: expected it, or order_number")
            report = self._report(fields, None, proven=self.settings.trust_callbacks)
        except UnreadableReplyError as error:
            return CallbackRefusal("invalid_message", str(error))
        return CallbackReport(reference, upstream_no, report)

    def acknowledge(self, *, ok: bool) -> Acknowledgement:
        """Answer the bare `success` that stops its repetitions (mobile API document, 2.2)."""
        return Acknowledgement(200, b"success") if ok else Acknowledgement(400, b"fail")

    # --- requests --------------------------------------------------------------------------------

    def _push(self, order: Order, yuan: int) -> dict[str, str]:
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

    def _request(
        self, operation: str, path: str, business: Mapping[str, str], now: datetime, *, moves_money: bool = False
    ) -> Request:
        """System parameters go into the address, business ones into the body; all are signed (public clients)."""
        settings = self.settings
        system = {
            "app_key": settings.app_key,
            "timestamp": str(int(now.timestamp())),
            "client": settings.client_ip,
            "format": "json",
            "v": "1.0",
        }
        system["sign"] = sandwich(settings.app_secret.get_secret_value(), system, business)
        url = f"{settings.base_url.rstrip('/')}{path}?{_form(system)}"
        return Request(operation, "POST", url, _form(business).encode(), _FORM, moves_money)

    # --- answers ---------------------------------------------------------------------------------

    def _read_push(self, reply: Reply) -> Submitted:
        if reply.status != _HTTP_OK:
            return Submitted(Outcome.UNKNOWN, f"http_{reply.status}")
        answer = _answer(reply.body)
        code, message = _code(answer), _message(answer.get("msg"))
        data = answer.get("data")
        number = _text(data.get("order_number")) if isinstance(data, dict) else None
        if code == _OK:
            if number is None:
                raise UnreadableReplyError("order_number: expected a number with code 0000")
            return Submitted(Outcome.ACCEPTED, upstream_no=number)
        if code in self.settings.duplicate_codes:
            return Submitted(Outcome.ACCEPTED, code, message)  # it was taken earlier; the query tells more
        if number is not None:
            return Submitted(Outcome.UNKNOWN, code, message)  # a refusal that names an order is no definite no
        if code in self.settings.refusal_codes:
            return Submitted(Outcome.REJECTED, code, message)
        return Submitted(Outcome.UNKNOWN, code, message, doubt=True)

    def _report(self, data: Mapping[str, Any], ours: str | None, *, proven: bool) -> Report:
        """Read the fields that queries and callbacks share; `ours` is the number that was asked about."""
        code = _text(data.get("status")) or "no_status"
        status = self.statuses.get(code, Status.UNCLEAR)
        amount_fen = arrived_fen = account = foreign = None
        if proven:
            amount_fen = _fen(data.get("amount"), "amount")
            account = _text(data.get("mobile"))
            theirs = _text(data.get("order_no"))
            if ours is not None and theirs is not None and theirs != ours:
                foreign = f"order_no: ours {mask(ours)}, theirs {mask(theirs)}"
            if status is Status.PARTIAL:
                arrived_fen = _fen(data.get("arrived_amount"), "arrived_amount")
                if not arrived_fen:
                    status = Status.UNCLEAR  # how much arrived is what a partial arrival is about
        return Report(
            status,
            code,
            _message(data.get("reason")),
            upstream_no=_text(data.get("order_number")),
            amount_fen=amount_fen,
            account=account,
            foreign=foreign,
            arrived_fen=arrived_fen,
            cost_fen=_cost(data.get("cost_price")) if proven else None,
            proven=proven,
        )


def _form(parameters: Mapping[str, str]) -> str:
    # as `urlencode` does, without its second look at every value
    return "&".join([f"{name}={_quoted(value)}" for name, value in parameters.items()])


def _quoted(value: str) -> str:
    return value if value.isascii() and value.isalnum() else quote_plus(value)


def _answer(body: bytes) -> dict[str, Any]:
    try:
        answer = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise UnreadableReplyError("the answer is not JSON") from None
    if not isinstance(answer, dict):
        raise UnreadableReplyError("the answer is not a JSON object")
    return answer


def _code(answer: Mapping[str, Any]) -> str:
    """Return `code`; as a number it has lost its leading zeros (numbers may come either way: public clients)."""
    code = answer.get("code")
    if isinstance(code, int) and not isinstance(code, bool):
        return f"{code:04d}"
    if isinstance(code, str) and code.strip():
        return mask_text(code.strip(), _LONGEST_NUMBER)
    raise UnreadableReplyError("code: expected a code")


def _text(value: Any) -> str | None:
    """Return a number or short text as text; None where it is absent or empty."""
    if value is None or value == "":
        return None
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if isinstance(value, str) and len(text := value.strip()) <= _LONGEST_NUMBER and text.isprintable():
        return text or None
    raise UnreadableReplyError("expected a number or a short text")


def _message(value: Any) -> str | None:
    return mask_text(value) if isinstance(value, str) and value else None


def _fen(value: Any, name: str) -> int | None:
    """Return decimal yuan as fen; None where they are absent. A JSON number is read by its shortest text."""
    if value is None or value == "":
        return None
    try:
        return yuan_to_fen(str(value) if isinstance(value, float) else value)
    except ValueError:
        raise UnreadableReplyError(f"{name}: expected yuan") from None


def _cost(value: Any) -> int | None:
    """Return what it cost us, in fen; unreadable is unknown, since nothing is decided by it."""
    try:
        return _fen(value, "cost_price")
    except UnreadableReplyError:
        return None


def _callback_fields(body: bytes) -> Mapping[str, Any]:
    if body.lstrip()[:1] == b"{":
        return _answer(body)
    try:
        pairs = parse_qsl(body.decode(), keep_blank_values=True, errors="strict", max_num_fields=_MOST_FIELDS)
    except ValueError:
        raise UnreadableReplyError("the body is neither a form nor JSON") from None
    fields = dict(pairs)
    if len(fields) != len(pairs):
        raise UnreadableReplyError("a field is there twice")
    return fields
