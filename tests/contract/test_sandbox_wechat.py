"""The simulated WeChat Pay: what it refuses, what it signs, and how it misbehaves on demand."""

import json
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from support.wechat_merchant import CHARGE, WechatMerchant, opened, wechat_merchant

from worker.sandbox.simulators.wechat_wire import WechatSettings


@pytest.fixture(scope="module")
def keys(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Keys that all simulators of this file share: making them takes a while."""
    return tmp_path_factory.mktemp("keys")


@pytest.fixture
async def merchant(keys: Path) -> AsyncIterator[WechatMerchant]:
    async with wechat_merchant(keys) as caller:
        yield caller


# --- the good way ----------------------------------------------------------------------------------


async def test_a_deduction_is_taken_shown_and_told(merchant: WechatMerchant) -> None:
    answer = await merchant.charge(attach="north")
    assert (answer.status, answer.said["accept_state"]) == (200, "ACCEPTED")
    assert merchant.verifies(answer)

    (callback,) = await merchant.hears(1)
    assert merchant.verifies(callback)
    assert callback.said["event_type"] == "TRANSACTION.SUCCESS"
    told = opened(callback)
    assert (told["out_trade_no"], told["trade_state"], told["amount"]["total"]) == ("T1", "SUCCESS", 888)

    shown = await merchant.call("GET", f"{CHARGE}/out-trade-no/T1")
    assert merchant.verifies(shown)
    assert shown.said == told
    assert (shown.said["mchid"], shown.said["attach"]) == ("1900000001", "north")
    assert (await merchant.call("GET", f"{CHARGE}/id/{told['transaction_id']}")).said == told


async def test_everything_optional_may_be_said(keys: Path) -> None:
    async with wechat_merchant(keys, sub_mchid="1900000109", sub_appid="wx6999") as merchant:
        given = merchant.order(sub_mchid="1900000109", sub_appid="wx6999", attach="a", goods_tag="b")
        given["charge_info"] |= {"park_duration": 0, "park_fee": 0}
        assert (await merchant.call("POST", CHARGE, json.dumps(given).encode())).status == 200
        assert await merchant.state() == "PARAM_ERROR", "a query names sub_mchid too"
        shown = await merchant.call("GET", f"{CHARGE}/out-trade-no/T1?sub_mchid=1900000109")
        assert shown.said["sub_mchid"] == "1900000109"


# --- what it refuses -------------------------------------------------------------------------------


async def refused(merchant: WechatMerchant, answer: Any, status: int, code: str) -> None:
    assert (answer.status, answer.said["code"]) == (status, code)
    assert merchant.verifies(answer), "refusals are signed too"
    assert (await merchant.page("GET", "/ledger"))["totals"]["charges"] == 0


def spoilt(given: str, name: str) -> str:
    return given.replace(f'{name}="', f'{name}="0', 1)


@pytest.mark.parametrize("name", ["mchid", "nonce_str", "signature", "timestamp", "serial_no"])
async def test_an_authorization_that_is_not_right(merchant: WechatMerchant, name: str) -> None:
    body = json.dumps(merchant.order()).encode()
    given = merchant.authorization("POST", CHARGE, body)
    for wrong in (spoilt(given, name), given.replace(f"{name}=", "other="), ""):
        await refused(merchant, await merchant.call("POST", CHARGE, body, Authorization=wrong), 401, "SIGN_ERROR")


@pytest.mark.parametrize("seconds", [-302, 302])
async def test_an_old_call(merchant: WechatMerchant, seconds: int) -> None:
    body = json.dumps(merchant.order()).encode()
    given = merchant.authorization("POST", CHARGE, body, at=str(int(time.time()) + seconds))
    await refused(merchant, await merchant.call("POST", CHARGE, body, Authorization=given), 401, "SIGN_ERROR")


async def test_other_bytes_than_were_signed(merchant: WechatMerchant) -> None:
    body = json.dumps(merchant.order()).encode()
    for method, path, signed in (
        ("POST", CHARGE, body + b" "),
        ("GET", CHARGE, body),
        ("POST", CHARGE.removeprefix("/wechat"), body),
        ("POST", f"{CHARGE}?", body),
    ):
        given = merchant.authorization(method, path, signed)
        await refused(merchant, await merchant.call("POST", CHARGE, body, Authorization=given), 401, "SIGN_ERROR")


@pytest.mark.parametrize(
    "headers", [{"Accept": "*/*"}, {"User-Agent": ""}, {"Content-Type": "application/x-www-form-urlencoded"}]
)
async def test_wrong_headers(merchant: WechatMerchant, headers: dict[str, str]) -> None:
    answer = await merchant.call("POST", CHARGE, json.dumps(merchant.order()).encode(), **headers)
    await refused(merchant, answer, 400, "PARAM_ERROR")


@pytest.mark.parametrize(
    "changes",
    [{"out_trade_no": ""}, {"out_trade_no": "T.1"}, {"out_trade_no": "x" * 33}, {"out_trade_no": 1},
     {"notify_url": "ftp://x"}, {"description": None}, {"attach": ""}, {"unknown": "x"}, {"amount": 888},
     {"amount": {"total": 0}}, {"amount": {"total": "888"}}, {"amount": {"total": 8.88}}, {"amount": {"total": True}},
     {"amount": {"total": 888, "currency": "USD"}}, {"amount": {"total": 888, "fen": 1}}, {"amount": {}},
     {"charge_info": None}, {"device_info": {"device_id": "1"}}, {"device_info": {"device_id": "1", "device_ip": "x"}}],
)  # fmt: skip
async def test_a_wrong_field(merchant: WechatMerchant, changes: dict[str, Any]) -> None:
    await refused(merchant, await merchant.charge(**changes), 400, "PARAM_ERROR")


@pytest.mark.parametrize(
    "changes",
    [{"start_time": "2026-11-21T02:00:00Z"}, {"start_time": "2026-11-21T10:00:00.5+08:00"},
     {"end_time": "2026-13-21T10:00:00+08:00"}, {"end_time": "2026-11-21T09:00:00+08:00"}, {"charged_capacity": -1},
     {"charged_capacity": "10"}, {"park_fee": None}, {"charging_gun_number": ""}],
)  # fmt: skip
async def test_a_wrong_charging(merchant: WechatMerchant, changes: dict[str, Any]) -> None:
    charge_info = merchant.order()["charge_info"] | changes
    await refused(merchant, await merchant.charge(charge_info=charge_info), 400, "PARAM_ERROR")


@pytest.mark.parametrize("body", [b"{", b"[]", b'{"appid":"a","appid":"b"}', b"\xff", b"1"])
async def test_no_object(merchant: WechatMerchant, body: bytes) -> None:
    await refused(merchant, await merchant.call("POST", CHARGE, body), 400, "PARAM_ERROR")


async def test_somebody_else(merchant: WechatMerchant) -> None:
    await refused(merchant, await merchant.charge(appid="wx0"), 400, "APPID_MCHID_NOT_MATCH")
    await refused(merchant, await merchant.charge(sub_mchid="1900000109"), 403, "NO_AUTH")
    await refused(merchant, await merchant.charge(sub_appid="wx0"), 403, "NO_AUTH")


async def test_an_unknown_order_or_path(merchant: WechatMerchant) -> None:
    for path, code in (
        (f"{CHARGE}/out-trade-no/T9", "ORDER_NOT_EXIST"),
        (f"{CHARGE}/id/T9", "ORDER_NOT_EXIST"),
        ("/wechat/v3/pay/transactions", "RESOURCE_NOT_EXISTS"),
    ):
        await refused(merchant, await merchant.call("GET", path), 404, code)


async def test_a_number_is_deducted_once(merchant: WechatMerchant) -> None:
    await merchant.charge()
    again = await merchant.charge()
    assert (again.status, again.said["code"]) == (403, "OUT_TRADE_NO_USED")
    assert (await merchant.page("GET", "/ledger"))["totals"]["charges"] == 1


async def test_too_many_at_once(keys: Path) -> None:
    async with wechat_merchant(keys, charges_per_second=2) as merchant:
        answers = [await merchant.charge(f"T{number}") for number in range(3)]
        assert [answer.status for answer in answers] == [200, 200, 429]
        assert answers[2].said["code"] == "FREQUENCY_LIMITED"
        assert merchant.verifies(answers[2])
        assert await merchant.state("T2") == "ORDER_NOT_EXIST"


# --- how it misbehaves -----------------------------------------------------------------------------


@pytest.mark.parametrize("way", ["signature", "nothing", "probe", "old", "serial"])
async def test_a_forged_answer_and_callback(keys: Path, way: str) -> None:
    async with wechat_merchant(keys, forgery=way) as merchant:
        answer = await merchant.charge("T1", "30")
        assert answer.said["accept_state"] == "ACCEPTED"
        assert not merchant.verifies(answer)
        assert answer.headers.get("Wechatpay-Signature", "").startswith("WECHATPAY/SIGNTEST/") is (way == "probe")
        assert merchant.verifies((await merchant.hears(1))[0])
        await merchant.charge("T2", "26")
        _, forged, true = await merchant.hears(3)
        assert (opened(forged)["trade_state"], opened(true)["trade_state"]) == ("PAY_FAIL", "SUCCESS")
        assert (merchant.verifies(forged), merchant.verifies(true)) == (False, True)


async def test_left_to_itself_it_forges_in_every_way(merchant: WechatMerchant) -> None:
    seen = []
    for number in range(5):
        headers = (await merchant.charge(f"T{number}", "30")).headers
        seen.append((headers.get("Wechatpay-Serial"), headers.get("Wechatpay-Signature", "")[:20]))
    assert len(set(seen)) == 5


async def test_keys_rotate(merchant: WechatMerchant, keys: Path) -> None:
    first = await merchant.charge("T1")
    told = await merchant.page("POST", "/control/rotate", gateway="wechat")
    second = await merchant.charge("T2")
    assert first.headers["Wechatpay-Serial"] == "5157F09EFDC096DE15EBE81A47057A7200000001"
    assert second.headers["Wechatpay-Serial"] == told["serial"] == "PUB_KEY_ID_0119000000010000000000000001"
    assert merchant.verifies(first)
    assert merchant.verifies(second)
    assert (keys / f"{told['serial']}.pem").read_text() == told["key"]


async def test_callbacks_come_again_until_they_are_acknowledged(merchant: WechatMerchant) -> None:
    merchant.acknowledgement = 500
    await merchant.charge()
    await merchant.hears(2)
    merchant.acknowledgement = 200
    heard = len(await merchant.hears(3))
    bodies = {callback.body for callback in merchant.callbacks}
    assert len(bodies) == 1
    assert heard >= 3


async def test_a_reversal_is_told(merchant: WechatMerchant) -> None:
    await merchant.charge("T1", "19")
    heard = await merchant.hears(2)
    assert [opened(callback)["trade_state"] for callback in heard] == ["SUCCESS", "REFUND"]
    assert await merchant.state() == "REFUND"


async def test_its_keys_outlive_it_and_only_the_owner_reads_them(keys: Path) -> None:
    async with wechat_merchant(keys) as merchant:
        first = await merchant.charge()
    async with wechat_merchant(keys) as merchant:
        assert merchant.verifies(first)
        assert (await merchant.charge("T2")).status == 200
    for secret in ("apiclient_key.pem", "5157F09EFDC096DE15EBE81A47057A7200000001_private.pem"):
        assert (keys / secret).stat().st_mode & 0o777 == 0o600


def test_settings_name_what_is_wrong() -> None:
    for wrong in ({"mchid": ""}, {"apiv3_key": "short"}, {"forgery": "other"}, {"charges_per_second": -1}):
        with pytest.raises(ValueError, match=f"^{next(iter(wrong))}: expected"):
            WechatSettings(**wrong)  # type: ignore[arg-type]
    assert "sandbox-apiv3" not in repr(WechatSettings())
