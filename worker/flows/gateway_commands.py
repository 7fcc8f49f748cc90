"""Commands about a gateway itself: its balance, the cards that it keeps for us, what it sells."""

from typing import TYPE_CHECKING, Any

from schemas.commands import BalanceShow, CardCommand, Command, PackagesList
from worker.flows.command_trouble import RefusedCommandError, Turns, no_answer
from worker.gateways.base import RefusedError
from worker.gateways.gateway import GatewayUnavailableError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.gateways.cards import CardAction
    from worker.gateways.gateway import Gateway
    from worker.ledger.ledger import Ledger

_ACTIONS: "Mapping[str, CardAction]" = {
    "card.add": "add",
    "card.edit": "edit",
    "card.delete": "delete",
    "card.show": "show",
}
_DATABASE_AWAY = "database_away"


class GatewayCommands:
    """Asks gateways for what is no order. Everything may be asked twice: a card that is there is not added again."""

    def __init__(self, ledger: "Ledger", turns: Turns) -> None:
        self._ledger = ledger
        self._turns = turns

    async def carry_out(self, name: str, command: Command, gateway: "Gateway") -> dict[str, Any]:
        """Return the answer's data.

        Raises:
            RefusedCommandError: the gateway cannot do that, says no, or gave no readable answer.
            ConnectionError: the database is away, where the cards are known.
        """
        try:
            async with self._turns.of(gateway):
                return await self._ask(name, command, gateway)
        except RefusedError as error:
            raise RefusedCommandError("refused", str(error)) from None
        except GatewayUnavailableError as error:
            if error.code == _DATABASE_AWAY:
                raise ConnectionError(error.message) from None
            if error.code == "not_supported":
                raise RefusedCommandError(error.code, f"{gateway.name}: {error.message}") from None
            raise no_answer(error.code, str(error)) from None

    async def _ask(self, name: str, command: Command, gateway: "Gateway") -> dict[str, Any]:
        now = self._ledger.now()
        match command:
            case BalanceShow():
                return {"balance_fen": await gateway.balance(now)}
            case PackagesList(user_id=user_id, kind=kind, pay_kind=pay_kind):
                return dict(await gateway.packages(user_id, kind, pay_kind, now))
            case CardCommand():
                fields = command.model_dump(mode="json", exclude={"gateway"})
                kind, card_id = fields.pop("kind"), fields.pop("card_id", None)
                return await gateway.card(_ACTIONS[name], kind, fields, card_id, now)
        raise RefusedCommandError("not_supported", f"{gateway.name} cannot do that")
