"""The dingyin gateway: electricity, games, Douyin.

Sources: the "submit document" (an order's fields, its signature, the answer's fields); "public
clients" of the platform, which agree on the result codes, the percent-encoding in GBK, the query,
the balance and the callback.
"""

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Annotated, Any, ClassVar, NamedTuple, TypeVar

import orjson
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, SecretStr

from worker.core.finding import Finding
from worker.core.masking import mask, mask_text
from worker.core.money import balance_to_fen
from worker.core.order import Event, Order
from worker.core.outcome import Outcome, Report, Status, Submitted
from worker.gateways import dingyin_wire as wire
from worker.gateways import dingyin_xml as xml
from worker.gateways.base import (
    Acknowledgement,
    Adapter,
    Call,
    CallbackRefusal,
    CallbackReport,
    RawCallback,
    Request,
    UnreadableReplyError,
)
from worker.gateways.features import Callbacks, Codes, Features
from worker.gateways.settings import GatewaySettings, Secret
from worker.gateways.signing import check_vector

T = TypeVar("T")

_HTTP_OK = 200
_FORM = "application/x-www-form-urlencoded"
_SUBMIT = "gameonlinepay.do"  # submit document
_QUERY = "searchpay.do"  # public clients
_BALANCE = "searchbalance.do"  # public clients
_UNSIGNED = frozenset({"userip", "back_url"})
"""Fields that are not signed; all others are, in the order of the form (submit document)."""
_LAST_OF_ID = 6  # characters of the holder's number that the southern grid asks for (submit document, note 1)


def _encodable(value: T) -> T:
    text = value.get_secret_value() if isinstance(value, SecretStr) else str(value)
    if wire.unencodable({"": text}) is not None:
        raise ValueError("expected text that GBK can hold")
    return value


Sent = AfterValidator(_encodable)
"""Marks a setting that is sent or signed, which happens in GBK."""


class Electricity(BaseModel):
    """How electricity is ordered, which the platform agrees with each merchant."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    productid: Annotated[str, Sent] = Field("", description="the platform's number of the goods; it may be empty")
    unit_fen: int = Field(100, ge=1, description="what one of `num` is worth: num = amount_fen / unit_fen")


class DingyinSettings(GatewaySettings):
    """What `[gateways.<name>]` holds for this adapter."""

    userid: Annotated[str, Sent] = Field(min_length=1, description="our merchant number there, which is not the login")
    key: Annotated[Secret, Sent] = Field(description="the key that signs every request, and every callback")
    notify_url: Annotated[str, Sent] = Field(pattern=r"^https?://\S+$", description="where its callbacks go: our relay")
    ack_body: str = Field("OK", min_length=1, description="what it wants to hear; some deployments: success")
    electricity: Electricity = Electricity()


class Result(NamedTuple):
    """What a result code means: as the answer to a submit, in a query's answer or a callback, and to people."""

    submitted: Outcome
    reported: Status
    meaning: str


