"""zjzdy, which signs nothing, and whose payer pays by himself."""

from pathlib import Path
from typing import Any

from support.house import House, Sample


def settings(_directory: Path) -> dict[str, Any]:
    """Return the header that the deployment wants."""
    return {"headers": {"X-Token": "canary-campus-token"}, "payment_seconds": 60}


def simulated(_directory: Path) -> dict[str, Any]:
    """Return the same header."""
    return {"header": "X-Token: canary-campus-token"}


HOUSE = House(
    simulator="zjzdy",
    settings=settings,
    simulated=simulated,
    samples={
        "campus": Sample(
            amount_fen=18_800,
            target={
                "user_id": "73129580",  # begins as no number does that may be shown
                "name": "欧阳雅诺",
                "item_ids": ["10000002"],
                "kind": "buy",
                "channel": "alipay_wap",
                "subject": "校园卡",
                "body": "一年的费用",
            },
            canaries=("欧阳雅诺",),
        ),
    },
)
