"""The dingyin adapter, orders for it, and answers put into its calls by hand."""

import hashlib
from datetime import UTC, datetime
from typing import Any
from urllib.parse import unquote_to_bytes

import pytest

from worker.core.order import Order
from worker.gateways.base import Call, RawCallback, Reply, Request
from worker.gateways.dingyin import Dingyin, DingyinSettings
from worker.gateways.lease import Lease

NOW = datetime(2026, 11, 21, 12, 0, 0, 654321, tzinfo=UTC)
KEY = "canary-key"
NUMBER = "T20261121-000001"
METER = "3201234567890"
HOLDER = "320106199001011234"
GAMER = "13590101510"
POWER: dict[str, Any] = {
    "account_no": METER, "province": "江苏省", "city": "南京市", "grid": "state", "phone": "13800138000",
    "holder_id": None, "account_type": "home", "speed": "fast", "remark": None,
}  # fmt: skip
GAME: dict[str, Any] = {
    "account": GAMER, "product_id": "3312", "quantity": 1, "area_id": None, "server_id": None, "buyer_ip": None,
}  # fmt: skip
DOUYIN: dict[str, Any] = {"account": "dy-7", "product_id": "880", "quantity": 2, "buyer_ip": "10.0.0.7"}


def adapter(**settings: Any) -> Dingyin:
    values: dict[str, Any] = {
        "adapter": "dingyin",
        "base_url": "http://pay.example.com:9086",
        "notify_url": "https://relay.example.com/callbacks/dingyin",
        "userid": "10086",
        "key": KEY,
    }
    return Dingyin("dingyin", DingyinSettings.model_validate(values | settings))


def order(product: str = "game", amount_fen: int = 10_000, **changes: Any) -> Order:
    """An order; what is no field of it is one of its target's."""
    target = dict({"power": POWER, "game": GAME, "douyin": DOUYIN}[product])
    target |= {name: changes.pop(name) for name in list(changes) if name in target}
    return Order(
        order_no=NUMBER, source="shop", product=product, amount_fen=amount_fen, target=target,
        route=("dingyin",), gateway="dingyin", **changes,
    )  # fmt: skip


def document(root: str = "order", declared: str = "GB2312", **fields: object) -> str:
    """An answer as text, declared as the submit document shows it."""
    inner = "".join(f"<{name}>{value}</{name}>" for name, value in fields.items())
    return f'<?xml version="1.0" encoding="{declared}" ?>\n<{root}>{inner}</{root}>'


def answer(resultno: object, **fields: object) -> bytes:
    return document(**fields, resultno=resultno).encode("gbk")


def answered(call: Call[Any], body: bytes, status: int = 200) -> Any:
    """Answer the call's one request and return what the adapter makes of it."""
    next(call)
    with pytest.raises(StopIteration) as done:
        call.send(Reply(status, {}, body))
    return done.value.value


def unasked(call: Call[Any]) -> Any:
    with pytest.raises(StopIteration) as done:
        next(call)
    return done.value.value


def upper_md5(data: bytes) -> str:
    return hashlib.md5(data, usedforsecurity=False).hexdigest().upper()


def sent(request: Request) -> dict[str, bytes]:
    """The fields of a request's form, as bytes."""
    pairs = [pair.partition(b"=") for pair in request.body.split(b"&")]
    return {name.decode(): unquote_to_bytes(value.replace(b"+", b" ")) for name, _, value in pairs}


def callback(body: bytes) -> RawCallback:
    headers = {"content-type": "application/x-www-form-urlencoded"}
    return RawCallback(NOW, "POST", "/callbacks/dingyin", "", headers, body)


class Answers:
    """A sender that answers every request with the next of these bodies, and with the last one again."""

    def __init__(self, *bodies: bytes) -> None:
        self.bodies = list(bodies)

    async def send(self, request: Request, lease: Lease | None = None) -> Reply:  # noqa: ARG002 - a fake
        """Answer."""
        return Reply(200, {}, self.bodies.pop(0) if len(self.bodies) > 1 else self.bodies[0])

    async def close(self) -> None:
        """Nothing is open."""