class Dingyin(Adapter):
    """Electricity, games and Douyin. Its callbacks prove what they sign, and nothing else."""

    adapter = "dingyin"
    products = frozenset({"power", "game", "douyin"})
    settings_type = DingyinSettings
    features = Features(
        query_by="our number",
        signing="MD5 over listed fields in GBK, the key last",
        callbacks=Callbacks.SIGNED,
        unfunded=Codes.LISTED,
        amount_told=products,  # `num`
        account_told=products,
    )
    charset = "gb18030"  # a superset of what it uses, for the transcript
    secrets = frozenset({"key", "sign"})

    settings: DingyinSettings

    results: ClassVar[Mapping[str, Result]] = {
        "0": Result(Outcome.ACCEPTED, Status.CHARGING, "accepted, waiting"),  # submit document's example
        "1": Result(Outcome.SUCCEEDED, Status.SUCCEEDED, "success"),  # public clients, as are all others
        "2": Result(Outcome.ACCEPTED, Status.CHARGING, "charging"),
        "9": Result(Outcome.REJECTED, Status.FAILED, "failed and refunded"),
        "5001": Result(Outcome.REJECTED, Status.UNCLEAR, "no such merchant"),
        "5002": Result(Outcome.UNFUNDED, Status.UNCLEAR, "our balance there is too low"),
        "5003": Result(Outcome.REJECTED, Status.UNCLEAR, "the product is not available"),
        "5004": Result(Outcome.REJECTED, Status.UNCLEAR, "wrong number"),
        "5005": Result(Outcome.REJECTED, Status.UNCLEAR, "bad signature"),
        "5006": Result(Outcome.ACCEPTED, Status.UNCLEAR, "it has this order already"),
        "5007": Result(Outcome.UNKNOWN, Status.ABSENT, "no such order"),
        "5008": Result(Outcome.REJECTED, Status.UNCLEAR, "our address is not allowed"),
        "5009": Result(Outcome.REJECTED, Status.UNCLEAR, "the channel is not allowed"),
        "5010": Result(Outcome.REJECTED, Status.UNCLEAR, "bad product or parameter"),
        "5011": Result(Outcome.REJECTED, Status.UNCLEAR, "bad product or parameter"),
        "5012": Result(Outcome.REJECTED, Status.UNCLEAR, "bad product or parameter"),
        "9999": Result(Outcome.UNKNOWN, Status.UNCLEAR, "unknown error: the order may exist or not"),
    }
    """`resultno`; after any other a submit is in doubt, and a query or callback leaves the order as it is."""

    account_types: ClassVar[Mapping[str, str]] = {
        "home": "1", "shop": "2", "company": "3", "id_card": "4", "licence": "6", "bank_card": "7",
    }  # fmt: skip
    """`type` in electricity's account (submit document, note 1)."""

    def submit(self, order: Order, now: datetime) -> Call[Submitted]:
        """Place the order (submit document); what cannot be said exactly in its fields is not sent."""
        num, rest = self._num(order)
        if rest:
            unit = self.settings.electricity.unit_fen
            message = f"{order.amount_fen} fen is not a whole number of {unit} fen"
            return Submitted(Outcome.REJECTED, "amount_not_supported", message)
        fields = self._order_fields(order, num, now)
        if (name := wire.unencodable(fields)) is not None:
            return Submitted(Outcome.REJECTED, "not_encodable", f"{name}: GBK cannot hold all of its characters")
        reply = yield self._request("push", _SUBMIT, fields, moves_money=True)
        if reply.status != _HTTP_OK:
            return Submitted(Outcome.UNKNOWN, f"http_{reply.status}")
        return self._submitted(xml.parse(reply.body, "order"), order)

    def query(self, order: Order, now: datetime) -> Call[Report]:  # noqa: ARG002 - its questions bear no time
        """Ask by our number (public clients)."""
        fields = {"userid": self.settings.userid, "sporderid": order.reference}
        reply = yield self._request("query", _QUERY, fields)
        if reply.status != _HTTP_OK:
            return Report(Status.SILENT, f"http_{reply.status}")
        answer = xml.parse(reply.body, "order")
        report = self._report(answer, order)
        ended = report.status in (Status.SUCCEEDED, Status.FAILED)
        if ended and report.upstream_no is None and not answer.get("sporderid"):
            raise UnreadableReplyError("sporderid: expected it with an end, or orderid")  # it may be anybody's
        return report

    def balance(self, now: datetime) -> Call[int]:  # noqa: ARG002 - the same
        """Ask for the deposit that is left (public clients), in fen."""
        fields = {"userid": self.settings.userid}
        reply = yield self._request("balance", _BALANCE, fields)
        if reply.status != _HTTP_OK:
            raise UnreadableReplyError(f"HTTP {reply.status}")
        answer = xml.parse(reply.body)
        code = answer.get("resultno") or "1"
        if code not in ("0", "1"):
            raise UnreadableReplyError(f"resultno {mask_text(code)}: {self._meaning(code) or 'not a listed code'}")
        try:
            return balance_to_fen(answer.get("balance", ""))
        except ValueError:
            raise UnreadableReplyError("balance: expected yuan") from None

    def parse_callback(self, raw: RawCallback) -> CallbackReport | CallbackRefusal:
        """Verify a callback, and read what it signs (public clients)."""
        try:
            fields = wire.callback_fields(raw.body)
        except UnreadableReplyError as error:  # what cannot be read is not signed
            return CallbackRefusal("bad_signature", f"sign: {error}")
        try:
            if not wire.callback_is_signed(self.settings.key.get_secret_value(), fields):
                return CallbackRefusal("bad_signature", "sign: not what our key makes of the signed fields")
            merchant, reference, code = (
                wire.callback_text(fields, name) for name in ("userid", "sporderid", "resultno")
            )
            upstream_no = wire.callback_text(fields, "orderid") if fields.get("orderid") else None
        except UnreadableReplyError as error:
            return CallbackRefusal("invalid_message", str(error))
        status, ours = self._status(code), self.settings.userid
        report = Report(
            Status.UNCLEAR if status is Status.ABSENT else status,  # that answers a question, and here is none
            code,
            self._meaning(code),
            upstream_no=upstream_no,
            foreign=None if merchant == ours else f"userid: ours {mask(ours)}, theirs {mask(merchant)}",
            evidence=wire.callback_evidence(fields),
        )
        return CallbackReport(reference, upstream_no, report)

    def acknowledge(self, *, ok: bool) -> Acknowledgement:
        """Answer what ends its repetitions: `OK`, or what the settings say (public clients)."""
        return Acknowledgement(200, self.settings.ack_body.encode()) if ok else Acknowledgement(400, b"FAIL")

    def self_test(self, now: datetime) -> Iterable[Finding]:  # noqa: ARG002 - its key does not end
        """Sign a fixed text, with characters that GBK has."""
        signed = wire.sign("k3y", {"userid": "10086", "account": "中国"})
        return (check_vector(signed, "0E66D8AC17385ED2506977C72F52282A"),)

    # --- requests --------------------------------------------------------------------------------

    def _num(self, order: Order) -> tuple[int, int]:
        """Return `num`, and the fen that it leaves over: electricity comes in units of money, all else in pieces."""
        if order.product == "power":
            return divmod(order.amount_fen, self.settings.electricity.unit_fen)
        return int(order.target["quantity"]), 0

    def _order_fields(self, order: Order, num: int, now: datetime) -> dict[str, str]:
        """Return the form of an order without its signature, in the order that is signed (submit document, note 2)."""
        target = order.target
        fields = {
            "userid": self.settings.userid,
            "productid": target.get("product_id") or "",
            "num": str(num),
            "areaid": target.get("area_id") or "",
            "serverid": target.get("server_id") or "",
            "account": order.account,
            "userip": target.get("buyer_ip") or "",
            "spordertime": wire.order_time(now),
            "sporderid": order.reference,
            "back_url": self.settings.notify_url,
        }
        return fields | self._electricity(target) if order.product == "power" else fields

    def _electricity(self, target: Mapping[str, Any]) -> dict[str, str]:
        """Return the fields that electricity has in its own way (submit document, table and note 1).

        `account` is JSON; the very string that is made here is signed and sent.
        """
        southern = target["grid"] == "southern"
        holder = (target.get("holder_id") or "") if southern else ""
        account = {
            "product_type": "3",
            "userid": target["account_no"],
            "username": holder[-_LAST_OF_ID:],
            "type": self.account_types[target["account_type"]],
            "area": target["province"].removesuffix("省").removesuffix("市"),
            "city": target["city"].removesuffix("市"),
        }
        return {
            "productid": self.settings.electricity.productid,
            "areaid": "" if southern else target.get("phone") or "",
            "account": orjson.dumps(account).decode(),
            "userip": holder if len(holder) > _LAST_OF_ID else "",
        }

    def _request(self, operation: str, path: str, fields: Mapping[str, str], *, moves_money: bool = False) -> Request:
        signed = {name: value for name, value in fields.items() if name not in _UNSIGNED}
        sign = wire.sign(self.settings.key.get_secret_value(), signed)
        url = f"{self.settings.base_url.rstrip('/')}/{path}"
        return Request(operation, "POST", url, wire.form({**fields, "sign": sign}), _FORM, moves_money)

    # --- answers ---------------------------------------------------------------------------------

    def _status(self, code: str) -> Status:
        return self.results[code].reported if code in self.results else Status.UNCLEAR

    def _meaning(self, code: str) -> str | None:
        return self.results[code].meaning if code in self.results else None

    def _submitted(self, answer: Mapping[str, str], order: Order) -> Submitted:
        code, number = wire.code(answer), wire.number(answer, "orderid")
        if answer.get("sporderid", "") not in ("", order.reference):
            raise UnreadableReplyError("sporderid: the answer is about another order")
        if code not in self.results:
            return Submitted(Outcome.UNKNOWN, code, doubt=number is None)
        outcome, status, meaning = self.results[code]
        if (
            outcome is Outcome.SUCCEEDED
            and self._report(answer, order).fact(order, order.attempt).event is Event.MISMATCH
        ):
            outcome = Outcome.ACCEPTED  # not a success of our order as it is: the query will say so
        elif outcome in (Outcome.REJECTED, Outcome.UNFUNDED) and status is not Status.FAILED and number is not None:
            outcome = Outcome.UNKNOWN  # a refusal that names an order is no definite no
        if outcome not in (Outcome.ACCEPTED, Outcome.SUCCEEDED):
            return Submitted(outcome, code, meaning)
        return Submitted(outcome, code, meaning, upstream_no=number, cost_fen=wire.cost(answer))

    def _report(self, answer: Mapping[str, str], order: Order) -> Report:
        """Read a query's answer: the same fields as a submit's (public clients)."""
        code = wire.code(answer)
        status = self._status(code)
        return Report(
            status,
            code,
            self._meaning(code),
            upstream_no=wire.number(answer, "orderid"),
            amount_fen=self._amount(answer, order),
            account=_account(answer, order),
            foreign=_foreign(answer, order),
            cost_fen=wire.cost(answer) if status in (Status.CHARGING, Status.SUCCEEDED) else None,
        )

    def _amount(self, answer: Mapping[str, str], order: Order) -> int | None:
        """Return what their `num` is worth: in units of electricity, or at our price of a piece."""
        count = wire.whole(answer, "num")
        if count is None:
            return None
        if order.product == "power":
            return count * self.settings.electricity.unit_fen
        price, rest = divmod(order.amount_fen, int(order.target["quantity"]))
        return None if rest else count * price


def _account(answer: Mapping[str, str], order: Order) -> str | None:
    """Return whom the answer is about; electricity's account may come as the JSON that we sent."""
    text = answer.get("account") or None
    if text is None or order.product != "power" or not text.startswith("{"):
        return text
    try:
        return str(orjson.loads(text)["userid"])
    except (orjson.JSONDecodeError, KeyError):
        raise UnreadableReplyError("account: expected the account of an electricity order") from None


def _foreign(answer: Mapping[str, str], order: Order) -> str | None:
    """Return in what the answer is about another order, or about other goods than ours."""
    theirs = answer.get("sporderid") or order.reference
    if theirs != order.reference:
        return f"sporderid: ours {mask(order.reference)}, theirs {mask(theirs)}"
    if order.product == "power":
        return None
    product, count, ours = answer.get("productid"), wire.whole(answer, "num"), int(order.target["quantity"])
    if product and product != order.target["product_id"]:
        return f"productid: ours {order.target['product_id']}, theirs {mask_text(product)}"
    if count is not None and count != ours and order.amount_fen % ours:  # else it is another amount
        return f"num: ours {ours}, theirs {count}"
    return None
