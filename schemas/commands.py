"""Commands, and their answers."""

from collections.abc import Mapping
from types import MappingProxyType
from typing import Annotated, Any, Literal

from pydantic import BeforeValidator, Field, JsonValue, ValidationInfo, field_validator

from schemas.base import Code, GatewayName, Message, OrderNo, SignedFen
from schemas.events import OrderView
from schemas.targets import OilCard, PowerCard


def _card_id(value: object) -> object:
    return str(value) if isinstance(value, int) and not isinstance(value, bool) else value


Gateway = Annotated[GatewayName, Field(description="A configured gateway")]
CardId = Annotated[
    str,
    BeforeValidator(_card_id, json_schema_input_type=Annotated[int, Field(ge=0)] | Code),
    Field(pattern=r"^[!-~]{1,64}$", description="The gateway's number of the card, as text or as an integer"),
]


def _card_or(account: str) -> dict[str, Any]:
    named = [{"properties": {name: {"not": {"type": "null"}}}, "required": [name]} for name in ("card_id", account)]
    return {"anyOf": named}


class Command(Message):
    """Something asked of the worker; its answer goes to `reply_to`."""


class OrderQuery(Command):
    """Ask the gateway about an order now."""

    order_no: OrderNo = Field(description="The producer's number of the order")


class OrderCancel(Command):
    """Cancel an order: always while it was not sent, afterwards only where its gateway can."""

    order_no: OrderNo = Field(description="The producer's number of the order")


class BalanceShow(Command):
    """What is left of our money at a gateway."""

    gateway: Gateway


class PackagesList(Command):
    """What a campus user may buy."""

    gateway: Gateway
    user_id: Code = Field(description="User at the campus platform")
    kind: Literal["card", "sms"] = Field(description="Packages of the campus card, or of text messages")
    pay_kind: Literal["buy", "upgrade"] = Field(description="What the packages are wanted for")


class CardCommand(Command):
    """A command about a card at a gateway."""

    gateway: Gateway

    def card_fields(self) -> dict[str, Any]:
        """Return the card as plain JSON values, without the gateway, the kind and the gateway's card_id."""
        return self.model_dump(mode="json", exclude={"gateway", "kind", "card_id"})


class PowerCardAdd(PowerCard, CardCommand):
    """Register an electricity account at a gateway."""

    kind: Literal["power"] = Field(description="An electricity account")


class PowerCardEdit(PowerCardAdd):
    """Change an electricity account at a gateway; all its fields are given, not only the changed ones."""

    card_id: CardId | None = Field(None, description="Null: the card that the worker knows under this account_no")


class PowerCardNamed(CardCommand, json_schema_extra=_card_or("account_no")):
    """Show or delete an electricity account, named by its card_id, its account_no or both."""

    kind: Literal["power"] = Field(description="An electricity account")
    account_no: Code | None = Field(None, description="Account number at the grid company")
    card_id: CardId | None = Field(None, validate_default=True, description="Required where account_no is not given")

    @field_validator("card_id")
    @classmethod
    def _one_is_given(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None and info.data.get("account_no", "") is None:
            raise ValueError("required where account_no is not given")
        return value


class OilCardAdd(OilCard, CardCommand):
    """Register a fuel card at a gateway."""

    kind: Literal["oil"] = Field(description="A fuel card")


class OilCardEdit(OilCardAdd):
    """Change a fuel card at a gateway; all its fields are given, not only the changed ones."""

    card_id: CardId | None = Field(None, description="Null: the card that the worker knows under this card_no")


class OilCardNamed(CardCommand, json_schema_extra=_card_or("card_no")):
    """Show or delete a fuel card, named by its card_id, its card_no or both."""

    kind: Literal["oil"] = Field(description="A fuel card")
    card_no: Code | None = Field(None, description="Number of the fuel card")
    card_id: CardId | None = Field(None, validate_default=True, description="Required where card_no is not given")

    @field_validator("card_id")
    @classmethod
    def _one_is_given(cls, value: str | None, info: ValidationInfo) -> str | None:
        if value is None and info.data.get("card_no", "") is None:
            raise ValueError("required where card_no is not given")
        return value


Kinds = Mapping[str, type[Command]]
COMMANDS: Mapping[str, type[Command] | Kinds] = MappingProxyType(
    {
        "order.query": OrderQuery,
        "order.cancel": OrderCancel,
        "card.add": MappingProxyType({"power": PowerCardAdd, "oil": OilCardAdd}),
        "card.edit": MappingProxyType({"power": PowerCardEdit, "oil": OilCardEdit}),
        "card.delete": MappingProxyType({"power": PowerCardNamed, "oil": OilCardNamed}),
        "card.show": MappingProxyType({"power": PowerCardNamed, "oil": OilCardNamed}),
        "balance.show": BalanceShow,
        "packages.list": PackagesList,
    }
)
"""The model of each command by its name; of the card commands, by their `kind` as well."""


class CommandError(Message):
    """Why a command was not carried out, for programs and for people."""

    code: Literal[
        "invalid_command", "unknown_order", "unknown_gateway", "not_supported", "refused", "timeout", "unavailable"
    ] = Field(description="A stable code")
    message: str = Field(description="One masked line")


class Refused(Message):
    """The answer to a command that was not carried out."""

    ok: Literal[False] = Field(description="Whether the command was carried out")
    error: CommandError = Field(description="Why it was not")


class Balance(Message):
    """What is left of our money at a gateway."""

    balance_fen: SignedFen = Field(description="In fen; below zero where the gateway grants credit")


class Done(Message):
    """The answer to a command that was carried out."""

    ok: Literal[True] = Field(description="Whether the command was carried out")


class OrderAnswer(Done):
    """Where the order stands now."""

    data: OrderView = Field(description="The order's state, without its journal")


class BalanceAnswer(Done):
    """The balance."""

    data: Balance = Field(description="What is left of our money")


class GatewayAnswer(Done):
    """What a gateway said about a card or its packages."""

    data: dict[str, JsonValue] = Field(description="The card or the packages as the gateway describes them")


ANSWERS: Mapping[str, type[Done]] = MappingProxyType(
    {
        "order.query": OrderAnswer,
        "order.cancel": OrderAnswer,
        "card.add": GatewayAnswer,
        "card.edit": GatewayAnswer,
        "card.delete": GatewayAnswer,
        "card.show": GatewayAnswer,
        "balance.show": BalanceAnswer,
        "packages.list": GatewayAnswer,
    }
)
"""The answer of each command that was carried out; every other answer is `Refused`."""
