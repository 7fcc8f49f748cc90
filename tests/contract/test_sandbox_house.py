"""What all simulators share, shown by one that is nothing but a dialect: it signs, its payers act, its keys rotate."""

from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType
from typing import Any, ClassVar

import pytest
from aiohttp import web
from support.merchant import Merchant, eventually, sandbox

from worker.sandbox import Sandbox, SandboxSettings, discovery
from worker.sandbox.answers import Reply
from worker.sandbox.book import Entry, Standing, Wanted
from worker.sandbox.callbacks import Callback
from worker.sandbox.faults import Reason
from worker.sandbox.simulator import Refused, Simulator
from worker.sandbox.simulators.wikeyun import Wikeyun

_TEAPOT = 418


@dataclass(frozen=True, kw_only=True)
class ToySettings:
    """The toy's key."""

    key: str = field(default="k", repr=False)
    colour: str = "red"

    def __post_init__(self) -> None:
        if not self.key:
            raise ValueError("key: expected a text that is not empty")


class Toy(Simulator):
    """Texts instead of a format: `<status> <amount> <account> <key>`."""

    name = "toy"
    settings_type = ToySettings
    refusals: ClassVar[Mapping[Reason, tuple[str, str]]] = {reason: (reason.name, "") for reason in Reason}

    def mount(self, app: web.Application) -> None:
        """Add the routes."""
        self.key = self.settings.key
        self.route(app, "/push/{order_no}/{account}", self._push, method="GET", push=True)
        self.route(app, "/query/{order_no}", self._query, method="GET")

    async def _push(self, request: web.Request) -> web.StreamResponse:
        given = request.match_info
        notify_url = request.query["notify_url"]
        wanted = Wanted(order_no=given["order_no"], account=given["account"], amount_fen=100, notify_url=notify_url)
        return await self.push(request, wanted)

    async def _query(self, request: web.Request) -> web.StreamResponse:
        order_no = request.match_info["order_no"]
        return await self.query(request, self.find(order_no), order_no)

    def _text(self, entry: Entry) -> str:
        return f"{entry.status} {entry.amount_fen} {entry.account} {self.key}"

    def refusal(self, refused: Refused) -> Reply:
        """Write the code."""
        return Reply(refused.code.encode(), "text/plain", _TEAPOT)

    def pushed(self, entry: Entry) -> Reply:
        """Write the order."""
        return self.shown(entry)

    def shown(self, entry: Entry) -> Reply:
        """Write the order, with a header of ours."""
        return Reply(self._text(entry).encode(), "text/plain", headers={"Toy": self.key})

    def callback(self, entry: Entry) -> Callback | None:
        """Write the order; HTTP 418 is what acknowledges."""
        return Callback(
            entry.notify_url,
            self._text(entry).encode(),
            {"Content-Type": "text/toy", "Toy": self.key},
            lambda status, _body: status == _TEAPOT,
        )

    def forged(self, callback: Callback) -> Callback:
        """Write another key."""
        return replace(callback, headers={**callback.headers, "Toy": "forged"})

    def forged_reply(self, reply: Reply) -> Reply:
        """Write another key."""
        return replace(reply, headers={"Toy": "forged"})

    def rotate(self) -> Mapping[str, Any]:
        """Take another key."""
        self.key += "'"
        return {"key": self.key}


class Payers(Toy):
    """The same, where a payer has to act before money moves."""

    name = "payers"
    begins = Standing.AWAITING_PAYMENT
    prepaid = False


class Shop:
    """A merchant of the toys."""

    def __init__(self, merchant: Merchant) -> None:
        self.merchant = merchant
        self.heard: list[tuple[str, str]] = []
        self.status = _TEAPOT
        self.notify_url = ""

    async def receive(self, request: web.Request) -> web.Response:
        """Take a callback: its body and its signature."""
        self.heard.append(((await request.read()).decode(), request.headers["Toy"]))
        return web.Response(status=self.status)

    async def get(self, path: str) -> tuple[int, str, str]:
        """Return status, body and signature."""
        url = f"{self.merchant.base}{path}"
        async with self.merchant.http.get(url, params={"notify_url": self.notify_url}) as answer:
            return answer.status, await answer.text(), answer.headers.get("Toy", "")

    async def becomes(self, path: str, text: str) -> None:
        """Wait until an answer is so."""

        async def so() -> bool:
            return (await self.get(path))[1] == text

        await eventually(so)

    async def hears(self, *texts: tuple[str, str]) -> None:
        """Wait for these callbacks, in this order."""

        async def heard() -> bool:
            return len(self.heard) >= len(texts)

        await eventually(heard)
        assert self.heard == list(texts)


