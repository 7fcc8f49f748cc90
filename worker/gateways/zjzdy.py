"""The zjzdy gateway: packages of a campus card, which a payer then pays for through ping++.

Sources: the "campus document" (paths, fields, `error` 0 and 1); "ping++", whose charge it hands on and
whose own documents the campus document refers to. No signature and no number of ours are in it: an
order is asked about by the record ids that PayMoney answers, kept as the order's upstream number.
"""

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, ClassVar, Literal

import orjson
from pydantic import Field, StringConstraints, field_validator

from worker.core.masking import mask, mask_text
from worker.core.money import fen_to_text
from worker.core.order import Order, State
from worker.core.outcome import Outcome, Report, Status, Submitted
from worker.gateways.base import Adapter, Call, RefusedError, Reply, Request, UnreadableReplyError
from worker.gateways.features import Codes, Features
from worker.gateways.settings import GatewaySettings, Secret

_HTTP_OK = 200
_JSON = "application/json"
_PAY = "/api/Pay/PayMoney"  # campus document
_PAID = "/api/Pay/SearchSuccessData"  # campus document
_PACKAGES = "/api/Pay/SearchPayPackages"  # campus document
_OK, _FAILED = "0", "1"  # campus document: `error` of every answer
_CURRENCY = "cny"  # ping++
_LONGEST_WINDOW = timedelta(days=31)  # a charge that expires later was given no time of its own
_LONGEST_CHARGE = 64 * 1024  # bytes of JSON; ping++'s own have two or three thousand
_CHARGE_SHOWN = ("id", "order_no", "channel", "amount", "currency", "paid", "livemode")
_MOST_IDS = 50
_RECORD_ID = re.compile(r"[!-+\--~]{1,64}")  # visible, and without the comma that separates them
_WHOLE = re.compile(r"([0-9]{1,15})(?:\.0+)?")
_DATE_ALONE = re.compile(r"([0-9]{4})([0-9]{2})([0-9]{2})([0-9]{6})?")

HeaderName = Annotated[str, StringConstraints(pattern=r"^[!#$%&'*+.^_`|~0-9A-Za-z-]{1,64}$")]
_OURS = frozenset({"host", "content-type", "content-length", "transfer-encoding", "connection", "accept-encoding"})


class ZjzdySettings(GatewaySettings):
    """What `[gateways.<name>]` holds for this adapter."""

    amount_unit: Literal["fen", "yuan"] = Field("fen", description="what `amount` is sent in")
    headers: Mapping[HeaderName, Secret] = Field({}, description="sent with every request; their values are secrets")
    payment_seconds: float = Field(
        86_400, gt=0, le=_LONGEST_WINDOW.total_seconds(), description="for the payer, where the charge names no time"
    )
    payment_grace_seconds: float = Field(
        5, ge=0, le=3600, description="after a charge has expired, for a payment of the last moment to show"
    )

    @field_validator("headers")
    @classmethod
    def _sendable(cls, headers: Mapping[str, Secret]) -> Mapping[str, Secret]:
        for name, value in headers.items():
            if name.lower() in _OURS:
                raise ValueError(f"{name} is set by the worker")
            text = value.get_secret_value()
            if not (text.isascii() and text.isprintable()):
                raise ValueError(f"expected visible ASCII as the value of {name}")
        return headers


