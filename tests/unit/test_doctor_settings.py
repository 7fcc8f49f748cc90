"""Settings that do not go together, each with its fix; and those that are well, of which nothing is said."""

from pathlib import Path
from typing import Any

import pytest
from support.doctor import NOTIFY, TINY, about, settings, trouble

from worker.ops.doctor.settings import check_settings

SHOP: dict[str, Any] = {
    "adapter": "wikeyun",
    "base_url": "https://router.wikeyun.cn",
    "notify_url": f"{NOTIFY}shop",
    "store_id": "1001",
    "app_key": "2002",
    "app_secret": "a-secret-of-ours",
    "no_such_order_codes": ["2002"],
    "unfunded_codes": ["2004"],
}
UNSOLD = {"routes": "warning"}


def found(path: Path, changes: dict[str, Any], **sections: Any) -> dict[str, str]:
    return trouble(list(check_settings(settings(path / "worker.toml", {"shop": SHOP | changes}, **sections))))


def test_settings_that_go_together(tmp_path: Path) -> None:
    assert found(tmp_path, {}) == UNSOLD


def test_the_summary_names_gateways_and_products(tmp_path: Path) -> None:
    given = settings(tmp_path / "worker.toml", {"shop": SHOP, "campus": TINY})
    findings = list(check_settings(given))
    assert about(findings, "configuration").detail == "gateways shop, campus; products campus, mobile, oil, power"
    assert about(findings, "routes").detail.startswith("no gateway sells game, douyin, ebike:")


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({"lease_seconds": 29, "timeout_seconds": 15}, "lease_seconds"),
        ({"settle_seconds": 14, "settle_queries": 1}, "settle_seconds"),
        ({"query_after_seconds": [5, 10, 20, 40, 60], "settle_queries": 5, "settle_seconds": 129}, "settle_queries"),
        ({"query_after_seconds": [100], "settle_queries": 3, "settle_seconds": 199}, "settle_queries"),
        ({"query_deadline_seconds": 124}, "query_deadline_seconds"),
        ({"no_such_order_codes": []}, "no_such_order_codes"),
        ({"unfunded_codes": []}, "unfunded_codes"),
        ({"refusal_codes": ["1003", "2004"]}, "refusal_codes"),
        ({"refusal_codes": ["2001"], "duplicate_codes": ["2001"]}, "refusal_codes"),
        ({"duplicate_codes": ["2004"]}, "unfunded_codes"),
        ({"trust_callbacks": True}, "trust_callbacks"),
        ({"base_url": "http://10.0.0.7:9086"}, "base_url"),
        ({"base_url": "https://gateway.example.com"}, "base_url"),
        ({"notify_url": "https://relay.shop.cn/callbacks/other"}, "notify_url"),
        ({"notify_url": "https://relay.shop.cn/"}, "notify_url"),
        ({"notify_url": "https://relay.example.com/callbacks/shop"}, "notify_url"),
        ({"notify_url": "http://127.0.0.1:8080/callbacks/shop"}, "notify_url"),
    ],
)
def test_what_does_not_go_together(changes: dict[str, Any], setting: str, tmp_path: Path) -> None:
    assert found(tmp_path, changes) == UNSOLD | {f"gateways.shop.{setting}": "warning"}


@pytest.mark.parametrize(
    "changes",
    [
        {"lease_seconds": 30, "timeout_seconds": 15},
        {"settle_seconds": 30},  # 10 and 20, after the first answer
        {"query_after_seconds": [100], "settle_queries": 3, "settle_seconds": 200},
        {"query_after_seconds": [100], "settle_queries": 1, "settle_seconds": 15},
        {"query_deadline_seconds": 125},
        {"base_url": "http://127.0.0.1:9086"},
        {"base_url": "http://localhost:9086", "notify_url": "http://127.0.0.1:8080/callbacks/shop"},
        {"base_url": "http://[::1]:9086"},
        {"notify_url": "https://proxy.shop.cn/pay/callbacks/shop"},
    ],
)
def test_what_just_goes_together(changes: dict[str, Any], tmp_path: Path) -> None:
    assert found(tmp_path, changes) == UNSOLD


def test_sizes_that_do_not_go_together(tmp_path: Path) -> None:
    assert found(tmp_path, {"concurrency": 100}, amqp={"prefetch": 199}) == UNSOLD | {"amqp.prefetch": "warning"}
    assert found(tmp_path, {"concurrency": 100}, amqp={"prefetch": 200}) == UNSOLD
    assert found(tmp_path, {}, database={"pool_size": 1}) == UNSOLD | {"database.pool_size": "warning"}
    assert found(tmp_path, {}, database={"pool_size": 2}) == UNSOLD
