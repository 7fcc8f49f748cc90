"""What the simulated wikeyun sells, and the parameters that each product is pushed with."""

from collections.abc import Callable
from dataclasses import dataclass

from worker.sandbox.simulators.wikeyun_cards import OIL, POWER, CardKind
from worker.sandbox.simulators.wikeyun_wire import Shape, WikeyunSettings


@dataclass(frozen=True, slots=True)
class Product:
    """One kind of orders; `card`: they name a card instead of a phone number."""

    name: str
    path: str
    push: Shape
    money: str  # the parameter with the amount, in whole yuan
    sells: Callable[[int, WikeyunSettings], bool]
    recharge_types: frozenset[str]
    card: CardKind | None = None


def _mobile(yuan: int, settings: WikeyunSettings) -> bool:
    return not settings.mobile_amounts or yuan in settings.mobile_amounts


def _power(yuan: int, settings: WikeyunSettings) -> bool:
    return yuan % settings.power_multiple == 0


def _oil(yuan: int, settings: WikeyunSettings) -> bool:
    return not settings.oil_amounts or yuan in settings.oil_amounts


_PUSH_MOBILE = Shape(
    frozenset({"store_id", "mobile", "order_no", "money", "recharge_type", "notify_url"}),
    frozenset({"change", "source"}),
)
_PUSH_CARD = Shape(frozenset({"store_id", "cardId", "order_no", "amount", "recharge_type", "notify_url"}))
_FAST_OR_SLOW = frozenset({"0", "1"})
_SLOW = frozenset({"0"})  # "send 0 for now"

PRODUCTS = (
    Product("mobile", "/rest/Recharge", _PUSH_MOBILE, "money", _mobile, _FAST_OR_SLOW),
    Product("power", "/rest/Power", _PUSH_CARD, "amount", _power, _SLOW, POWER),
    Product("oil", "/rest/Oil", _PUSH_CARD, "amount", _oil, _SLOW, OIL),
)
