"""How the demo's worker and its sandbox are set up for each other.

Everything that takes minutes or hours in production takes seconds here. The sandbox stays below what the worker waits
for: "no such order" holds shorter than the settling, an answer that is slow comes before the time-out, and one that is
late comes after it. A gateway is called here as its simulator is.
"""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from worker.demo.wares import PIECE_FEN

ROUTES: Mapping[str, list[str]] = {"power": ["wikeyun", "dingyin"]}
"""Where more than one gateway sells a product: the second gets what the first has refused for good."""

_PAY_SECONDS = 15
_APIV3_KEY = "demo-apiv3-key-demo-apiv3-key-00"
_PATIENCE: Mapping[str, Any] = {
    "timeout_seconds": 2.0,
    "lease_seconds": 6.0,
    "query_after_seconds": [0.5, 1.0, 2.0, 3.0],
    "settle_seconds": 4.0,
    "settle_queries": 3,
}
_OWN: Mapping[str, Mapping[str, Any]] = {
    "wikeyun": {
        "adapter": "wikeyun",
        "store_id": "1001",
        "app_key": "2002",
        "app_secret": "sandbox-secret",
        # what the simulator refuses with, before it charges
        "refusal_codes": [*(str(code) for code in range(1001, 1011)), "2000", "2003", "2005", "2006"],
        "unfunded_codes": ["2004"],
        "no_such_order_codes": ["2002"],
        "duplicate_codes": ["2001"],
    },
    "dingyin": {"adapter": "dingyin", "userid": "10086", "key": "sandbox-key"},
    "zjzdy": {"adapter": "zjzdy", "payment_grace_seconds": 1.0},
    "wechat": {
        "adapter": "wechat_ebike",
        "mchid": "1900000001",
        "appid": "wxd678efh567hg678",
        "serial_no": "1DDE55AD98ED71D6EDD4A4A16996DE7B47773A8C",
        "apiv3_key": _APIV3_KEY,
    },
}
GATEWAYS = tuple(_OWN)
"""The gateways, by name."""

_NO_CALLBACKS = frozenset({"zjzdy"})
_MERCHANT_KEY = "apiclient_key.pem"


def sandbox_options(keys: Path, fault_rate: float, seed: int) -> dict[str, Any]:
    """Return the options of `worker sandbox`, which leaves WeChat Pay's keys in the directory `keys`."""
    own = {
        "dingyin.piece_fen": PIECE_FEN,
        "zjzdy.payer": "asked",  # the demo's own payer, who hears the worker's events
        "zjzdy.pay_seconds": _PAY_SECONDS,
        "wechat.keys": keys,
        "wechat.apiv3_key": _APIV3_KEY,
    }
    return {
        "answer_latency": 0.15,
        "settle_after": 1.0,
        "late_seconds": 4.0,
        "slow_seconds": 0.8,
        "absent_seconds": 2.0,
        "unlisted_seconds": 2.0,
        "endings": False,  # only what `fault_rate` draws: no fault that can end only in review
        "fault_rate": fault_rate,
        "seed": seed,
        "set": [f"{name}={value}" for name, value in own.items()],
    }


def tables(sandbox_url: str, relay_url: str, keys: Path) -> dict[str, dict[str, Any]]:
    """Return the worker's settings of every gateway, by section, with the keys that a started sandbox has left."""
    made = {}
    for name, own in _OWN.items():
        made[f"gateways.{name}"] = {**own, **_PATIENCE, "base_url": f"{sandbox_url}/{name}"}
        if name not in _NO_CALLBACKS:
            made[f"gateways.{name}"]["notify_url"] = f"{relay_url}/callbacks/{name}"
    shown = [path for path in sorted(keys.glob("*.pem")) if not path.stem.endswith("_private")]
    made["gateways.wechat"] |= {
        "private_key": {"file": str(keys / _MERCHANT_KEY)},
        "platform_keys": {path.stem: {"file": str(path)} for path in shown if path.name != _MERCHANT_KEY},
    }
    return made
