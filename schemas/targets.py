"""What an order buys: one target for each of the seven products, and the cards that two of them share with commands."""

from typing import Annotated, Literal

from pydantic import Field, ValidationInfo, field_validator

from schemas.base import (
    Code,
    FenOrZero,
    Instant,
    IpAddress,
    Line,
    Message,
    Mobile,
    Natural,
    OptionalCode,
    PersonalNumber,
    Phone,
    Positive,
    Prose,
    Token,
)

Speed = Annotated[Literal["fast", "slow"], Field(description="How soon the money should arrive")]
ProductId = Annotated[Code, Field(description="The gateway's number of the goods")]
Quantity = Annotated[Positive, Field(description="How many units of the goods")]
BuyerIp = Annotated[IpAddress | None, Field(description="Address of the buyer, where the gateway asks for it")]

_HOLDER_RULE = {
    "if": {"properties": {"grid": {"const": "southern"}}, "required": ["grid"]},
    "then": {"properties": {"holder_id": {"type": "string"}}, "required": ["holder_id"]},
}


class Target(Message):
    """What the money is for; each product has its own fields."""


class MobileTarget(Target):
    """A mobile phone to top up."""

    mobile: Mobile = Field(description="Mainland mobile number, 11 digits")
    speed: Speed = "fast"
    change_channel: bool | None = Field(None, description="Whether the gateway may try another channel after a failure")
    channel: Natural | None = Field(None, description="Force this channel of the gateway")


class PowerCard(Message, json_schema_extra=_HOLDER_RULE):
    """An electricity account, as a gateway keeps it."""

    account_no: Code = Field(description="Account number at the grid company")
    province: Line = Field(description="Province with its suffix", examples=["江苏省"])
    city: Line = Field(description="City with its suffix", examples=["南京市"])
    grid: Literal["state", "southern"] = Field(description="State Grid or China Southern Power Grid")
    phone: Phone | None = Field(None, description="Phone number of the account's holder")
    holder_id: PersonalNumber | None = Field(
        None,
        validate_default=True,
        description="Identity number of the holder, or its last six; the southern grid always wants it",
    )
    account_type: Literal["home", "shop", "company", "id_card", "licence", "bank_card"] = Field(
        "home", description="Whose account it is, or which document proves it"
    )
    remark: Prose | None = Field(None, description="A note that the gateway keeps")

    @field_validator("holder_id")
    @classmethod
    def _southern_grid_wants_it(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None and info.data.get("grid") == "southern":
            raise ValueError("required where grid is southern")
        return value


class PowerTarget(PowerCard, Target, json_schema_extra=_HOLDER_RULE):
    """An electricity account to pay into."""

    speed: Speed = "fast"


class OilCard(Message):
    """A fuel card, as a gateway keeps it."""

    card_no: Code = Field(description="Number of the fuel card")
    company: Literal["sinopec", "petrochina"] = Field(description="Who issued the card")
    name: Line = Field(description="Name of the card's holder")
    phone: Phone = Field(description="Phone number of the holder")
    id_number: PersonalNumber = Field(description="Identity number of the holder")


class OilTarget(OilCard, Target):
    """A fuel card to top up."""

    speed: Speed = "fast"


class GameTarget(Target):
    """A game account to buy goods for."""

    account: Line = Field(description="Account in the game")
    product_id: ProductId
    quantity: Quantity = 1
    area_id: OptionalCode | None = Field(None, description="Area of the game; empty or null for none")
    server_id: OptionalCode | None = Field(None, description="Server of the game; empty or null for none")
    buyer_ip: BuyerIp = None


class DouyinTarget(Target):
    """A Douyin account to buy goods for."""

    account: Line = Field(description="Account at Douyin")
    product_id: ProductId
    quantity: Quantity = 1
    buyer_ip: BuyerIp = None


class CampusTarget(Target):
    """Packages of a campus card, which the payer then pays for."""

    user_id: Code = Field(description="User at the campus platform")
    name: Line = Field(description="Name of the payer")
    item_ids: list[Annotated[str, Field(pattern=r"^[!-+.-~\-]{1,64}$")]] = Field(
        min_length=1, max_length=50, description="The packages; a comma would split an id at the gateway"
    )
    kind: Literal["buy", "upgrade", "renew"] = Field(description="What is done with the packages")
    channel: Code = Field(description="Payment channel", examples=["wx", "alipay_wap"])
    subject: Line = Field(description="Title that the payer sees")
    body: Line = Field(description="Description that the payer sees")


class EbikeTarget(Target):
    """A finished e-bike charging session to deduct."""

    charging_token: Token = Field(description="The user's authorisation of the deduction")
    description: Line = Field(description="What the payer sees on the bill")
    started_at: Instant = Field(description="Start of the charging, RFC 3339")
    ended_at: Instant = Field(description="End of the charging, RFC 3339, not before its start")
    station_name: Line = Field(description="Name of the charging station")
    gun_number: Code = Field(description="Number of the charging gun")
    capacity: Natural = Field(description="Energy charged, sent as it is")
    park_minutes: Natural | None = Field(None, description="Overstay at the parking space, sent as it is")
    park_fee_fen: FenOrZero | None = Field(None, description="Fee of the overstay, in fen")
    device_id: Code = Field(description="Device number of the charging space")
    device_ip: IpAddress = Field(description="Address of the merchant's device")
    attach: Prose | None = Field(None, description="Data that comes back with the result")
    goods_tag: Prose | None = Field(None, description="Marketing tag")

    @field_validator("ended_at")
    @classmethod
    def _not_before_its_start(cls, value: Instant, info: ValidationInfo) -> Instant:
        started_at = info.data.get("started_at")
        if started_at is not None and value < started_at:
            raise ValueError("expected not before started_at")
        return value
