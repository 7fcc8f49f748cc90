"""The submit message: one model for each product, chosen by its `product`."""

from collections.abc import Mapping
from hashlib import blake2b
from types import MappingProxyType
from typing import Annotated, Any, Literal

import orjson
from pydantic import Field

from schemas.base import Fen, GatewayName, Instant, Message, OrderNo, Source
from schemas.targets import (
    CampusTarget,
    DouyinTarget,
    EbikeTarget,
    GameTarget,
    MobileTarget,
    OilTarget,
    PowerTarget,
    Target,
)

PRODUCTS = ("mobile", "power", "oil", "game", "douyin", "campus", "ebike")
Product = Literal["mobile", "power", "oil", "game", "douyin", "campus", "ebike"]
DIGEST_SIZE = 16
_DIGEST_PERSON = b"order-content-1"  # ours alone: no other use of BLAKE2b gives the same digest


class SubmitOrder(Message):
    """An order that a producer asks for; make one by `decode_submit`, or from its product's own class."""

    order_no: OrderNo = Field(description="The producer's number of the order, unique for ever")
    source: Source = Field("default", description="Who asks; part of the routing key of the order's events")
    product: Product = Field(description="What is bought; the same as in the routing key")
    amount_fen: Fen = Field(description="Total of the order, in fen")
    gateway: GatewayName | None = Field(None, description="A configured gateway; null: routed by product")
    expires_at: Instant | None = Field(None, description="Never submit after this moment, RFC 3339; null: no limit")
    target: Target = Field(description="What the money is for")

    def content_digest(self) -> bytes:
        """Return the digest by which a repeated order is told from a conflicting one.

        It covers the validated content without `expires_at`, defaults filled in. Nulls are left out, so a
        field that a later version adds with null as its default changes no stored digest.
        """
        content = self.model_dump(mode="json", exclude={"expires_at"}, exclude_none=True)
        canonical = orjson.dumps(content, option=orjson.OPT_SORT_KEYS)
        return blake2b(canonical, digest_size=DIGEST_SIZE, person=_DIGEST_PERSON).digest()

    def target_fields(self) -> dict[str, Any]:
        """Return the target as plain JSON values, defaults filled in and times as RFC 3339 text."""
        return self.target.model_dump(mode="json")


class MobileOrder(SubmitOrder):
    """A mobile top-up."""

    product: Literal["mobile"] = Field(description="Mobile top-up")
    target: MobileTarget


class PowerOrder(SubmitOrder):
    """An electricity payment."""

    product: Literal["power"] = Field(description="Electricity")
    target: PowerTarget


class OilOrder(SubmitOrder):
    """A fuel card top-up."""

    product: Literal["oil"] = Field(description="Fuel card")
    target: OilTarget


class GameOrder(SubmitOrder):
    """Goods for a game account."""

    product: Literal["game"] = Field(description="Game goods")
    target: GameTarget


class DouyinOrder(SubmitOrder):
    """Goods for a Douyin account."""

    product: Literal["douyin"] = Field(description="Douyin goods")
    target: DouyinTarget


class CampusOrder(SubmitOrder):
    """Packages of a campus card."""

    product: Literal["campus"] = Field(description="Campus card packages")
    target: CampusTarget


class EbikeOrder(SubmitOrder):
    """An e-bike charging deduction."""

    product: Literal["ebike"] = Field(description="E-bike charging")
    target: EbikeTarget


ORDERS: Mapping[str, type[SubmitOrder]] = MappingProxyType(
    {
        "mobile": MobileOrder,
        "power": PowerOrder,
        "oil": OilOrder,
        "game": GameOrder,
        "douyin": DouyinOrder,
        "campus": CampusOrder,
        "ebike": EbikeOrder,
    }
)
"""The model of each product's order."""

AnyOrder = Annotated[
    MobileOrder | PowerOrder | OilOrder | GameOrder | DouyinOrder | CampusOrder | EbikeOrder,
    Field(discriminator="product"),
]
"""Any submit message, for the generated schema."""
