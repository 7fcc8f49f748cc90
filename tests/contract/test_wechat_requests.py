"""wechat_ebike: its requests, byte for byte, and their signatures as openssl judges them."""

import json
import re
import subprocess
from base64 import b64decode
from pathlib import Path

import pytest
from support.wechat import MERCHANT_SERIAL, NONCE, NOW, NUMBER, TOKEN, adapter, order, public_pem

from worker.gateways.base import Request

AUTHORIZATION = re.compile(
    r'WECHATPAY2-SHA256-RSA2048 mchid="(?P<mchid>[^"]*)",nonce_str="(?P<nonce>[^"]*)",signature="(?P<signature>[^"]*)",'
    r'timestamp="(?P<timestamp>[^"]*)",serial_no="(?P<serial>[^"]*)"'
)


def authorization(request: Request) -> dict[str, str]:
    assert request.headers is not None
    found = AUTHORIZATION.fullmatch(request.headers["Authorization"])
    assert found is not None
    return found.groupdict()


def check(request: Request, message: bytes, directory: Path) -> None:
    """Let openssl verify that the merchant signed `message`."""
    (directory / "key").write_text(public_pem("merchant"))
    (directory / "signature").write_bytes(b64decode(authorization(request)["signature"], validate=True))
    command = ["openssl", "dgst", "-sha256", "-verify", directory / "key", "-signature", directory / "signature"]
    judged = subprocess.run(command, input=message, capture_output=True, check=False)
    assert judged.stdout == b"Verified OK\n", judged.stderr


def test_a_deduction(tmp_path: Path) -> None:
    request = next(adapter().submit(order(), NOW))
    assert (request.operation, request.method, request.moves_money) == ("charge", "POST", True)
    assert request.url == "https://api.mch.weixin.qq.com/v3/ebike/charge/transactions"
    assert request.content_type == "application/json"
    assert request.headers is not None
    assert request.headers["Accept"] == "application/json"
    assert json.loads(request.body) == {
        "appid": "wxd678efh567hg678",
        "out_trade_no": NUMBER,
        "notify_url": "https://relay.example.com/callbacks/ebike",
        "description": "充电 & <bill>",
        "charging_token": TOKEN,
        "amount": {"total": 888, "currency": "CNY"},
        "charge_info": {
            "start_time": "2026-11-21T10:00:00+08:00",
            "end_time": "2026-11-21T11:59:59+08:00",
            "charging_station_name": "North gate",
            "charging_gun_number": "6555",
            "charged_capacity": 10,
        },
        "device_info": {"device_id": "12343232", "device_ip": "192.0.2.7"},
    }, "what is empty is left out"
    given = authorization(request)
    assert (given["mchid"], given["serial"]) == ("1900000001", MERCHANT_SERIAL)
    assert (given["nonce"], given["timestamp"]) == (NONCE, "1795262400")
    head = f"POST\n/v3/ebike/charge/transactions\n1795262400\n{NONCE}\n".encode()
    check(request, head + request.body + b"\n", tmp_path)


def test_everything_that_can_be_said() -> None:
    given = order(park_minutes=0, park_fee_fen=0, attach="自定义", goods_tag="test")
    body = json.loads(next(adapter(sub_mchid="1900000109", sub_appid="wx6999").submit(given, NOW)).body)
    assert (body["sub_mchid"], body["sub_appid"]) == ("1900000109", "wx6999")
    assert (body["attach"], body["goods_tag"]) == ("自定义", "test")
    assert (body["charge_info"]["park_duration"], body["charge_info"]["park_fee"]) == (0, 0), "nothing is a number too"


def test_a_later_attempt_has_its_own_number() -> None:
    later = order(attempt=2)
    assert json.loads(next(adapter().submit(later, NOW)).body)["out_trade_no"] == f"{NUMBER}R2"
    assert next(adapter().query(later, NOW)).url.endswith(f"/out-trade-no/{NUMBER}R2")


@pytest.mark.parametrize(("sub_mchid", "query"), [("", ""), ("1900000109", "?sub_mchid=1900000109")])
def test_a_query(sub_mchid: str, query: str, tmp_path: Path) -> None:
    request = next(adapter(sub_mchid=sub_mchid).query(order(), NOW))
    assert (request.operation, request.method, request.moves_money) == ("query", "GET", False)
    assert (request.body, request.content_type) == (b"", None)
    path = f"/v3/ebike/charge/transactions/out-trade-no/{NUMBER}{query}"
    assert request.url == f"https://api.mch.weixin.qq.com{path}"
    check(request, f"GET\n{path}\n1795262400\n{NONCE}\n\n".encode(), tmp_path)


def test_the_whole_path_is_signed(tmp_path: Path) -> None:
    request = next(adapter(base_url="http://127.0.0.1:9/wechat/").query(order(), NOW))
    path = f"/wechat/v3/ebike/charge/transactions/out-trade-no/{NUMBER}"
    assert request.url == f"http://127.0.0.1:9{path}"
    check(request, f"GET\n{path}\n1795262400\n{NONCE}\n\n".encode(), tmp_path)


def test_no_two_requests_have_the_same_nonce() -> None:
    own = type(adapter())("ebike", adapter().settings)
    nonces = {authorization(next(own.query(order(), NOW)))["nonce"] for _ in range(50)}
    assert len(nonces) == 50
    assert all(re.fullmatch(r"[0-9a-f]{32}", nonce) for nonce in nonces)


def test_it_keeps_no_balance_and_cancels_nothing() -> None:
    assert adapter().balance(NOW) is None
    assert adapter().cancel(order(), NOW) is None


def test_the_operator_hears_that_the_service_is_no_more() -> None:
    (notice,) = adapter().notices()
    assert "2019-12-16" in notice
