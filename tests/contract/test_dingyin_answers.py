"""dingyin: what every result code of an answer means, and what its XML may hold."""

from typing import Any

import pytest
from support.dingyin import GAMER, METER, NOW, NUMBER, adapter, answer, answered, document, order

from worker.core.order import Event
from worker.core.outcome import Outcome, Report, Status, Submitted
from worker.gateways.base import Reply, UnreadableReplyError
from worker.gateways.dingyin import Dingyin

REFUSALS = ("5001", "5003", "5004", "5005", "5008", "5009", "5010", "5011", "5012")
ECHO = {"orderid": "XS1", "productid": "3312", "num": "1", "sporderid": NUMBER, "account": GAMER}


def submitted(body: bytes, status: int = 200, **changes: Any) -> Submitted:
    outcome: Submitted = answered(adapter().submit(order(**changes), NOW), body, status)
    return outcome


def queried(body: bytes, status: int = 200, **changes: Any) -> Report:
    report: Report = answered(adapter().query(order(**changes), NOW), body, status)
    return report


def unreadable(body: bytes) -> None:
    for call in (adapter().submit(order(), NOW), adapter().query(order(), NOW)):
        next(call)
        with pytest.raises(UnreadableReplyError):
            call.send(Reply(200, {}, body))


# --- answers to a submit -------------------------------------------------------------------------


def test_the_documents_own_example() -> None:
    """As it is printed there: with a hyphen before the root, and its cost in yuan."""
    body = (
        '<?xml version="1.0" encoding="GB2312" ?> - <order> <orderid>XS090428000003</orderid> '
        "<productid>3312</productid> <num>1</num> <ordercash>98.5</ordercash> <productname>游戏直充</productname> "
        f"<sporderid>{NUMBER}</sporderid> <account>13590101510</account> <resultno>0</resultno> </order>"
    ).encode("gb2312")
    outcome = submitted(body)
    assert (outcome.outcome, outcome.upstream_no, outcome.cost_fen) == (Outcome.ACCEPTED, "XS090428000003", 9_850)


@pytest.mark.parametrize(
    ("code", "outcome"),
    [("0", Outcome.ACCEPTED), ("2", Outcome.ACCEPTED), ("1", Outcome.SUCCEEDED), ("5006", Outcome.ACCEPTED)],
)
def test_what_was_taken(code: str, outcome: Outcome) -> None:
    made = submitted(answer(code, **ECHO, ordercash="98.5"))
    assert (made.outcome, made.code, made.upstream_no, made.cost_fen) == (outcome, code, "XS1", 9_850)
    assert submitted(answer(code)).outcome is outcome, "whatever else it leaves out"


@pytest.mark.parametrize("wrong", [{"num": "2"}, {"account": "13590101511"}, {"productid": "3313"}])
def test_a_success_at_once_of_something_else_is_left_to_the_query(wrong: dict[str, str]) -> None:
    assert submitted(answer("1", **(ECHO | wrong))).outcome is Outcome.ACCEPTED


@pytest.mark.parametrize("code", REFUSALS)
def test_refusals_are_definite_unless_they_name_an_order(code: str) -> None:
    outcome = submitted(answer(code, orderid="", sporderid=NUMBER))
    assert (outcome.outcome, outcome.code, outcome.upstream_no) == (Outcome.REJECTED, code, None)
    named = submitted(answer(code, orderid="XS1", sporderid=NUMBER))
    assert (named.outcome, named.doubt) == (Outcome.UNKNOWN, False)


def test_failed_and_refunded_is_definite_and_costs_nothing() -> None:
    outcome = submitted(answer("9", **ECHO, ordercash="98.5"))
    assert (outcome.outcome, outcome.message, outcome.cost_fen) == (Outcome.REJECTED, "failed and refunded", None)


def test_a_balance_that_is_too_low_is_not_the_orders_fault() -> None:
    assert submitted(answer("5002")) == Submitted(Outcome.UNFUNDED, "5002", "our balance there is too low")
    assert submitted(answer("5002", orderid="XS1")).outcome is Outcome.UNKNOWN


def test_an_unknown_error_is_unknown_and_an_unlisted_code_is_in_doubt() -> None:
    error = submitted(answer("9999"))
    assert (error.outcome, error.code, error.doubt) == (Outcome.UNKNOWN, "9999", False)
    for code in ("5013", "3", "00", "-1", "成功", f"x {GAMER}"):
        unlisted = submitted(answer(code))
        assert (unlisted.outcome, unlisted.doubt) == (Outcome.UNKNOWN, True)
        assert GAMER not in str(unlisted.code)
    assert not submitted(answer("5013", orderid="XS1")).doubt, "an order that has a number there is no refusal"
    assert submitted(answer("5007")).outcome is Outcome.UNKNOWN


