"""dingyin: electricity of both grids' fields, games, Douyin."""

from pathlib import Path
from typing import Any

from support.house import House, Sample


def settings(_directory: Path) -> dict[str, Any]:
    """Return an account that the simulator knows."""
    return {"userid": "10086", "key": "canary-dingyin-key"}


def simulated(_directory: Path) -> dict[str, Any]:
    """Return the simulator's key."""
    return {"key": "canary-dingyin-key"}


HOUSE = House(
    simulator="dingyin",
    settings=settings,
    simulated=simulated,
    samples={
        "power": Sample(
            amount_fen=20_000,
            target={
                "account_no": "4401061990010",
                "province": "广东省",
                "city": "广州市",
                "grid": "southern",
                "phone": "13911112222",
                "holder_id": "440106199001011234",
            },
            canaries=("13911112222", "440106199001011234", "011234"),
        ),
        "game": Sample(
            amount_fen=10_000,
            target={"account": "13590101510", "product_id": "3312", "buyer_ip": "203.0.113.77"},
            canaries=("203.0.113.77",),
        ),
        "douyin": Sample(
            amount_fen=20_000,
            target={"account": "douyin-0000000", "product_id": "880", "quantity": 2, "buyer_ip": "203.0.113.77"},
            canaries=("203.0.113.77",),
        ),
    },
)