@pytest.fixture
async def shop(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[Shop]:
    monkeypatch.setattr(discovery, "find", lambda: {"payers": Payers, "toy": Toy})
    settings = {
        "simulators": {"toy": {"key": "T", "colour": "<blue>"}},
        "balance_fen": 1_000,
        "payer_late_seconds": 0.4,
    }
    async with sandbox(**settings) as merchant:
        here = Shop(merchant)
        relay = web.Application()
        relay.router.add_post("/", here.receive)
        runner = web.AppRunner(relay, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        here.notify_url = f"http://127.0.0.1:{runner.addresses[0][1]}/"
        yield here
        await runner.cleanup()


async def test_any_bytes_headers_and_acknowledgement(shop: Shop) -> None:
    shop.status = 500
    assert await shop.get("/toy/push/T1/00") == (200, "charging 100 00 T", "T")
    await shop.becomes("/toy/query/T1", "succeeded 100 00 T")

    async def twice() -> bool:
        return len(shop.heard) == 2

    await eventually(twice)
    shop.status = _TEAPOT
    told = ("succeeded 100 00 T", "T")

    async def understood() -> bool:
        return (await shop.merchant.row())["calls"].get("callback_acknowledged") == 1

    await eventually(understood)
    assert set(shop.heard) == {told}
    assert await shop.get("/toy/push/T1/00") == (_TEAPOT, "DUPLICATE", "")
    assert await shop.get("/toy/query/T2") == (_TEAPOT, "NO_SUCH_ORDER", "")


async def test_forged_false_and_mistaken_callbacks(shop: Shop) -> None:
    true = ("succeeded 100 26 T", "T")
    await shop.get("/toy/push/T1/26")
    await shop.hears(("failed 100 26 T", "forged"), true)
    shop.heard.clear()
    await shop.get("/toy/push/T2/27")
    await shop.hears(("succeeded 200 27 T", "T"))
    shop.heard.clear()
    await shop.get("/toy/push/T3/28")
    await shop.hears(("succeeded 100 21 T", "T"))
    shop.heard.clear()
    await shop.get("/toy/push/T4/29")
    await shop.hears(("succeeded 100 29 T", "T"), ("charging 100 29 T", "T"))
    shop.heard.clear()
    await shop.get("/toy/push/T5/35")
    await shop.hears(("succeeded 100 35 T", "forged"), ("failed 100 35 T", "T"), ("refunded 100 35 T", "T"))
    for order_no, ending in (("T1", "26"), ("T2", "27"), ("T3", "28"), ("T4", "29")):
        assert (await shop.get(f"/toy/query/{order_no}"))[1] == f"succeeded 100 {ending} T"
        assert (await shop.merchant.row(order_no))["charged_fen"] == 100


async def test_an_answer_with_a_wrong_signature(shop: Shop) -> None:
    assert await shop.get("/toy/push/T1/30") == (200, "charging 100 30 T", "forged")
    assert (await shop.merchant.row())["charges"] == 1
    await shop.merchant.force("forged_answer", "T1", call="query", gateway="toy")
    assert (await shop.get("/toy/query/T1"))[2] == "forged"
    assert (await shop.get("/toy/query/T1"))[2] == "T"


async def test_a_payer_pays_at_once_late_or_never(shop: Shop) -> None:
    for order_no, ending in (("T1", "00"), ("T2", "32"), ("T3", "33")):
        assert (await shop.get(f"/payers/push/{order_no}/{ending}"))[1] == f"awaiting_payment 100 {ending} k"
        assert (await shop.merchant.row(order_no))["charges"] == 0
    await shop.becomes("/payers/query/T1", "succeeded 100 00 k")
    assert (await shop.get("/payers/query/T2"))[1] == "awaiting_payment 100 32 k"
    await shop.becomes("/payers/query/T2", "succeeded 100 32 k")
    assert (await shop.get("/payers/query/T3"))[1] == "awaiting_payment 100 33 k"
    rows = [await shop.merchant.row(order_no) for order_no in ("T1", "T2", "T3")]
    assert [(row["charges"], row["arrived_fen"]) for row in rows] == [(1, 100), (1, 100), (0, 0)]


async def test_a_balance_runs_out_at_one_gateway_and_is_topped_up(shop: Shop) -> None:
    page = shop.merchant.page
    told = await page("/ledger/topup", "POST", json={"gateway": "toy", "fen": -950})
    assert told == {"gateway": "toy", "balance_fen": 50}
    assert await shop.get("/toy/push/T1/00") == (_TEAPOT, "BALANCE_TOO_LOW", "")
    assert (await shop.get("/payers/push/T2/00"))[0] == 200
    assert (await page("/ledger/topup", "POST", json={"gateway": "toy", "fen": 50}))["balance_fen"] == 100
    assert (await shop.get("/toy/push/T1/00"))[0] == 200
    for wrong in ({"gateway": "gas", "fen": 1}, {"gateway": "toy", "fen": 0}, {"gateway": "toy", "fen": 1.5}, {}):
        assert "error" in await page("/ledger/topup", "POST", expect=400, json=wrong)
    assert (await page("/ledger", params={"gateway": "toy"}))["totals"]["charged_fen"] == 100


async def test_what_was_topped_up_survives_a_restart(tmp_path: Path) -> None:
    file = tmp_path / "ledger.jsonl"
    for expected in ("110", "120"):
        async with sandbox(ledger_file=file, balance_fen=10_000) as merchant:
            await merchant.page("/ledger/topup", "POST", json={"gateway": "wikeyun", "fen": 1_000})
            assert (await merchant.call("/rest/User/query", {}))["data"]["money"] == expected


async def test_keys_rotate_where_there_are_any(shop: Shop) -> None:
    told = await shop.merchant.page("/control/rotate", "POST", json={"gateway": "toy"})
    assert told == {"gateway": "toy", "key": "T'"}
    assert (await shop.get("/toy/push/T1/00"))[2] == "T'"


async def test_keys_do_not_rotate_where_there_are_none(merchant: Merchant) -> None:
    answer = await merchant.page("/control/rotate", "POST", expect=400, json={"gateway": "wikeyun"})
    assert "no keys that rotate" in answer["error"]


async def test_a_fault_is_forced_at_one_gateway_and_by_account(shop: Shop) -> None:
    await shop.merchant.force("refused", "meter-1", gateway="toy")
    assert (await shop.get("/payers/push/T1/meter-1"))[0] == 200
    assert await shop.get("/toy/push/T1/meter-1") == (_TEAPOT, "NOT_POSSIBLE", "")
    await shop.merchant.page("/faults", "POST", expect=400, json={"order_no": "T1", "fault": "hold", "gateway": "gas"})


async def test_the_start_page_shows_each_ledger_and_each_fault(shop: Shop) -> None:
    await shop.get("/toy/push/T-shown/14")
    await shop.get("/payers/push/%3Cb%3E/00")
    async with shop.merchant.http.get(shop.merchant.base) as answer:
        page = await answer.text()
    assert "<code>/payers</code>" in page
    assert "T-shown" in page
    assert "&lt;b&gt;" in page
    assert "<b>" not in page
    assert "<code>colour=red</code>" in page
    assert "<code>colour=&lt;blue&gt;</code>" in page
    for fault in (await shop.merchant.page("/faults"))["faults"]:
        assert f"<td>{fault['name']}</td>" in page
        assert fault["gateways"] == ["payers", "toy"]


async def test_a_simulator_that_fails_by_itself_is_seen(shop: Shop, monkeypatch: pytest.MonkeyPatch) -> None:
    """A 500 of its own must not be taken for one that a fault wants, nor a callback that it cannot write for none."""
    await shop.get("/toy/push/T1/00")
    await shop.becomes("/toy/query/T1", "succeeded 100 00 T")
    assert (await shop.merchant.page("/ledger/totals"))["crashes"] == []

    def broken(_toy: Toy, entry: Entry) -> None:
        raise KeyError(str(entry.status))

    monkeypatch.setattr(Toy, "shown", broken)
    monkeypatch.setattr(Toy, "callback", broken)
    assert (await shop.get("/toy/query/T1"))[0] == 500
    await shop.get("/toy/push/T2/00")

    expected = ["in the background: KeyError: 'succeeded'", "toy: KeyError: 'charging'", "toy: KeyError: 'succeeded'"]

    async def all_seen() -> bool:
        return sorted((await shop.merchant.page("/ledger/totals"))["crashes"]) == expected

    await eventually(all_seen)


def test_a_simulator_that_is_not_whole_is_not_passed_over() -> None:
    def found(**members: Any) -> dict[str, type[Simulator]]:
        module = ModuleType("a")
        vars(module)["Some"] = type("Some", (Toy,), {"__module__": "a", **members})
        return discovery.find([module])

    assert list(found(name="other")) == ["other"]
    with pytest.raises(ImportError, match=r"a\.Some lacks shown$"):
        found(shown=Simulator.shown)
    with pytest.raises(ImportError, match=r"a\.Some lacks refusals\[Reason\.DUPLICATE\]$"):
        found(refusals={reason: ("", "") for reason in Reason if reason is not Reason.DUPLICATE})


def test_settings_are_each_simulator_s_own(monkeypatch: pytest.MonkeyPatch) -> None:
    assert discovery.find()["wikeyun"] is Wikeyun
    assert discovery.parse(["wikeyun.oil_amounts=100, 500", "wikeyun.json_callbacks=true", "wikeyun.store_id=a=b"]) == {
        "wikeyun": {"oil_amounts": (100, 500), "json_callbacks": True, "store_id": "a=b"}
    }
    for wrong in ("wikeyun.json_callbacks=yes", "wikeyun.power_multiple=1.5", "wikeyun.power_multiple=0"):
        with pytest.raises(ValueError, match="^" + wrong.partition("=")[0]):
            discovery.parse([wrong])
    for simulators, told in (
        ({"gas": {}}, "gas: no such simulator"),
        ({"wikeyun": {"colour": 1}}, r"wikeyun\.colour: no such setting"),
    ):
        with pytest.raises(ValueError, match=told):
            Sandbox(SandboxSettings(simulators=simulators))