class Zjzdy(Adapter):
    """Campus packages. It calls nobody back, keeps no balance, and cannot cancel.

    A submit makes a charge, which moves no money before somebody pays it with the credential that is
    in the answer. So a call whose answer was lost may be repeated: its credential has reached nobody.
    """

    adapter = "zjzdy"
    products = frozenset({"campus"})
    settings_type = ZjzdySettings
    features = Features(
        query_by="record ids",
        signing="none; headers by settings",
        no_such_order=Codes.NONE,
        duplicate=Codes.NONE,
        order_told=False,
        amount_told=products,
    )
    repeat_safe = True
    secrets = frozenset({"credential", "sign", "empName", "gradeName", "className"})

    settings: ZjzdySettings

    outcomes: ClassVar[Mapping[str, Outcome]] = {
        _OK: Outcome.ACCEPTED,  # campus document: success
        _FAILED: Outcome.REJECTED,  # campus document: failure, with `message`
    }
    """`error` of PayMoney, outside and inside its `chargeData`; any other is in doubt."""
    kinds: ClassVar[Mapping[str, int]] = {"buy": 0, "upgrade": 1, "renew": 2}
    """`type` of PayMoney (campus document)."""
    package_kinds: ClassVar[Mapping[str, int]] = {"card": 0, "sms": 1}
    """`type` of SearchPayPackages (campus document)."""
    package_pay_kinds: ClassVar[Mapping[str, int]] = {"buy": 0, "upgrade": 1}
    """`payType` of SearchPayPackages (campus document)."""

    def submit(self, order: Order, now: datetime) -> Call[Submitted]:
        """Make a charge (campus document, PayMoney)."""
        target = order.target
        fields = {
            "channel": target["channel"],
            "subject": target["subject"],
            "body": target["body"],
            "amount": self._amount(order.amount_fen),
            "userID": target["user_id"],
            "empName": target["name"],
            "itemIDs": ",".join(target["item_ids"]),
            "type": self.kinds[target["kind"]],
        }
        reply = yield self._request("pay", _PAY, fields, moves_money=True)
        return self._read_pay(reply, order, now)

    def query(self, order: Order, now: datetime) -> Call[Report]:  # noqa: ARG002 - no moment is in the request
        """Ask whether the payer has paid (campus document, SearchSuccessData: its table, not its example)."""
        if order.upstream_no is None:
            return Report(Status.SILENT, "no_record_ids", "there is no charge to ask about")
        reply = yield self._request("paid", _PAID, {"ids": order.upstream_no})
        return self._read_paid(reply, order, order.upstream_no)

    def packages(self, user_id: str, kind: str, pay_kind: str, now: datetime) -> Call[Mapping[str, Any]]:  # noqa: ARG002
        """Ask what a user may buy (campus document, SearchPayPackages)."""
        fields = {
            "userID": user_id,
            "type": self.package_kinds[kind],
            "payType": self.package_pay_kinds[pay_kind],
        }
        reply = yield self._request("packages", _PACKAGES, fields)
        if reply.status != _HTTP_OK:
            raise UnreadableReplyError(f"HTTP {reply.status}")
        answer = _answer(reply.body)
        code, message = _error(answer), _message(answer)
        if code == _FAILED:
            raise RefusedError(code, message or "it gave no reason")
        if code != _OK:
            raise UnreadableReplyError(f"error {code}: {message or ''}")
        return _object(answer.get("data"), "data")

    # --- requests --------------------------------------------------------------------------------

    def _amount(self, fen: int) -> int | orjson.Fragment:
        """`amount` is in the smallest unit (campus document: its table; its example, 0.01, is in yuan)."""
        return fen if self.settings.amount_unit == "fen" else orjson.Fragment(fen_to_text(fen))

    def _request(self, operation: str, path: str, fields: Mapping[str, Any], *, moves_money: bool = False) -> Request:
        headers = {name: value.get_secret_value() for name, value in self.settings.headers.items()}
        url = f"{self.settings.base_url.rstrip('/')}{path}"
        return Request(operation, "POST", url, orjson.dumps(fields), _JSON, moves_money, headers)

    # --- answers ---------------------------------------------------------------------------------

    def _read_pay(self, reply: Reply, order: Order, now: datetime) -> Submitted:
        if reply.status != _HTTP_OK:
            return Submitted(Outcome.UNKNOWN, f"http_{reply.status}")
        answer = _answer(reply.body)
        if refusal := self._refusal(answer):
            return refusal
        data = _object(answer.get("data"), "data")
        charge_data = _object(data.get("chargeData"), "chargeData")
        if "error" in charge_data and (refusal := self._refusal(charge_data)):
            return refusal
        return self._read_charge(_object(charge_data.get("charge"), "charge"), data.get("recordIDs"), order, now)

    def _refusal(self, answer: Mapping[str, Any]) -> Submitted | None:
        """Return what an `error` means for a charge; None: it was made."""
        code = _error(answer)
        outcome = self.outcomes.get(code, Outcome.UNKNOWN)
        if outcome is Outcome.ACCEPTED:
            return None
        return Submitted(outcome, code, _message(answer), doubt=code not in self.outcomes)

    def _read_charge(self, charge: dict[str, Any], record_ids: Any, order: Order, now: datetime) -> Submitted:
        if failure := _text(charge.get("failure_code"), "failure_code"):
            return Submitted(Outcome.REJECTED, mask_text(failure, 64), _line(charge.get("failure_msg")))
        ids = _record_ids(record_ids)
        expires_at = self._expiry(charge.get("time_expire"), now)
        evidence = {
            "operation": "pay",
            "record_ids": ids,
            "charge": {name: value for name in _CHARGE_SHOWN if isinstance(value := charge.get(name), str | int)},
            "payment_expires_at": expires_at.isoformat(),
        }
        made = Submitted(Outcome.ACCEPTED, upstream_no=ids, evidence=evidence)
        if difference := _difference(charge, order.amount_fen):
            return made._replace(mismatch=difference)
        if charge.get("paid") is True:  # nobody has to pay any more: the query tells whether that is so
            return made
        if not _tellable(charge):
            raise UnreadableReplyError("charge: expected one that an event can carry")
        return made._replace(payment=charge, payment_expires_at=expires_at)

    def _read_paid(self, reply: Reply, order: Order, ids: str) -> Report:
        if reply.status != _HTTP_OK:
            return Report(Status.SILENT, f"http_{reply.status}")
        answer = _answer(reply.body)
        code, message = _error(answer), _message(answer)
        # once it was paid it is not "unpaid" again, only not opened yet
        not_yet = Status.CHARGING if order.state is State.PENDING else Status.PAYMENT_DUE
        if code == _FAILED:
            return Report(not_yet, code, message)
        if code != _OK:
            return Report(Status.UNCLEAR, code, message)
        rows = _rows(answer.get("data"))
        if not rows:
            return Report(not_yet, "no_data")
        if any(row.get("payStartDate") is None and row.get("payEndDate") is None for row in rows):
            return Report(Status.UNCLEAR, "no_dates", "it names packages, yet not from when to when")
        evidence = {"operation": "paid", "record_ids": ids, "packages": [_shown(row) for row in rows]}
        opened = not isinstance(answer["data"], list) or len(rows) >= len(ids.split(","))
        return Report(Status.SUCCEEDED if opened else Status.CHARGING, code, evidence=evidence)

    def _expiry(self, value: Any, now: datetime) -> datetime:
        """Return until when a payment may show: `time_expire` (ping++: unix seconds) where it can be true."""
        text = str(value) if isinstance(value, int) and not isinstance(value, bool) else value
        seconds = int(text) if isinstance(text, str) and re.fullmatch("[0-9]{1,11}", text) else 0
        expires = datetime.fromtimestamp(seconds, UTC)
        if not now < expires <= now + _LONGEST_WINDOW:
            expires = now + timedelta(seconds=self.settings.payment_seconds)
        return expires + timedelta(seconds=self.settings.payment_grace_seconds)


