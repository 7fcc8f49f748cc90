"""wikeyun: its settings name what is wrong, and nothing shows what must not be shown."""

import json
from dataclasses import replace

import pytest
from pydantic import ValidationError
from support.wikeyun import NOW, NUMBER, PHONE, SECRET, adapter, order

from worker.core.policy import Policy
from worker.gateways.base import Reply, Request
from worker.gateways.gate import Gate
from worker.gateways.gateway import Gateway
from worker.gateways.lease import Lease


def test_settings_name_what_is_wrong() -> None:
    with pytest.raises(ValidationError, match="store_id"):
        adapter(store_id="")
    with pytest.raises(ValidationError, match="unknown_setting"):
        adapter(unknown_setting=1)
    assert SECRET not in repr(adapter().settings)


@pytest.mark.parametrize(
    "body",
    [{"code": "0000", "data": {"order_number": "WK1", "mobile": PHONE, "echo": SECRET}},
     {"code": "1999", "msg": f"{PHONE} {SECRET}", "mobile": int(PHONE), "sign": "S1GN"},
     f"<html>{PHONE} sign=S1GN&app_secret={SECRET}".encode(),
     f'{{"\\u0031\\u0033800138000": broken {SECRET} "sign": "S1GN" {PHONE}'.encode(),
     f'["{"x" * 3000}", "{PHONE}", "{SECRET}"]'.encode()],
)  # fmt: skip
async def test_what_must_not_be_shown_is_not(body: object) -> None:
    class Echo:
        async def send(self, request: Request, lease: Lease | None = None) -> Reply:  # noqa: ARG002 - a fake
            return Reply(200, {}, body if isinstance(body, bytes) else json.dumps(body).encode())

        async def close(self) -> None:
            pass

    gateway = Gateway(adapter(), Echo(), Gate(4), Policy())
    secretive = order()
    outcome = await gateway.submit(secretive, NOW, None)
    report = await gateway.query(replace(secretive, upstream_no="WK1"), NOW)
    fact = report.fact(secretive, 1)  # the report itself holds the account, to be compared
    for shown in (repr(outcome), repr(fact)):
        assert PHONE not in shown
        assert SECRET not in shown
        assert "S1GN" not in shown
        assert "key-77" not in shown
    assert outcome.evidence["request"]["order_no"] == NUMBER
    assert outcome.evidence["request"]["mobile"] == "138****8000"
    assert outcome.evidence["http_status"] == 200
    assert len(json.dumps(dict(outcome.evidence))) < 4096
