"""The simulated zjzdy: a strict reader, charges that cost nothing before somebody pays, and a payer with habits."""

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from support.merchant import Merchant, eventually, sandbox

BILL = {
    "channel": "wx", "subject": "智慧校园一卡通", "body": "套餐B", "amount": 18800, "userID": "10129500",
    "empName": "陈雅诺", "itemIDs": "10000002", "type": 0,
}  # fmt: skip


class Campus:
    """A merchant of the simulated zjzdy."""

    def __init__(self, merchant: Merchant) -> None:
        self._merchant = merchant

    async def call(self, name: str, body: object, expect: int = 200, **request: Any) -> dict[str, Any]:
        """Make a call; what is not an object is sent as it is."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"Content-Type": "application/json"} | request.pop("headers", {})
        url = f"{self._merchant.base}/zjzdy/api/Pay/{name}"
        method = request.pop("method", "POST")
        async with self._merchant.http.request(method, url, data=data, headers=headers, **request) as answer:
            assert answer.status == expect
            return dict(json.loads(await answer.read())) if expect == 200 else {}

    async def pay(self, **changes: Any) -> dict[str, Any]:
        """Make a charge; return `data` of the answer."""
        answer = await self.call("PayMoney", BILL | changes)
        assert answer["error"] == 0, answer
        return dict(answer["data"])

    async def data(self, ids: str) -> Any:
        """Return what is shown of a charge; None: it is not paid."""
        return (await self.call("SearchSuccessData", {"ids": ids})).get("data")

    async def be_payer(self, ids: str, **how: Any) -> dict[str, Any]:
        """Pay."""
        return await self._merchant.page("/zjzdy/payer", "POST", json={"record_ids": ids} | how)

    async def user(self, user_id: str = "10129500") -> dict[str, int]:
        """Return how often a user was charged, and paid."""
        found: dict[str, int] = (await self._merchant.page("/zjzdy/payer"))["users"][user_id]
        return found

    async def comes(self, ids: str) -> Any:
        """Wait until a charge is paid."""

        async def paid() -> bool:
            return bool(await self.data(ids))

        await eventually(paid)
        return await self.data(ids)


@pytest.fixture
async def campus() -> AsyncIterator[Campus]:
    async with sandbox(payer_late_seconds=0.5) as merchant:
        yield Campus(merchant)


@asynccontextmanager
async def asked(**settings: Any) -> AsyncIterator[tuple[Merchant, Campus]]:
    async with sandbox(simulators={"zjzdy": {"payer": "asked"} | settings}) as merchant:
        yield merchant, Campus(merchant)


async def test_a_charge_is_paid_by_himself(campus: Campus) -> None:
    data = await campus.pay()
    charge = data["chargeData"]["charge"]
    assert (charge["amount"], charge["currency"], charge["channel"], charge["paid"]) == (18_800, "cny", "wx", False)
    assert charge["time_expire"] == pytest.approx(time.time() + 86_400, abs=5)
    assert charge["credential"]["wx"]["sign"]
    shown = await campus.comes(data["recordIDs"])
    assert (shown["projectName"], shown["empName"]) == ("智慧校园一卡通", "陈雅诺")
    assert shown["payStartDate"] < shown["payEndDate"]
    assert await campus.user() == {"charges_made": 1, "paid": 1, "paid_fen": 18_800}


async def test_an_unpaid_charge_is_shown_in_both_ways_of_the_document() -> None:
    async with asked() as (_, campus):
        ids = (await campus.pay())["recordIDs"]
        answers = [await campus.call("SearchSuccessData", {"ids": ids}) for _ in range(2)]
        assert [answer["error"] for answer in answers] == [1, 0]
        assert "data" not in answers[1]
        assert (await campus.user())["paid"] == 0


async def test_several_packages_have_a_record_each(campus: Campus) -> None:
    ids = (await campus.pay(itemIDs="10000001,10000002"))["recordIDs"]
    assert len(ids.split(",")) == 2
    assert [row["itemName"] for row in await campus.comes(ids)] == ["套餐10000001", "套餐10000002"]
    assert await campus.data(ids.split(",")[0]) is None, "not by one of them"


async def test_a_payer_who_pays_late_and_one_who_never_does(campus: Campus) -> None:
    never = (await campus.pay(userID="10129533"))["recordIDs"]
    late = (await campus.pay(userID="10129532"))["recordIDs"]
    await campus.comes((await campus.pay())["recordIDs"])
    assert await campus.data(late) is None
    assert await campus.comes(late)
    assert await campus.data(never) is None


async def test_a_credential_that_reached_nobody_is_not_paid_and_the_call_may_be_repeated(campus: Campus) -> None:
    await campus.call("PayMoney", BILL | {"userID": "10129504"}, expect=500)
    again = (await campus.pay(userID="10129504"))["recordIDs"]
    await campus.comes(again)
    assert await campus.user("10129504") == {"charges_made": 2, "paid": 1, "paid_fen": 18_800}


async def test_a_charge_that_its_merchant_forgot_is_not_paid(campus: Campus) -> None:
    """It got the answer whole, and died: nobody was told of the credential."""
    await campus.pay()
    kept = (await campus.pay(userID="10129581"))["recordIDs"]
    await campus.comes(kept)
    assert await campus.user() == {"charges_made": 1, "paid": 0, "paid_fen": 0}


async def test_the_payer_of_two_credentials_is_charged_twice_and_the_ledger_shows_it() -> None:
    async with asked() as (merchant, campus):
        first, second = [(await campus.pay())["recordIDs"] for _ in range(2)]
        assert first != second
        for ids in (first, second):
            assert (await campus.be_payer(ids))["paid"]
        assert await campus.user() == {"charges_made": 2, "paid": 2, "paid_fen": 37_600}
        assert (await merchant.page("/ledger", params={"gateway": "zjzdy"}))["totals"]["charged_fen"] == 37_600
        assert (await campus.be_payer(first))["why"] == "it is succeeded"


async def test_a_charge_whose_time_is_over_is_paid_only_anyway_and_shows_when_it_does() -> None:
    async with asked(pay_seconds=1, shows_after=0.5) as (_, campus):
        ids = (await campus.pay())["recordIDs"]
        assert (await campus.be_payer("0" * 22))["why"] == "no such charge"
        await asyncio.sleep(1)
        assert (await campus.be_payer(ids))["why"] == "its time is over"
        assert (await campus.be_payer(ids, anyway=True))["paid"]
        assert await campus.data(ids) is None, "not yet"
        assert await campus.comes(ids)


@pytest.mark.parametrize(
    "changed",
    [{"amount": 0}, {"amount": -1}, {"amount": 1.0}, {"amount": "100"}, {"amount": True}, {"amount": None},
     {"type": 3}, {"type": "0"}, {"type": False}, {"channel": "WX"}, {"subject": ""}, {"body": 1}, {"userID": 1},
     {"userID": "用户"}, {"empName": None}, {"itemIDs": "1,,2"}, {"itemIDs": ["1"]}, {"order_no": "T1"}],
)  # fmt: skip
async def test_what_it_does_not_take(campus: Campus, changed: dict[str, Any]) -> None:
    answer = await campus.call("PayMoney", BILL | changed)
    assert answer["error"] == 1
    assert next(iter(changed)) in answer["message"]


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"amount=1", b'{"ids":"1","ids":"2"}', b"\xff"])
async def test_what_it_cannot_read(campus: Campus, body: bytes) -> None:
    assert (await campus.call("SearchSuccessData", body))["error"] == 1


async def test_the_form_of_the_document_s_example_is_not_that_of_its_table(campus: Campus) -> None:
    answer = await campus.call("SearchSuccessData", {"userID": "10129580", "orderNumber": "123456789"})
    assert answer["error"] == 1


async def test_what_is_no_call_of_it(campus: Campus) -> None:
    await campus.call("PayMoney", BILL, 405, method="PUT")
    await campus.call("PayMoney", BILL, 415, headers={"Content-Type": "application/x-www-form-urlencoded"})
    await campus.call("Refund", BILL, 404)


@pytest.mark.parametrize(("amount", "fen"), [("0.01", 1), ("158", 15_800), ("158.50", 15_850)])
async def test_yuan_where_the_deployment_wants_them(amount: str, fen: int) -> None:
    async with asked(amount_unit="yuan") as (_, campus):
        raw = json.dumps(BILL).replace("18800", amount).encode()
        charge = (await campus.call("PayMoney", raw))["data"]["chargeData"]["charge"]
        assert charge["amount"] == fen
        assert (await campus.call("PayMoney", raw.replace(amount.encode(), b"0.001")))["error"] == 1


async def test_a_header_that_the_deployment_wants() -> None:
    async with asked(header="X-Token: canary") as (_, campus):
        assert (await campus.call("PayMoney", BILL))["error"] == 1
        assert (await campus.call("PayMoney", BILL, headers={"X-Token": "canary"}))["error"] == 0


@pytest.mark.parametrize(("kind", "pay_kind"), [(0, 0), (0, 1), (1, 0), (1, 1)])
async def test_packages(campus: Campus, kind: int, pay_kind: int) -> None:
    given = {"userID": "10129580", "type": kind, "payType": pay_kind}
    data = (await campus.call("SearchPayPackages", given))["data"]
    assert data["items"][0]["itemValue"] in (30, 188)
    assert (await campus.call("SearchPayPackages", given | {"type": 2}))["error"] == 1


@pytest.mark.parametrize(("ending", "error"), [("06", 9), ("14", 1)])
async def test_refusals_by_ending(campus: Campus, ending: str, error: int) -> None:
    user = f"101295{ending}"
    for _ in range(2):
        assert (await campus.call("PayMoney", BILL | {"userID": user}))["error"] == error
    assert await campus.user(user) == {"charges_made": 0, "paid": 0, "paid_fen": 0}


async def test_another_amount(campus: Campus) -> None:
    assert (await campus.pay(userID="10129521"))["chargeData"]["charge"]["amount"] == 37_600


@pytest.mark.parametrize(
    ("setting", "named"),
    [({"payer": "nobody"}, "payer"), ({"amount_unit": "jiao"}, "amount_unit"), ({"header": "X"}, "header"),
     ({"pay_seconds": 0}, "pay_seconds"), ({"shows_after": -1}, "shows_after")],
)  # fmt: skip
async def test_settings_name_what_is_wrong(setting: dict[str, Any], named: str) -> None:
    with pytest.raises(ValueError, match=f"zjzdy.{named}"):
        await asked(**setting).__aenter__()
