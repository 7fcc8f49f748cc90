"""The wikeyun simulator is strict at the door: signatures, parameters, paths and methods."""

import hashlib
import time
from types import SimpleNamespace
from typing import Any
from urllib.parse import quote

import pytest
from support.merchant import PUSH, QUERY, Merchant, sandbox
from yarl import URL

from worker.sandbox.simulators import wikeyun_wire

VECTOR = (
    "sandbox-secretapp_key2002changeclient127.0.0.1formatjsonmobile13800138000money100"
    "notify_urlhttp://127.0.0.1:9/回?a=1&b=2order_noT-1recharge_type1store_id1001timestamp1795000000v1.0sandbox-secret"
)
VECTOR_SIGN = "652B92C7CB2558D4CFAEF060C6E5C6E9"  # by md5sum over the line above


async def test_a_vector_signed_by_hand_is_taken(merchant: Merchant, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wikeyun_wire, "time", SimpleNamespace(time=lambda: 1_795_000_599.0))
    assert hashlib.md5(VECTOR.encode()).hexdigest().upper() == VECTOR_SIGN  # noqa: S324 - the gateway's rule
    url = URL(
        f"{merchant.base}/wikeyun{PUSH}?v=1.0&format=json&app_key=2002&timestamp=1795000000"
        f"&client=127.0.0.1&sign={VECTOR_SIGN}",
        encoded=True,
    )
    notify = quote("http://127.0.0.1:9/回?a=1&b=2", safe="")
    form = f"order_no=T-1&mobile=13800138000&change=&money=100&recharge_type=1&store_id=1001&notify_url={notify}"
    kind = {"Content-Type": "application/x-www-form-urlencoded"}

    async def code(body: str, query: URL = url) -> str:
        async with merchant.http.post(query, data=body.encode(), headers=kind) as answer:
            return str((await answer.json(content_type=None))["code"])

    assert await code(form.replace("money=100", "money=200")) == "1004"  # a value that was not signed
    assert await code(form.replace("change=&", "")) == "1004"  # signed as a bare key, then not sent
    assert await code(form.replace("T-1", "T%2D1&money=100")) == "1010"  # given twice
    assert await code(form.replace("T-1", "T%2")) == "1010"
    assert await code(form.replace("T-1", "%FF")) == "1010"
    assert await code(form.replace("T-1", "回")) == "1010"  # raw bytes
    assert await code(form, URL(str(url).replace(VECTOR_SIGN, VECTOR_SIGN.lower()), encoded=True)) == "1004"
    assert (await merchant.page("/ledger"))["orders"] == []
    assert await code(form.replace("T-1", "%54%2D1")) == "0000"  # the decoded value is what is signed


@pytest.mark.parametrize(
    ("system", "code"),
    [
        ({"app_key": None}, "1003"),
        ({"app_key": ""}, "1003"),
        ({"app_key": "2003"}, "1006"),
        ({"timestamp": None}, "1005"),
        ({"client": None}, "1005"),
        ({"client": "localhost"}, "1005"),
        ({"format": "xml"}, "1005"),
        ({"v": "2.0"}, "1005"),
        ({"v": None}, "1005"),
        ({"timestamp": "now"}, "1005"),
        ({"timestamp": str(int(time.time()) - 7000)}, "1007"),
        ({"timestamp": str(int(time.time()) + 7000)}, "1007"),
        ({"sign": ""}, "1005"),
        ({"sign": "0" * 32}, "1004"),
        ({"order_no": "T1"}, "1008"),
    ],
)
async def test_a_wrong_system_parameter_is_refused(merchant: Merchant, system: dict[str, Any], code: str) -> None:
    assert (await merchant.call(PUSH, merchant.order(), system=system))["code"] == code
    assert (await merchant.page("/ledger"))["orders"] == []


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"money": "30"}, "2003"),
        ({"money": "100.0"}, "2003"),
        ({"money": "-50"}, "2003"),
        ({"money": "1e2"}, "2003"),
        ({"mobile": "12345678901"}, "2005"),
        ({"mobile": "1380013800"}, "2005"),
        ({"mobile": "１3800138000"}, "2005"),  # noqa: RUF001 - a full-width digit is the point
        ({"mobile": ""}, "1009"),
        ({"order_no": "T 1"}, "2000"),
        ({"order_no": "T" * 33}, "2000"),
        ({"recharge_type": "2"}, "2000"),
        ({"notify_url": "ftp://x/"}, "2000"),
        ({"change": "yes"}, "2000"),
        ({"store_id": "1003"}, "2000"),
        ({"amount": "100"}, "1008"),
        ({"client": "127.0.0.1"}, "1008"),  # a system parameter's place is the query string
    ],
)
async def test_a_wrong_business_parameter_is_refused(merchant: Merchant, change: dict[str, str], code: str) -> None:
    assert (await merchant.call(PUSH, merchant.order(**change)))["code"] == code
    assert (await merchant.page("/ledger"))["orders"] == []


@pytest.mark.parametrize("name", ["store_id", "mobile", "order_no", "money", "recharge_type", "notify_url"])
async def test_a_missing_parameter_is_refused(merchant: Merchant, name: str) -> None:
    order = merchant.order()
    del order[name]
    assert (await merchant.call(PUSH, order))["code"] == "1009"


async def test_path_method_content_type_and_signing_with_another_secret(merchant: Merchant) -> None:
    order = merchant.order()
    assert (await merchant.call("/rest/recharge/pushOrder", order))["code"] == "1001"
    assert (await merchant.call(PUSH + "/", order))["code"] == "1001"
    assert (await merchant.call(PUSH, order, method="PUT"))["code"] == "1002"
    assert (await merchant.call(PUSH, order, headers={"Content-Type": "application/json"}))["code"] == "1002"
    gbk = {"Content-Type": "application/x-www-form-urlencoded; charset=gbk"}
    assert (await merchant.call(PUSH, order, headers=gbk))["code"] == "1002"
    async with sandbox(simulators={"wikeyun": {"app_secret": "another"}}) as other:
        assert (await other.push())["code"] == "1004"
    async with sandbox(simulators={"wikeyun": {"mobile_amounts": ()}}) as any_amount:
        assert (await any_amount.push(money="7"))["code"] == "0000"


async def test_queries_name_one_order(merchant: Merchant) -> None:
    number = (await merchant.push())["data"]["order_number"]
    await merchant.push("T2")
    assert (await merchant.call(QUERY, {}))["code"] == "2000"
    assert (await merchant.call(QUERY, {"order_no": "T9"}))["code"] == "2002"
    assert (await merchant.call(QUERY, {"order_number": "T1"}))["code"] == "2002"
    assert (await merchant.call(QUERY, {"order_number": number, "order_no": "T1"}))["code"] == "0000"
    assert (await merchant.call(QUERY, {"order_number": number, "order_no": "T2"}))["code"] == "2002"
