"""`worker orders recheck`: orders that wait are asked about before they are sent, and only while nobody sends them."""

import json

from support.cli import Cli, ended
from support.waiting import until

CAMPUS = """
[gateways.campus]
adapter = "zjzdy"
base_url = "http://127.0.0.1:1/zjzdy"
"""


def test_gateways_must_be_paused_and_known(cli: Cli) -> None:
    assert cli("migrate", "--database")[0] == 0
    assert cli("orders", "recheck", "--note", "restored") == (
        1,
        [],
        ["wikeyun: it is not paused: run `worker gateways pause wikeyun` first"],
    )
    code, _, err = cli("orders", "recheck", "--note", "restored", "--gateway", "nobody")
    assert (code, err[0]) == (2, "Invalid value for --gateway: expected one of wikeyun (from the settings)")
    code, _, err = cli("orders", "recheck", "--note", " ")
    assert code == 2
    assert "--note" in err[0]


def test_what_waits_is_in_doubt_and_says_who_doubts_it(cli: Cli) -> None:
    path = cli.directory / "worker.toml"
    path.write_text(path.read_text() + CAMPUS)
    assert cli("migrate")[0] == 0
    for name in ("wikeyun", "campus"):
        assert cli("gateways", "pause", name)[0] == 0
    order = {"order_no": "T1", "source": "shop", "product": "mobile", "amount_fen": 10000}
    assert cli("submit", given=json.dumps({**order, "target": {"mobile": "13800138000"}}))[0] == 0
    with ended(cli.start("run")) as worker:
        until(lambda: bool(cli("orders", "list", "--json", "--state", "queued")[1]), 20)
        worker.kill()
    assert cli("orders", "recheck", "--note", "restored to 03:12", "--operator", "li") == (
        0,
        [
            "wikeyun: 1 orders are asked about first",
            "campus: it cannot be asked about orders that it has not answered; what waits goes on waiting",
        ],
        [],
    )
    shown = json.loads(cli("orders", "show", "T1", "--json")[1][0])
    assert shown["state"] == "unknown"
    assert (shown["journal"][-1]["cause"], shown["journal"][-1]["code"]) == ("unanswered", "rechecked")
    assert shown["journal"][-1]["message"] == "restored to 03:12"
    assert "li" in "\n".join(cli("orders", "show", "T1")[1])
    assert cli("orders", "recheck", "--note", "again", "--gateway", "wikeyun")[1] == [
        "wikeyun: 0 orders are asked about first"
    ]
