"""wikeyun, whose codes no document lists: they are settings."""

from pathlib import Path
from typing import Any

from support.house import House, Sample


def settings(_directory: Path) -> dict[str, Any]:
    """Return an account that the simulator knows."""
    return {"store_id": "1001", "app_key": "2002", "app_secret": "canary-app-secret"}


def simulated(_directory: Path) -> dict[str, Any]:
    """Return the simulator's secret."""
    return {"app_secret": "canary-app-secret"}


HOUSE = House(
    simulator="wikeyun",
    settings=settings,
    simulated=simulated,
    codes={
        "refusal_codes": ["2006"],
        "no_such_order_codes": ["2002"],
        "duplicate_codes": ["2001"],
        "unfunded_codes": ["2004"],
    },
    samples={
        "mobile": Sample(amount_fen=10_000, target={"mobile": "13800138000"}),
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
        "oil": Sample(
            amount_fen=50_000,
            target={
                "card_no": "1000111100012345678",
                "company": "sinopec",
                "name": "欧阳镕喆",
                "phone": "13911112222",
                "id_number": "320106199001015678",
            },
            canaries=("欧阳镕喆", "13911112222", "320106199001015678", "015678"),
        ),
    },
)