@pytest.mark.parametrize("status", [201, 302, 400, 404, 500, 502])
def test_another_http_status_is_unknown_whatever_the_body_says(status: int) -> None:
    assert submitted(answer("5003"), status) == Submitted(Outcome.UNKNOWN, f"http_{status}")
    assert queried(answer("1", **ECHO), status) == Report(Status.SILENT, f"http_{status}")


def test_an_answer_about_another_order_decides_nothing() -> None:
    call = adapter().submit(order(), NOW)
    next(call)
    with pytest.raises(UnreadableReplyError, match="sporderid"):
        call.send(Reply(200, {}, answer("5003", sporderid="T9")))


@pytest.mark.parametrize("cash", ["", "much", "98.505", "-1"])
def test_a_cost_that_cannot_be_read_is_unknown(cash: str) -> None:
    assert submitted(answer("0", ordercash=cash)).cost_fen is None


# --- answers to a query --------------------------------------------------------------------------

STATUSES = {
    "0": Status.CHARGING,
    "1": Status.SUCCEEDED,
    "2": Status.CHARGING,
    "9": Status.FAILED,
    "5007": Status.ABSENT,
}


@pytest.mark.parametrize(("code", "status"), STATUSES.items())
def test_every_status(code: str, status: Status) -> None:
    report = queried(answer(code, **ECHO, ordercash="98.5", remark1="V-1", fundbalance="1.5"))
    assert (report.status, report.code, report.upstream_no, report.foreign) == (status, code, "XS1", None)
    assert report.proven
    living = status in (Status.CHARGING, Status.SUCCEEDED)
    assert report.cost_fen == (9_850 if living else None)


@pytest.mark.parametrize("code", [*REFUSALS, "5002", "5006", "9999", "3", "x"])
def test_no_other_code_of_a_query_settles_anything(code: str) -> None:
    assert queried(answer(code, **ECHO)).status is Status.UNCLEAR


def test_the_table_lists_nothing_else() -> None:
    assert set(Dingyin.results) == {*STATUSES, *REFUSALS, "5002", "5006", "9999"}
    reported = {code: result.reported for code, result in Dingyin.results.items()}
    assert {code: status for code, status in reported.items() if status is not Status.UNCLEAR} == STATUSES


@pytest.mark.parametrize(
    "wrong", [{"num": "2"}, {"account": "13590101511"}, {"productid": "3313"}, {"sporderid": "T20261121-000009"}]
)
def test_a_games_answer_is_compared_with_the_order(wrong: dict[str, str]) -> None:
    ours = order()
    assert queried(answer("1", **ECHO)).fact(ours, 1).event is Event.ARRIVED
    for code in ("1", "9", "2"):
        fact = queried(answer(code, **(ECHO | wrong))).fact(ours, 1)
        assert (fact.event, fact.code) == (Event.MISMATCH, "mismatch")
        assert "13590101511" not in str(fact.message)


def test_another_number_of_pieces_is_another_amount() -> None:
    report = queried(answer("1", **(ECHO | {"num": "2"})))
    assert (report.amount_fen, report.foreign) == (2 * order().amount_fen, None)
    report = queried(answer("1", **ECHO), quantity=7)  # a piece costs no whole number of fen
    assert (report.amount_fen, report.foreign) == (None, "num: ours 7, theirs 1")


@pytest.mark.parametrize("account", [METER, f'{{"product_type":"3","userid":"{METER}","area":"江苏"}}'])
def test_electricitys_account_comes_bare_or_as_the_json_that_was_sent(account: str) -> None:
    ours = order("power")
    same = {"num": "100", "account": account, "productid": "whatever", "sporderid": NUMBER}
    assert queried(answer("1", **same), product="power").fact(ours, 1).event is Event.ARRIVED
    escaped = same | {"account": account.replace('"', "&quot;")}
    assert queried(answer("1", **escaped), product="power").fact(ours, 1).event is Event.ARRIVED
    for wrong in ({"num": "99"}, {"account": account.replace("3201", "3202")}):
        fact = queried(answer("1", **(same | wrong)), product="power").fact(ours, 1)
        assert fact.event is Event.MISMATCH
    assert "100 fen" in str(queried(answer("1", num="1", sporderid=NUMBER), product="power").fact(ours, 1).message)


@pytest.mark.parametrize("code", ["1", "9"])
def test_an_end_that_names_no_order_is_nobody_s(code: str) -> None:
    call = adapter().query(order(), NOW)
    next(call)
    with pytest.raises(UnreadableReplyError, match="sporderid"):
        call.send(Reply(200, {}, answer(code, num="1", account=GAMER)))
    assert queried(answer("5007")).status is Status.ABSENT, "a denial has no order to name"


