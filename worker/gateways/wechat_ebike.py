"""The WeChat Pay gateway for e-bike charging: a deduction from a payer who has agreed to it.

Sources: the "e-bike document" (the deduction's request and answer, and that the service has been
retired); "WeChat Pay", its own rules for every APIv3 interface (signatures, callbacks, errors);
"public clients", which agree on the query and the states.
"""

import secrets
from collections.abc import Callable, Iterable, Mapping
from datetime import datetime, timedelta, timezone
from http import HTTPStatus
from typing import Any, ClassVar
from urllib.parse import urlsplit

import orjson

from worker.core.finding import Finding
from worker.core.masking import mask, mask_text
from worker.core.order import Order
from worker.core.outcome import Outcome, Report, Status, Submitted
from worker.gateways.apiv3 import (
    Merchant,
    Platform,
    UnopenedError,
    UnverifiedError,
    open_resource,
    platform_key,
    private_key,
)
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
from worker.gateways.features import Callbacks, Features
from worker.gateways.wechat_reading import (
    LONGEST_TEXT,
    read_code,
    read_message,
    read_object,
    read_text,
    read_total,
    shown,
)
from worker.gateways.wechat_selftest import check_keys
from worker.gateways.wechat_settings import WechatEbikeSettings

_JSON = "application/json"
_CHARGE = "/v3/ebike/charge/transactions"  # e-bike document
_QUERY = f"{_CHARGE}/out-trade-no/"  # public clients
_ACCEPTED = "ACCEPTED"  # public clients: the one `accept_state` that says yes
_CURRENCY = "CNY"
_CHINA = timezone(timedelta(hours=8))


