"""WeChat Pay: the simulator makes the keys, and leaves them where the settings are made."""

from pathlib import Path
from typing import Any

from support.house import House, Sample

APIV3_KEY = "canary-apiv3-key-0123456789abcde"


def settings(directory: Path) -> dict[str, Any]:
    """Return an account that the simulator knows, with every key that it may sign with."""
    own, shown = "apiclient_key.pem", [path for path in directory.glob("*.pem") if not path.stem.endswith("_private")]
    return {
        "mchid": "1900000001",
        "appid": "wxd678efh567hg678",
        "serial_no": "1DDE55AD98ED71D6EDD4A4A16996DE7B47773A8C",
        "private_key": (directory / own).read_text(),
        "apiv3_key": APIV3_KEY,
        "platform_keys": {path.stem: path.read_text() for path in shown if path.name != own},
    }


def simulated(directory: Path) -> dict[str, Any]:
    """Return where the keys are."""
    return {"keys": str(directory), "apiv3_key": APIV3_KEY}


HOUSE = House(
    simulator="wechat",
    settings=settings,
    simulated=simulated,
    samples={
        "ebike": Sample(
            amount_fen=888,
            target={
                "charging_token": "sdjf23kdsHJfdk000000",
                "description": "充电",
                "started_at": "2026-11-21T10:00:00+08:00",
                "ended_at": "2026-11-21T12:00:00+08:00",
                "station_name": "北门",
                "gun_number": "6555",
                "capacity": 10,
                "device_id": "canary-device-12343232",
                "device_ip": "203.0.113.77",
            },
            canaries=("canary-device-12343232", "203.0.113.77"),
        ),
    },
)