@pytest.mark.parametrize("fields", [{"num": "lots"}, {"account": "{"}, {"account": '{"a":1}'}, {"orderid": "x" * 65}])
def test_what_cannot_be_read_proves_nothing(fields: dict[str, str]) -> None:
    call = adapter().query(order("power"), NOW)
    next(call)
    with pytest.raises(UnreadableReplyError):
        call.send(Reply(200, {}, answer("1", **fields)))


# --- the XML -------------------------------------------------------------------------------------


@pytest.mark.parametrize("name", ["张三", "朱镕基", "李喆", "王堃", "€ 𠮷"])
@pytest.mark.parametrize("declared", ["GB2312", "gbk", "GB18030"])
def test_names_outside_gb2312(name: str, declared: str) -> None:
    body = document(declared=declared, **ECHO, productname=name, resultno="1").encode("gb18030")
    assert queried(body).status is Status.SUCCEEDED
    ours = order(account=name)
    body = document(declared=declared, **(ECHO | {"account": name}), resultno="1").encode("gb18030")
    assert answered(adapter().query(ours, NOW), body).fact(ours, 1).event is Event.ARRIVED


@pytest.mark.parametrize("declared", ["GB2312", "UTF-8"])
def test_an_answer_in_utf_8(declared: str) -> None:
    """Where it says so, also one whose bytes would be GBK, too."""
    for name in ("喆堃", "王镕基") if declared == "UTF-8" else ("王镕基",):
        body = document(declared=declared, **(ECHO | {"account": name}), resultno="1").encode()
        report = answered(adapter().query(order(account="王镕基"), NOW), body)
        assert report.account == name
    assert queried(b"\xef\xbb\xbf" + document(**ECHO, resultno="1").encode()).status is Status.SUCCEEDED


BOMB = "<!DOCTYPE order [<!ENTITY a 'aaaaaaaaaa'><!ENTITY b '&a;&a;&a;'>]>"
FILE = "<!DOCTYPE order [<!ENTITY x SYSTEM 'file:///etc/passwd'>]>"


@pytest.mark.parametrize(
    "text",
    [f"{BOMB}<order><resultno>&b;</resultno></order>", f"{FILE}<order><resultno>&x;</resultno></order>",
     "<!DOCTYPE order SYSTEM 'http://127.0.0.1/x.dtd'><order><resultno>1</resultno></order>",
     "<!DOCTYPE order><order><resultno>1</resultno></order>", "<order><resultno>&x;</resultno></order>",
     f"<order>{'<a>' * 20}{'</a>' * 20}<resultno>1</resultno></order>", "<a>" * 20_000,
     f"<order><resultno>1</resultno><remark1>{'x' * 70_000}</remark1></order>",
     "<order><resultno>9</resultno><resultno>1</resultno></order>", "<order><resultno/></order>", "<order/>",
     "<order>1</order>", "<html><resultno>1</resultno></html>", "<resultno>1</resultno>", "1", "", "{}",
     "<order><resultno>1</resultno>", "<order><resultno>1</order>", "<order><resultno><b>1</b></resultno></order>"],
)  # fmt: skip
def test_whatever_else_is_unreadable(text: str) -> None:
    unreadable(text.encode("gbk"))
    unreadable(f'<?xml version="1.0" encoding="GB2312" ?>{text}'.encode("gbk"))


@pytest.mark.parametrize("body", [b"\xff\xff", answer("1") + b"\x81", answer("1").decode("gbk").encode("utf-16")])
def test_bytes_that_are_no_text(body: bytes) -> None:
    unreadable(body)


# --- answers about the balance -------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [document("balance", balance="1").replace("<balance><balance>1</balance></balance>", "<balance>98.5</balance>"),
     document("user", userid="10086", balance="98.5"), document("user", balance=" 98.50 ", resultno="1")],
)  # fmt: skip
def test_balance_in_yuan(body: str) -> None:
    assert answered(adapter().balance(NOW), body.encode("gbk")) == 9_850


def test_a_balance_below_zero_is_what_we_owe() -> None:
    assert answered(adapter().balance(NOW), document("user", balance="-12.3").encode("gbk")) == -1_230


@pytest.mark.parametrize(
    ("body", "status"),
    [(document("user", balance="98.5", resultno="5005"), 200), (document("user", balance="much"), 200),
     (document("user", resultno="1"), 200), (document("user", balance="1"), 500), ("<html>", 200)],
)  # fmt: skip
def test_balance_that_cannot_be_read(body: str, status: int) -> None:
    call = adapter().balance(NOW)
    next(call)
    with pytest.raises(UnreadableReplyError):
        call.send(Reply(status, {}, body.encode("gbk")))
