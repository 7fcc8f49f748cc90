"""zjzdy: its settings name what is wrong, and nothing shows what must not be shown."""

import json
from typing import Any

import pytest
from pydantic import ValidationError
from support.zjzdy import IMEI, NAME, NOW, PAID, PHONE, SIM, TOKEN, adapter, order, pay_answer

from worker.core.policy import Policy
from worker.gateways.base import RefusedError, Reply, Request
from worker.gateways.gate import Gate
from worker.gateways.gateway import Gateway, GatewayUnavailableError
from worker.gateways.lease import Lease


class Echo:
    """Answers whatever it is told to."""

    def __init__(self, body: object) -> None:
        self._body = body if isinstance(body, bytes) else json.dumps(body).encode()

    async def send(self, request: Request, lease: Lease | None = None) -> Reply:  # noqa: ARG002 - a fake
        """Answer."""
        return Reply(200, {}, self._body)

    async def close(self) -> None:
        """Do nothing."""


def gateway(body: object) -> Gateway:
    return Gateway(adapter(headers={"X-Token": TOKEN}), Echo(body), Gate(4), Policy(repeat_safe=True))


@pytest.mark.parametrize(
    ("settings", "named"),
    [({"amount_unit": "jiao"}, "amount_unit"), ({"payment_seconds": 0}, "payment_seconds"),
     ({"payment_seconds": 1e9}, "payment_seconds"), ({"payment_grace_seconds": -1}, "payment_grace_seconds"),
     ({"headers": {"X Token": "v"}}, "headers"), ({"headers": {"Content-Type": "v"}}, "Content-Type is set by"),
     ({"headers": {"Host": "v"}}, "headers"), ({"headers": {"X-Token": "a\r\nb: c"}}, "visible ASCII .* of X-Token"),
     ({"headers": {"X-Token": "号"}}, "headers"), ({"notify_url": "https://x"}, "notify_url")],
)  # fmt: skip
def test_settings_name_what_is_wrong(settings: dict[str, Any], named: str) -> None:
    with pytest.raises(ValidationError, match=named):
        adapter(**settings)


def test_headers_are_secrets() -> None:
    made = adapter(headers={"X-Token": TOKEN})
    assert TOKEN not in repr(made.settings)
    assert TOKEN not in str(made.settings.model_dump())


LONG = {"padding": "x" * 3000}
UNSEEN = (TOKEN, IMEI, SIM, PHONE, NAME, "13900139000", "q2oEnkJxdmYRUfCkSPDR", "高一")


@pytest.mark.parametrize(
    "body",
    [pay_answer(description=f"{TOKEN} {PHONE}"), pay_answer(amount=7), pay_answer(id=TOKEN, order_no=PHONE),
     pay_answer(failure_code="no", failure_msg=f"{TOKEN} {PHONE}"), pay_answer(extra=LONG),
     {"error": 0, "data": PAID | {"itemName": f"{TOKEN} {PHONE}"}}, {"error": 0, "data": [PAID, PAID]},
     {"error": 0, "data": PAID | {"mobile": "13900139000"}},
     {"error": 1, "message": f"{PHONE} {TOKEN}", "empName": NAME},
     {"error": 7, "message": f"{PHONE} {TOKEN}", "mobile": int(PHONE)}, f"<html>{PHONE} {TOKEN}".encode(),
     {"error": 0, "data": pay_answer(extra=LONG)["data"] | {"recordIDs": ""}}],
)  # fmt: skip
async def test_what_must_not_be_shown_is_not(body: object) -> None:
    it = gateway(body)
    outcome = await it.submit(order(), NOW, None)
    report = await it.query(order(upstream_no="10000001"), NOW)
    shown = [repr((outcome._replace(payment=None), dict(outcome.evidence))), repr(report.fact(order(), 1))]
    try:
        shown.append(repr(await it.packages("1", "card", "buy", NOW)) if isinstance(body, bytes) else "")
    except (GatewayUnavailableError, RefusedError) as error:
        shown.append(str(error))
    for text in shown:
        for secret in UNSEEN:
            assert secret not in text
    assert outcome.evidence["operation"] == "pay"
    assert report.evidence["operation"] == "paid"
    assert len(json.dumps(dict(outcome.evidence))) < 4096


async def test_the_evidence_of_a_payment_keeps_its_dates_and_masks_its_persons() -> None:
    report = await gateway({"error": 0, "data": PAID | {"payStartDate": "20160901"}}).query(order(upstream_no="1"), NOW)
    (package,) = report.evidence["packages"]
    assert (package["payStartDate"], package["payEndDate"]) == ("2016-09-01", "2017-08-31")
    assert (package["mobile"], package["imei"], package["sim"]) == ("138****8000", "335****2233", "898****5678")


async def test_a_refused_question_is_masked() -> None:
    with pytest.raises(RefusedError) as refused:
        await gateway({"error": 1, "message": f"{PHONE} {TOKEN}"}).packages("1", "card", "buy", NOW)
    assert str(refused.value) == "1: 138****8000 ****"