def _tellable(charge: Mapping[str, Any]) -> bool:
    try:
        return len(orjson.dumps(charge)) <= _LONGEST_CHARGE
    except orjson.JSONEncodeError:  # nested deeper than any event may be
        return False


def _difference(charge: Mapping[str, Any], ours: int) -> str | None:
    """Return how the charge's money differs from ours, where it names any (ping++: always in the smallest unit)."""
    amount, currency = charge.get("amount"), charge.get("currency")
    if amount is not None:
        whole = None if isinstance(amount, bool) else _WHOLE.fullmatch(str(amount))
        if whole is None:
            return f"amount: ours {ours} fen, theirs cannot be read"
        if int(whole[1]) != ours:
            return f"amount: ours {ours} fen, theirs {int(whole[1])} fen"
    if currency is not None and str(currency).lower() != _CURRENCY:
        return f"currency: ours {_CURRENCY}, theirs {mask_text(str(currency), 16)}"
    return None


# --- reading -------------------------------------------------------------------------------------


def _answer(body: bytes) -> dict[str, Any]:
    try:
        return _object(orjson.loads(body), "the answer")
    except orjson.JSONDecodeError:
        raise UnreadableReplyError("the answer is not JSON") from None


def _object(value: Any, name: str) -> dict[str, Any]:
    """Return an object; as text where the campus document's table calls `chargeData` a string."""
    if isinstance(value, str):
        try:
            value = orjson.loads(value)
        except orjson.JSONDecodeError:
            value = None
    if not isinstance(value, dict):
        raise UnreadableReplyError(f"{name}: expected an object")
    return value


