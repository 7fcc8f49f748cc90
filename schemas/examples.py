"""One example or more of every message; they go into the generated documents, and the tests validate each."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

_Example = dict[str, Any]


def _order(order_no: str, product: str, amount_fen: int, target: _Example, **others: Any) -> _Example:
    return {"order_no": order_no, "product": product, "amount_fen": amount_fen, "target": target, **others}


_POWER_CARD = {
    "account_no": "3201001234567",
    "province": "江苏省",
    "city": "南京市",
    "grid": "state",
    "phone": "13800138000",
    "holder_id": None,
    "account_type": "home",
    "remark": None,
}
_SOUTHERN_CARD = {
    "account_no": "0301001234567",
    "province": "广东省",
    "city": "深圳市",
    "grid": "southern",
    "holder_id": "01001X",
}
_OIL_CARD = {
    "card_no": "1000111100012345678",
    "company": "sinopec",
    "name": "陈雅诺",
    "phone": "13800138000",
    "id_number": "11010519491231002X",
}
_MOBILE = _order(
    "T20261121-000001",
    "mobile",
    10_000,
    {"mobile": "13800138000", "speed": "fast", "change_channel": None, "channel": None},
    source="shop",
    gateway=None,
    expires_at=None,
)
_EBIKE = {
    "charging_token": "sdjf23kdsHJfdk",
    "description": "Charging at the north gate",
    "started_at": "2026-11-21T10:00:00+08:00",
    "ended_at": "2026-11-21T12:00:00+08:00",
    "station_name": "North gate",
    "gun_number": "6555",
    "capacity": 10,
    "park_minutes": 60,
    "park_fee_fen": 100,
    "device_id": "12343232",
    "device_ip": "192.0.2.7",
    "attach": "north",
    "goods_tag": None,
}
_CAMPUS = {
    "user_id": "10129580",
    "name": "陈雅诺",
    "item_ids": ["10000002", "10000003"],
    "kind": "buy",
    "channel": "wx",
    "subject": "智慧校园一卡通",
    "body": "Package B with positioning",
}
_GAME = {
    "account": "player one",
    "product_id": "9001",
    "quantity": 2,
    "area_id": "3",
    "server_id": "",
    "buyer_ip": None,
}

_EVENT: _Example = {
    "event": "order.succeeded",
    "order_no": "T20261121-000001",
    "source": "shop",
    "product": "mobile",
    "state": "succeeded",
    "version": 3,
    "gateway": "wikeyun",
    "attempt": 1,
    "upstream_no": "2611211200010001",
    "amount_fen": 10_000,
    "arrived_fen": None,
    "cost_fen": None,
    "reason": None,
    "payment": None,
    "at": "2026-11-21T12:00:01.234567Z",
}
_REASON = {"code": "3", "message": "the gateway reports a failure"}
_CHARGE = {"id": "ch_9Ka1a5Ta5yj9efHmjPrfvH08", "paid": False, "time_expire": 1795262400, "credential": {"wx": {}}}
_VIEW: _Example = {
    **{name: value for name, value in _EVENT.items() if name not in {"event", "payment", "at"}},
    "created_at": "2026-11-21T12:00:00.100000Z",
    "updated_at": "2026-11-21T12:00:01.234567Z",
    "due_at": None,
}
_STEP = {"at": "2026-11-21T12:00:00.100000Z", "attempt": 1, "code": None, "message": None}
_JOURNAL = [
    {"version": 1, "from": None, "to": "submitting", "cause": "admitted", **_STEP},
    {"version": 2, "from": "submitting", "to": "pending", "cause": "accepted", **_STEP},
    {"version": 3, "from": "pending", "to": "succeeded", "cause": "arrived", **_STEP},
]
_DEAD = {"reason": "invalid_message", "detail": "target.mobile: required", "queue": "orders.submit.mobile"}

_BY_REQUEST = {"code": "cancelled_by_request", "message": "cancelled by its producer while it waited to be sent"}
_REFUSED = {"ok": False, "error": {"code": "unknown_order", "message": "nobody knows this order"}}

EXAMPLES: Mapping[str, tuple[_Example, ...]] = MappingProxyType(
    {
        "order.submit": (
            _MOBILE,
            _order("T20261121-000002", "power", 20_000, {**_POWER_CARD, "speed": "fast"}, gateway="dingyin"),
            _order("T20261121-000003", "power", 20_000, dict(_SOUTHERN_CARD), expires_at="2026-11-21T12:10:00Z"),
            _order("T20261121-000004", "oil", 50_000, {**_OIL_CARD, "speed": "slow"}),
            _order("T20261121-000005", "game", 3_000, _GAME),
            _order("T20261121-000006", "douyin", 1_000, {"account": "12345678", "product_id": "9002"}),
            _order("T20261121-000007", "campus", 12_000, _CAMPUS),
            _order("T20261121-000008", "ebike", 150, _EBIKE),
        ),
        "order.submit.answer": (
            {"ok": False, "error": {"code": "invalid_message", "message": "target.mobile: required"}},
        ),
        "gateway.callback": (
            {
                "gateway": "wikeyun",
                "received_at": "2026-11-21T12:00:00Z",
                "method": "POST",
                "path": "/callbacks/wikeyun",
                "query": "",
                "headers": {"content-type": "application/x-www-form-urlencoded"},
                "body": "b3JkZXJfbm89VDIwMjYxMTIxLTAwMDAwMSZzdGF0dXM9Mg==",
                "remote_addr": "127.0.0.1",
            },
        ),
        "order.query": ({"order_no": "T20261121-000001"},),
        "order.cancel": ({"order_no": "T20261121-000001"},),
        "card.add": (
            {"gateway": "wikeyun", "kind": "power", **_POWER_CARD},
            {"gateway": "wikeyun", "kind": "oil", **_OIL_CARD},
        ),
        "card.edit": (
            {"gateway": "wikeyun", "kind": "power", **_SOUTHERN_CARD, "card_id": "42"},
            {"gateway": "wikeyun", "kind": "oil", **_OIL_CARD},
        ),
        "card.delete": ({"gateway": "wikeyun", "kind": "power", "card_id": 42},),
        "card.show": ({"gateway": "wikeyun", "kind": "oil", "card_no": "1000111100012345678"},),
        "balance.show": ({"gateway": "wikeyun"},),
        "packages.list": ({"gateway": "campus", "user_id": "10129580", "kind": "card", "pay_kind": "buy"},),
        "order.query.answer": ({"ok": True, "data": _VIEW}, _REFUSED),
        "order.cancel.answer": (
            {
                "ok": True,
                "data": {**_VIEW, "state": "cancelled", "reason": _BY_REQUEST},
            },
            _REFUSED,
        ),
        "card.add.answer": ({"ok": True, "data": {"card_id": "42"}}, _REFUSED),
        "card.edit.answer": ({"ok": True, "data": {"card_id": "42"}}, _REFUSED),
        "card.delete.answer": ({"ok": True, "data": {"card_id": "42"}}, _REFUSED),
        "card.show.answer": ({"ok": True, "data": {"card_id": "42", "card_num": "100****5678"}}, _REFUSED),
        "balance.show.answer": ({"ok": True, "data": {"balance_fen": 1_234_567}}, _REFUSED),
        "packages.list.answer": ({"ok": True, "data": {"items": [{"id": "10000002", "itemValue": "0.01"}]}}, _REFUSED),
        "order.event": (
            _EVENT,
            {**_EVENT, "event": "order.accepted", "state": "submitting", "version": 1, "upstream_no": None},
            {**_EVENT, "event": "order.partial", "state": "partial", "arrived_fen": 5_000, "reason": _REASON},
            {**_EVENT, "event": "order.failed", "state": "failed", "reason": _REASON},
            {**_EVENT, "event": "order.refunded", "state": "refunded", "version": 4, "reason": _REASON},
            {**_EVENT, "event": "order.cancelled", "state": "cancelled", "reason": _REASON},
            {**_EVENT, "event": "order.review", "state": "review", "reason": _REASON},
            {
                **_EVENT,
                "event": "order.awaiting_payment",
                "state": "awaiting_payment",
                "product": "campus",
                "gateway": "campus",
                "payment": _CHARGE,
            },
        ),
        "dead.headers": (
            {
                **{f"x-dead-{name}": value for name, value in _DEAD.items()},
                "x-dead-at": "2026-11-21T12:00:00.000000Z",
            },
        ),
        "orders.list": (_VIEW,),
        "orders.show": (
            {**_VIEW, "earlier_attempts": [], "journal": _JOURNAL},
            {
                **_VIEW,
                "attempt": 2,
                "earlier_attempts": [{"attempt": 1, "gateway": "dingyin", "reference": _VIEW["order_no"]}],
                "journal": _JOURNAL,
            },
        ),
        "dead.list": ({"id": "1", **_DEAD, "key": "submit.mobile", "at": "2026-11-21T12:00:00Z", "order_no": None},),
    }
)
"""The examples of each message by its name."""
