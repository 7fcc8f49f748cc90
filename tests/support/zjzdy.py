"""The zjzdy adapter, an order for it, and the answers that its document shows."""

import copy
from datetime import UTC, datetime
from typing import Any

from worker.core.order import Order, State
from worker.gateways.zjzdy import Zjzdy, ZjzdySettings

NOW = datetime(2016, 8, 11, 9, 25, 20, tzinfo=UTC)
TOKEN = "canary-token"
IMEI = "335731330112233"
SIM = "89860318740012345678"
PHONE = "13800138000"
NAME = "陈雅诺"

CHARGE: dict[str, Any] = {
    "id": "ch_9Ka1a5Ta5yj9efHmjPrfvH08", "object": "charge", "created": 1470976321, "livemode": False, "paid": False,
    "refunded": False, "app": "app_DKWLKKDu9eLODmnv", "channel": "alipay_wap", "order_no": "1234567896",
    "client_ip": "127.0.0.1", "amount": 1, "amount_settle": 1, "currency": "cny", "subject": "短信支付",
    "body": "一年的短信费用",
    "extra": {"success_url": "http://pay.zjzdy.net/api/charges/success"},
    "time_paid": None, "time_expire": 1471062721, "time_settle": None, "transaction_no": None,
    "refunds": {"object": "list", "has_more": False, "data": []},
    "amount_refunded": 0, "failure_code": None, "failure_msg": None, "metadata": {},
    "credential": {"object": "credential", "alipay_wap": {"total_fee": "0.01", "sign": "q2oEnkJxdmYRUfCkSPDR"}},
    "description": None,
}  # fmt: skip
"""The charge of the document's example, which expires at 2016-08-13 04:32:01 UTC."""
EXPIRES = datetime(2016, 8, 13, 4, 32, 1, tzinfo=UTC)

PAID: dict[str, Any] = {
    "projectName": "智慧校园一卡通", "itemName": "B套餐-含定位",
    "payStartDate": "2016-09-01", "payEndDate": "2017-08-31", "empName": NAME,
    "imei": IMEI, "sim": SIM, "gradeName": "高一", "className": "高一(3)班", "mobile": PHONE,
}  # fmt: skip


def adapter(**settings: Any) -> Zjzdy:
    values: dict[str, Any] = {"adapter": "zjzdy", "base_url": "https://campus.example.com"}
    return Zjzdy("campus", ZjzdySettings.model_validate(values | settings))


def order(
    amount_fen: int = 1, upstream_no: str | None = None, state: State = State.AWAITING_PAYMENT, **target: Any
) -> Order:
    wanted = {
        "user_id": "10129580",
        "name": NAME,
        "item_ids": ["10000002"],
        "kind": "buy",
        "channel": "alipay_wap",
        "subject": "短信支付",
        "body": "一年的短信费用",
    }
    return Order(
        order_no="T20261121-000001",
        source="shop",
        product="campus",
        amount_fen=amount_fen,
        target=wanted | target,
        route=("campus",),
        gateway="campus",
        upstream_no=upstream_no,
        state=state,
    )


def pay_answer(record_ids: Any = "10000001", **charge: Any) -> dict[str, Any]:
    """The document's answer to PayMoney, some of its charge's fields changed."""
    charge_data = {"error": 0, "charge": copy.deepcopy(CHARGE) | charge}
    return {"error": 0, "data": {"recordIDs": record_ids, "chargeData": charge_data}}
