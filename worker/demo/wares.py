"""What the demo orders: orders of all seven products, the same for the same seed."""

import random
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from worker.broker.topology import PRODUCTS
from worker.core.order import ACCOUNT_FIELDS

SOURCE = "demo"
PIECE_FEN = 9_850
"""What a piece of `game` or `douyin` costs at the simulated dingyin, and here its customer, too."""

_CARDS = 40  # so many meters, and fuel cards: several orders go onto each, some at the same time
_NOT_SOLD_BY_THE_FIRST = 5_000  # wikeyun sells power in hundreds of yuan; dingyin does not mind
_Chance = random.Random  # repeatable by design; nothing here is secret
_Made = tuple[int, dict[str, Any]]


@dataclass(frozen=True, slots=True)
class Wish:
    """An order that is going to be published."""

    order_no: str
    product: str
    amount_fen: int
    account: str  # whom the money is for
    body: bytes


def wishes(count: int, seed: int) -> list[Wish]:
    """Return so many orders, the products taking turns."""
    return list(_wishes(count, _Chance(seed)))


def owner(user_id: str) -> str:
    """Return the order that a campus user wants: each has one, and its number is in his own."""
    return user_id.removeprefix("user-")


def _wishes(count: int, chance: _Chance) -> Iterator[Wish]:
    for number in range(1, count + 1):
        order_no, product = f"D{number:07d}", PRODUCTS[number % len(PRODUCTS)]
        amount_fen, target = _MAKERS[product](chance, order_no)
        order = {
            "order_no": order_no,
            "source": SOURCE,
            "product": product,
            "amount_fen": amount_fen,
            "target": target,
        }
        yield Wish(order_no, product, amount_fen, target[ACCOUNT_FIELDS[product]], orjson.dumps(order))


def _phone(chance: _Chance) -> str:
    return f"138{chance.randrange(10**8):08d}"


def _mobile(chance: _Chance, _order_no: str) -> _Made:
    target = {"mobile": _phone(chance), "speed": chance.choice(("fast", "slow"))}
    return chance.choice((5_000, 10_000, 20_000)), target


def _power(chance: _Chance, _order_no: str) -> _Made:
    card = chance.randrange(_CARDS)
    state = {"province": "江苏省", "city": "南京市", "grid": "state"}
    southern = {"province": "广东省", "city": "深圳市", "grid": "southern", "holder_id": f"44010619900101{card:04d}"}
    target = {"account_no": f"32{card:08d}", **(southern if card % 2 else state)}
    return chance.choice((10_000, 20_000, 30_000, _NOT_SOLD_BY_THE_FIRST)), target


def _oil(chance: _Chance, _order_no: str) -> _Made:
    card = chance.randrange(_CARDS)
    target = {
        "card_no": f"100011{card:013d}",
        "company": ("sinopec", "petrochina")[card % 2],
        "name": "王喆",
        "phone": f"139{card:08d}",
        "id_number": f"32010619900101{card:04d}",
    }
    return 50_000, target


def _game(chance: _Chance, _order_no: str) -> _Made:
    quantity = chance.randint(1, 3)
    return quantity * PIECE_FEN, {"account": _phone(chance), "product_id": "3312", "quantity": quantity}


def _douyin(chance: _Chance, order_no: str) -> _Made:
    quantity = chance.randint(1, 3)
    target = {"account": f"douyin-{order_no}", "product_id": "880", "quantity": quantity, "buyer_ip": "192.0.2.7"}
    return quantity * PIECE_FEN, target


def _campus(chance: _Chance, order_no: str) -> _Made:
    target = {
        "user_id": f"user-{order_no}",
        "name": "陈雅诺",
        "item_ids": ["10000002"],
        "kind": chance.choice(("buy", "upgrade", "renew")),
        "channel": chance.choice(("wx", "alipay_wap")),
        "subject": "校园卡",
        "body": "一年的费用",
    }
    return chance.choice((3_000, 18_800)), target


def _ebike(chance: _Chance, order_no: str) -> _Made:
    target = {
        "charging_token": f"token-{order_no}",
        "description": "充电",
        "started_at": "2026-11-21T10:00:00+08:00",
        "ended_at": "2026-11-21T12:00:00+08:00",
        "station_name": "北门",
        "gun_number": str(chance.randrange(1, 40)),
        "capacity": chance.randrange(1, 20),
        "device_id": "12343232",
        "device_ip": "192.0.2.7",
    }
    return chance.randrange(50, 1_000), target


_MAKERS: Mapping[str, Callable[[_Chance, str], _Made]] = {
    "mobile": _mobile,
    "power": _power,
    "oil": _oil,
    "game": _game,
    "douyin": _douyin,
    "campus": _campus,
    "ebike": _ebike,
}
