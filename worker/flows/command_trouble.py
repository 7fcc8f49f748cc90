"""What commands share: why one is not carried out, and whose turn it is to call a gateway for one."""

import asyncio
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

    from worker.gateways.gateway import Gateway

SHARE = 8
"""One in so many of a gateway's calls at once may be for a command: orders come first."""


class RefusedCommandError(Exception):
    """A command that is not carried out; `code` and `message` (masked) are its answer's."""

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}: {message}")
        self.code = code
        self.message = message


def no_answer(code: str, message: str) -> RefusedCommandError:
    """Return how a call to a gateway failed: `timeout`, or `unavailable` for everything else."""
    return RefusedCommandError("timeout" if code == "timeout" else "unavailable", message)


class Turns:
    """Lets only a few commands call the same gateway at once."""

    def __init__(self, gateways: "Mapping[str, Gateway]") -> None:
        self._turns = {
            name: asyncio.Semaphore(max(1, gateway.adapter.settings.concurrency // SHARE))
            for name, gateway in gateways.items()
        }

    def of(self, gateway: "Gateway") -> asyncio.Semaphore:
        """Return what is to be held during a call."""
        return self._turns[gateway.name]