def _error(answer: Mapping[str, Any]) -> str:
    code = _text(answer.get("error"), "error")
    if code is None:
        raise UnreadableReplyError("error: expected a number")
    return mask_text(code, 64)


def _message(answer: Mapping[str, Any]) -> str | None:
    return _line(answer.get("message"))


def _line(value: Any) -> str | None:
    return mask_text(value) if isinstance(value, str) and value else None


def _text(value: Any, name: str) -> str | None:
    """Return a number or text as text; None where it is absent or empty."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    if value is None or (isinstance(value, str) and not value.strip()):
        return None
    if isinstance(value, str):
        return value.strip()
    raise UnreadableReplyError(f"{name}: expected a number or text")


def _record_ids(value: Any) -> str:
    """Return the record ids comma-joined, as they are asked about."""
    ids = value if isinstance(value, list) else (_text(value, "recordIDs") or "").split(",")
    texts = [(_text(one, "recordIDs") or "") for one in ids]
    if not 0 < len(texts) <= _MOST_IDS or not all(_RECORD_ID.fullmatch(one) for one in texts):
        raise UnreadableReplyError(f"recordIDs: expected 1 to {_MOST_IDS} ids of at most 64 visible characters")
    return ",".join(texts)


_SHOWN = ("projectName", "itemName")
_DATES = ("payStartDate", "payEndDate")
_MASKED = ("imei", "sim", "mobile")
_HIDDEN = ("empName", "gradeName", "className")


def _rows(data: Any) -> list[dict[str, str]]:
    """Return what was paid for: the documented fields that are filled, of each package; none: nothing was."""
    if data is None or data == "":
        return []
    rows = data if isinstance(data, list) else [_object(data, "data")]
    read = [
        {name: text for name in (*_SHOWN, *_DATES, *_MASKED, *_HIDDEN) if (text := _text(row.get(name), name))}
        for row in (_object(row, "data") for row in rows)
    ]
    return [row for row in read if row]


def _shown(row: Mapping[str, str]) -> dict[str, str]:
    """Return a package for the journal; what is about a person is masked or left out."""
    shown = {name: row[name] for name in _SHOWN if name in row}
    shown |= {name: _date(row[name]) for name in _DATES if name in row}
    return shown | {name: mask(row[name]) for name in _MASKED if name in row}


def _date(text: str) -> str:
    """Return a date written so that it is not taken for a card's number."""
    found = _DATE_ALONE.fullmatch(text)
    return "-".join(filter(None, found.groups())) if found else mask_text(text, 64)