class WechatEbike(Adapter):
    """E-bike charging. Nothing that WeChat Pay has not signed is believed, be it good news or bad.

    `nonce` makes the random text of each request.
    """

    adapter = "wechat_ebike"
    products = frozenset({"ebike"})
    settings_type = WechatEbikeSettings
    features = Features(
        query_by="our number",
        signing="RSA-SHA256 (APIv3); answers and callbacks are verified",
        callbacks=Callbacks.SIGNED,
        amount_told=products,
        callback_amount=True,
    )
    # whoever holds a charging token can be deducted from; a payer's openid is a person's
    secrets = frozenset({"charging_token", "payer", "openid", "sub_openid", "ciphertext"})

    settings: WechatEbikeSettings

    codes: ClassVar[Mapping[str, Outcome]] = {
        "PARAM_ERROR": Outcome.REJECTED,  # WeChat Pay: a field is wrong
        "INVALID_REQUEST": Outcome.REJECTED,  # WeChat Pay: against the interface's rules
        "SIGN_ERROR": Outcome.REJECTED,  # WeChat Pay: our signature is wrong
        "NO_AUTH": Outcome.REJECTED,  # WeChat Pay: we, or the payer's agreement, may not
        "RULE_LIMIT": Outcome.REJECTED,  # WeChat Pay: against a business rule, such as the payer's limits
        "APPID_MCHID_NOT_MATCH": Outcome.REJECTED,  # WeChat Pay: appid and mchid do not belong together
        "MCH_NOT_EXISTS": Outcome.REJECTED,  # WeChat Pay: no such merchant
        "FREQUENCY_LIMITED": Outcome.NOT_SENT,  # WeChat Pay: not taken, try later
        "OUT_TRADE_NO_USED": Outcome.ACCEPTED,  # WeChat Pay: taken earlier; the query tells more
        "ORDER_EXISTS": Outcome.ACCEPTED,  # WeChat Pay: the same
        "SYSTEM_ERROR": Outcome.UNKNOWN,  # WeChat Pay: query with the same number
        "BANK_ERROR": Outcome.UNKNOWN,  # WeChat Pay: the same
    }
    """What the `code` of a signed 4xx means for a submit; any other is in doubt, and so is every 5xx."""

    absent_codes: ClassVar[frozenset[str]] = frozenset({"ORDER_NOT_EXIST"})
    """The `code` of a signed 404 that denies the order (WeChat Pay)."""

    states: ClassVar[Mapping[str, Status]] = {
        "SUCCESS": Status.SUCCEEDED,  # public clients
        "ACCEPT": Status.CHARGING,  # public clients: taken, deduction to come
        "ACCEPTED": Status.CHARGING,  # public clients: the same
        "NOTPAY": Status.CHARGING,  # public clients: not paid yet
        "USERPAYING": Status.CHARGING,  # public clients: being paid
        "PAY_FAIL": Status.FAILED,  # public clients
        "PAYERROR": Status.FAILED,  # public clients
        "FAIL": Status.FAILED,  # public clients
        "CLOSED": Status.FAILED,  # public clients: closed unpaid
        "REVOKED": Status.FAILED,  # public clients: revoked unpaid
        "REFUND": Status.REFUNDED,  # public clients
    }
    """`trade_state` in queries and callbacks; any other leaves the order as it is."""

    denials: ClassVar[Mapping[str, frozenset[Status]]] = {
        "TRANSACTION.SUCCESS": frozenset({Status.FAILED}),  # WeChat Pay: it was paid
        "TRANSACTION.FAIL": frozenset({Status.SUCCEEDED}),  # WeChat Pay: it was not
        "TRANSACTION.PAY_BACK": frozenset(),  # WeChat Pay: a debt was settled later; its state says where that leads
    }
    """The `event_type` of callbacks, and what it denies; one that denies itself, or of another type, is a hint."""

    def __init__(self, name: str, settings: Any, nonce: Callable[[], str] = lambda: secrets.token_hex(16)) -> None:
        super().__init__(name, settings)
        given = self.settings
        self._nonce = nonce
        self._merchant = Merchant(given.mchid, given.serial_no, private_key(given.private_key.get_secret_value()))
        self._platform = Platform(
            {serial: platform_key(pem.get_secret_value()) for serial, pem in given.platform_keys.items()}
        )

    def submit(self, order: Order, now: datetime) -> Call[Submitted]:
        """Ask for the deduction (e-bike document); its result comes by callback, or to a query."""
        body = orjson.dumps(self._charge(order))
        reply = yield self._request("charge", "POST", _CHARGE, now, body, moves_money=True)
        return self._read_charge(reply, now)

    def query(self, order: Order, now: datetime) -> Call[Report]:
        """Ask by our number (public clients), which it knows from the submit on."""
        whose = f"?sub_mchid={self.settings.sub_mchid}" if self.settings.sub_mchid else ""
        reply = yield self._request("query", "GET", f"{_QUERY}{order.reference}{whose}", now)
        answer = self._answer(reply, now)
        if _is_success(reply):
            return self._report(answer, order.reference)
        code, message = read_code(answer), read_message(answer.get("message"))
        if reply.status == HTTPStatus.NOT_FOUND and code in self.absent_codes:
            return Report(Status.ABSENT, code, message)
        judged = _is_refusal(reply) and reply.status != HTTPStatus.TOO_MANY_REQUESTS
        return Report(Status.UNCLEAR if judged else Status.SILENT, code, message)

    def parse_callback(self, raw: RawCallback) -> CallbackReport | CallbackRefusal:
        """Verify, decrypt and read a callback (WeChat Pay); all that it says is signed, its amount included."""
        try:
            self._platform.verify(raw.headers, raw.body, raw.received_at)
        except UnverifiedError as error:
            return CallbackRefusal("bad_signature", str(error))
        try:
            envelope = read_object(raw.body, "the body")
            data = read_object(open_resource(self._apiv3_key(), envelope.get("resource")), "resource")
            report = self._report(data, None)
            reference = read_text(data, "out_trade_no")
            kind = read_text(envelope, "event_type") or ""
        except (UnopenedError, UnreadableReplyError) as error:
            return CallbackRefusal("invalid_message", str(error))
        if reference is None:
            return CallbackRefusal("invalid_message", "out_trade_no: expected our number")
        denied = self.denials.get(kind)
        if denied is None or report.status in denied:
            report = report._replace(proven=False, code=mask_text(f"{kind}:{report.code}", LONGEST_TEXT))
        return CallbackReport(reference, report.upstream_no, report._replace(evidence=shown(envelope, data)))

    def acknowledge(self, *, ok: bool) -> Acknowledgement:
        """Answer 204, which stops its repetitions; after anything else it comes again (WeChat Pay)."""
        if ok:
            return Acknowledgement(HTTPStatus.NO_CONTENT, b"", _JSON)
        return Acknowledgement(HTTPStatus.BAD_REQUEST, b'{"code":"FAIL","message":"not accepted"}', _JSON)

    def self_test(self, now: datetime) -> Iterable[Finding]:
        """Use each key once, and yield how long the platform's hold."""
        return check_keys(self.settings, now)

    def notices(self) -> tuple[str, ...]:
        """Return that the service is no more (e-bike document)."""
        return ("WeChat Pay retired e-bike charging on 2019-12-16: this gateway works against a sandbox only",)

    # --- requests --------------------------------------------------------------------------------

    def _charge(self, order: Order) -> dict[str, Any]:
        """Return the deduction's fields; optional ones are left out where they are empty."""
        settings, target = self.settings, order.target
        charge = {
            "sub_mchid": settings.sub_mchid or None,
            "appid": settings.appid,
            "sub_appid": settings.sub_appid or None,
            "out_trade_no": order.reference,  # at most 32 characters: 28 of ours, and `R` with three digits
            "attach": target.get("attach") or None,
            "goods_tag": target.get("goods_tag") or None,
            "notify_url": settings.notify_url,
            "description": target["description"],
            "charging_token": order.account,
            "amount": {"total": order.amount_fen, "currency": _CURRENCY},
            "charge_info": _given(
                {
                    "start_time": _china(target["started_at"]),
                    "end_time": _china(target["ended_at"]),
                    "charging_station_name": target["station_name"],
                    "charging_gun_number": target["gun_number"],
                    "charged_capacity": target["capacity"],
                    "park_duration": target.get("park_minutes"),
                    "park_fee": target.get("park_fee_fen"),
                }
            ),
            "device_info": {"device_id": target["device_id"], "device_ip": target["device_ip"]},
        }
        return _given(charge)

    def _request(
        self, operation: str, method: str, path: str, now: datetime, body: bytes = b"", *, moves_money: bool = False
    ) -> Request:
        url = f"{self.settings.base_url.rstrip('/')}{path}"
        parts = urlsplit(url)
        target = f"{parts.path}?{parts.query}" if parts.query else parts.path
        headers = {
            "Authorization": self._merchant.authorization(method, target, body, now, self._nonce()),
            "Accept": _JSON,
        }
        return Request(operation, method, url, body, _JSON if body else None, moves_money, headers)

    # --- answers ---------------------------------------------------------------------------------

    def _answer(self, reply: Reply, now: datetime) -> dict[str, Any]:
        """Return a signed answer's object; an unsigned one proves nothing, whatever its status says."""
        try:
            self._platform.verify(reply.headers, reply.body, now)
        except UnverifiedError as error:
            raise UnreadableReplyError(f"HTTP {reply.status}, {error}") from None
        return read_object(reply.body, "the answer")

    def _read_charge(self, reply: Reply, now: datetime) -> Submitted:
        answer = self._answer(reply, now)
        if _is_success(reply):
            state = read_text(answer, "accept_state")
            if state is None:
                raise UnreadableReplyError("accept_state: expected a state")
            return Submitted(Outcome.ACCEPTED) if state == _ACCEPTED else Submitted(Outcome.UNKNOWN, state)
        code, message = read_code(answer), read_message(answer.get("message"))
        if not _is_refusal(reply):
            return Submitted(Outcome.UNKNOWN, code, message)
        outcome = self.codes.get(code)
        if outcome is None:  # too many requests are no judgement on this one
            return Submitted(Outcome.UNKNOWN, code, message, doubt=reply.status != HTTPStatus.TOO_MANY_REQUESTS)
        return Submitted(outcome, code, message)

    def _report(self, data: Mapping[str, Any], ours: str | None) -> Report:
        """Read the fields that queries and callbacks share; `ours` is the number that was asked about."""
        code = read_text(data, "trade_state") or "no_state"
        return Report(
            self.states.get(code, Status.UNCLEAR),
            code,
            read_message(data.get("trade_state_desc") or data.get("trade_state_des")),
            upstream_no=read_text(data, "transaction_id"),
            amount_fen=read_total(data.get("amount")),
            foreign=self._foreign(data, ours),
        )

    def _foreign(self, data: Mapping[str, Any], ours: str | None) -> str | None:
        """Return which field is about somebody else's order, both values masked."""
        settings = self.settings
        expected = {"mchid": settings.mchid, "appid": settings.appid, "sub_mchid": settings.sub_mchid}
        if ours is not None:
            expected["out_trade_no"] = ours
            if read_text(data, "out_trade_no") is None:
                raise UnreadableReplyError("out_trade_no: expected the number that was asked about")
        for name, value in expected.items():
            theirs = read_text(data, name)
            if theirs is not None and theirs != value:
                return f"{name}: ours {mask(value)}, theirs {mask(theirs)}"
        amount = data.get("amount")
        currency = read_text(amount, "currency") if isinstance(amount, Mapping) else None
        return None if currency in (None, _CURRENCY) else f"currency: ours {_CURRENCY}, theirs {mask_text(currency)}"

    def _apiv3_key(self) -> bytes:
        return self.settings.apiv3_key.get_secret_value().encode()


def _is_success(reply: Reply) -> bool:
    return HTTPStatus.OK <= reply.status < HTTPStatus.MULTIPLE_CHOICES


def _is_refusal(reply: Reply) -> bool:
    return HTTPStatus.BAD_REQUEST <= reply.status < HTTPStatus.INTERNAL_SERVER_ERROR


def _given(fields: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in fields.items() if value is not None}


def _china(moment: str) -> str:
    """Return a target's time as the document writes it: China's, to the second."""
    return datetime.fromisoformat(moment).astimezone(_CHINA).isoformat(timespec="seconds")
