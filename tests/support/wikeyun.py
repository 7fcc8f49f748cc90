"""The wikeyun adapter, an order for it, and answers put into its calls by hand."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from worker.core.order import Order
from worker.gateways.base import Call, Reply
from worker.gateways.wikeyun import Wikeyun, WikeyunSettings

NOW = datetime(2026, 11, 21, 12, 0, 0, 654321, tzinfo=UTC)
SECRET = "canary-secret"
PHONE = "13800138000"
NUMBER = "T20261121-000001"


def adapter(**settings: Any) -> Wikeyun:
    values: dict[str, Any] = {
        "adapter": "wikeyun",
        "base_url": "https://router.wikeyun.cn",
        "notify_url": "https://relay.example.com/callbacks/wikeyun",
        "store_id": "1001",
        "app_key": "key-77",
        "app_secret": SECRET,
        "client_ip": "10.0.0.1",
    }
    return Wikeyun("wikeyun", WikeyunSettings.model_validate(values | settings))


def order(amount_fen: int = 10_000, upstream_no: str | None = None, attempt: int = 1, **target: Any) -> Order:
    return Order(
        order_no=NUMBER,
        source="shop",
        product="mobile",
        amount_fen=amount_fen,
        target={"mobile": PHONE, "speed": "fast", "change_channel": None, "channel": None} | target,
        route=("wikeyun",),
        gateway="wikeyun",
        upstream_no=upstream_no,
        attempt=attempt,
    )


POWER = {
    "account_no": "3201234567890",
    "province": "江苏省",
    "city": "南京市",
    "grid": "state",
    "phone": None,
    "holder_id": None,
    "account_type": "home",
    "remark": None,
    "speed": "fast",
}
OIL = {
    "card_no": "1000111100012345678",
    "company": "sinopec",
    "name": "王小明",
    "phone": "13800138000",
    "id_number": "320106199001011234",
    "speed": "slow",
}


def card_order(product: str, amount_fen: int, upstream_no: str | None = None, **target: Any) -> Order:
    """Return an order for power or oil."""
    return Order(
        order_no=NUMBER,
        source="shop",
        product=product,
        amount_fen=amount_fen,
        target=(POWER if product == "power" else OIL) | target,
        route=("wikeyun",),
        gateway="wikeyun",
        upstream_no=upstream_no,
    )


def ok(**data: Any) -> Reply:
    """Return the answer of a success."""
    return Reply(200, {}, json.dumps({"code": "0000", "msg": "ok", "time": "1624868000", "data": data}).encode())


def no(code: str, message: str = "no", data: Any = None) -> Reply:
    """Return the answer of a refusal."""
    return Reply(200, {}, json.dumps({"code": code, "msg": message, "data": data}).encode())


def played(call: Any, *answers: Any) -> tuple[list[Any], Any]:
    """Answer each step of a call in turn; return the steps, and what the call returned."""
    steps: list[Any] = []
    answer: Any = None
    waiting = list(answers)
    try:
        while True:
            steps.append(call.send(answer))
            answer = waiting.pop(0)
    except StopIteration as done:
        assert not waiting, "it did not ask for all of these answers"
        return steps, done.value


def answered(call: Call[Any], body: object, status: int = 200) -> Any:
    """Answer the call's one request and return what the adapter makes of it."""
    next(call)
    raw = body if isinstance(body, bytes) else json.dumps(body).encode()
    with pytest.raises(StopIteration) as done:
        call.send(Reply(status, {}, raw))
    return done.value.value
