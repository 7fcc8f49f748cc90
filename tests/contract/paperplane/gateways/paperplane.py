"""The imaginary gateway paperplane: mobile top-up by JSON, signed with HMAC-SHA256. Source: its document."""

import hashlib
import hmac
from collections.abc import Mapping
from datetime import datetime
from typing import Any, ClassVar
from urllib.parse import urlsplit

import orjson
from pydantic import Field

from worker.core.masking import mask, mask_text
from worker.core.order import Order
from worker.core.outcome import Outcome, Report, Status, Submitted
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

_HTTP_OK = 200
_JSON = "application/json"


class PaperplaneSettings(GatewaySettings):
    """What `[gateways.<name>]` holds for this adapter."""

    notify_url: str = Field(pattern=r"^https?://\S+$", description="where its callbacks go: our relay")
    merchant: str = Field(min_length=1, description="our number there")
    key: Secret = Field(description="signs every request and callback")


class Paperplane(Adapter):
    """Mobile top-up. Callbacks prove all that they say: the signature covers the body."""

    adapter = "paperplane"
    products = frozenset({"mobile"})
    settings_type = PaperplaneSettings
    secrets = frozenset({"key", "signature"})
    features = Features(
        query_by="our number",
        signing="HMAC-SHA256 over time, path and body",
        callbacks=Callbacks.SIGNED,
        unfunded=Codes.LISTED,
        amount_told=products,
        account_told=products,
        callback_amount=True,
        callback_account=True,
    )

    settings: PaperplaneSettings

    codes: ClassVar[Mapping[str, Outcome]] = {
        "OK": Outcome.ACCEPTED,  # document, 2
        "DUPLICATE": Outcome.ACCEPTED,  # document, 2: it has this number already
        "NO_FUNDS": Outcome.UNFUNDED,  # document, 2
        "REFUSED": Outcome.REJECTED,  # document, 2
        "BAD_REQUEST": Outcome.REJECTED,  # document, 2
    }
    """`code` of an answer to a submit; any other is in doubt."""

    statuses: ClassVar[Mapping[str, Status]] = {
        "FLYING": Status.CHARGING,  # document, 3
        "LANDED": Status.SUCCEEDED,  # document, 3
        "HALF": Status.PARTIAL,  # document, 3: see `arrived`
        "CRASHED": Status.FAILED,  # document, 3
        "RETURNED": Status.REFUNDED,  # document, 3
        "LOST": Status.DISPUTED,  # document, 3: they cannot say
    }
    """`status` in queries and callbacks; any other leaves the order as it is."""

    def submit(self, order: Order, now: datetime) -> Call[Submitted]:
        """Push an order (document, 2)."""
        fields = {
            "order": order.reference,
            "mobile": order.account,
            "amount": order.amount_fen,
            "notify": self.settings.notify_url,
        }
        reply = yield self._request("push", "/orders", fields, now, moves_money=True)
        if reply.status != _HTTP_OK:
            return Submitted(Outcome.UNKNOWN, f"http_{reply.status}")
        answer = _object(reply.body)
        code = _text(answer, "code")
        if code not in self.codes:
            return Submitted(Outcome.UNKNOWN, mask_text(code, 64), doubt=True)
        return Submitted(self.codes[code], code, upstream_no=answer.get("plane"))

    def query(self, order: Order, now: datetime) -> Call[Report]:
        """Ask by our number (document, 3)."""
        reply = yield self._request("query", "/orders/query", {"order": order.reference}, now)
        if reply.status != _HTTP_OK:
            return Report(Status.SILENT, f"http_{reply.status}")
        answer = _object(reply.body)
        code = _text(answer, "code")
        if code == "NO_ORDER":  # document, 3
            return Report(Status.ABSENT, code)
        if code != "OK":
            return Report(Status.UNCLEAR, mask_text(code, 64))
        theirs = _text(answer, "order")
        report = self._report(answer)
        if theirs != order.reference:
            return report._replace(foreign=f"order: ours {mask(order.reference)}, theirs {mask(theirs)}")
        return report

    def balance(self, now: datetime) -> Call[int]:
        """Ask for our balance (document, 4), in fen."""
        reply = yield self._request("balance", "/balance", {}, now)
        answer = _object(reply.body)
        if reply.status != _HTTP_OK or not isinstance(answer.get("fen"), int):
            raise UnreadableReplyError("fen: expected a number")
        return int(answer["fen"])

    def parse_callback(self, raw: RawCallback) -> CallbackReport | CallbackRefusal:
        """Read a callback (document, 5)."""
        if not hmac.compare_digest(raw.headers.get("x-signature", "").encode(), self._sign(raw.body).encode()):
            return CallbackRefusal("bad_signature", "x-signature: not what our key makes of the body")
        try:
            fields = _object(raw.body)
            return CallbackReport(_text(fields, "order"), fields.get("plane"), self._report(fields))
        except UnreadableReplyError as error:
            return CallbackRefusal("invalid_message", str(error))

    def acknowledge(self, *, ok: bool) -> Acknowledgement:
        """Answer `caught` (document, 5)."""
        return Acknowledgement(200, b"caught") if ok else Acknowledgement(400, b"dropped")

    def _request(
        self, operation: str, path: str, fields: Mapping[str, Any], now: datetime, *, moves_money: bool = False
    ) -> Request:
        url = f"{self.settings.base_url.rstrip('/')}{path}"
        body = orjson.dumps(fields)
        seconds = str(int(now.timestamp()))
        signature = self._sign(f"{seconds}\n{urlsplit(url).path}\n".encode() + body)
        headers = {"X-Merchant": self.settings.merchant, "X-Time": seconds, "X-Signature": signature}
        return Request(operation, "POST", url, body, _JSON, moves_money, headers)

    def _sign(self, data: bytes) -> str:
        return hmac.new(self.settings.key.get_secret_value().encode(), data, hashlib.sha256).hexdigest()

    def _report(self, fields: Mapping[str, Any]) -> Report:
        code = _text(fields, "status")
        amount, arrived = fields.get("amount"), fields.get("arrived")
        return Report(
            self.statuses.get(code, Status.UNCLEAR),
            mask_text(code, 64),
            upstream_no=fields.get("plane"),
            amount_fen=amount if isinstance(amount, int) else None,
            account=fields.get("mobile"),
            arrived_fen=arrived if isinstance(arrived, int) and arrived else None,
        )


def _object(body: bytes) -> dict[str, Any]:
    try:
        value = orjson.loads(body)
    except orjson.JSONDecodeError:
        raise UnreadableReplyError("the answer is not JSON") from None
    if not isinstance(value, dict):
        raise UnreadableReplyError("the answer: expected an object")
    return value


def _text(fields: Mapping[str, Any], name: str) -> str:
    value = fields.get(name)
    if not isinstance(value, str) or not value:
        raise UnreadableReplyError(f"{name}: expected text")
    return value
