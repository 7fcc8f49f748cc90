"""wikeyun: adding, editing, deleting and showing cards by command."""

import hashlib
from typing import Any
from urllib.parse import parse_qsl, urlsplit

import pytest
from support.wikeyun import NOW, OIL, POWER, adapter, no, ok, played

from worker.core.card import Hold, Known, card_key
from worker.gateways.base import Reply, Request, UnreadableReplyError
from worker.gateways.cards import CardAnswer, CardRefusal, FindCard, ForgetCard, HoldCard, KeepCard

MINE = card_key("power", POWER["account_no"])
OTHERS = card_key("power", "3209999999999")
KNOWN = Known(MINE, "320****7890", "42")
OTHER = Known(OTHERS, "320****9999", "43")
ALONE = Hold(7, "42", current=False)


def done(
    action: Any, *answers: Any, card_id: str | None = None, settings: Any = None, **fields: Any
) -> tuple[Any, Any]:
    """Carry a command about the power card out; `account_no=None` leaves its number out."""
    call = adapter(**(settings or {})).card(action, "power", POWER | fields, card_id, NOW)
    return played(call, *answers)


def sent(steps: list[Any]) -> list[tuple[str, dict[str, str]]]:
    """The paths and parameters of the requests among some steps."""
    return [
        (urlsplit(step.url).path, dict(parse_qsl(step.body.decode()))) for step in steps if isinstance(step, Request)
    ]


def test_other_kinds_are_not_supported() -> None:
    assert adapter().card("show", "mobile", {}, "1", NOW) is None


def test_add() -> None:
    steps, answer = done("add", Hold(7, None, current=False), ok(id=42), None)
    assert [path for path, _ in sent(steps)] == ["/rest/Power/addCard"]
    assert (type(steps[-1]), answer) == (KeepCard, CardAnswer("42"))


def test_add_again_is_the_same_card() -> None:
    steps, answer = done("add", Hold(7, "42", current=True))
    assert (sent(steps), answer) == ([], CardAnswer("42"))


def test_add_with_other_fields_edits_it() -> None:
    steps, answer = done("add", ALONE, ok(), None)
    assert ([path for path, _ in sent(steps)], answer) == (["/rest/Power/editCard"], CardAnswer("42"))


@pytest.mark.parametrize("definite", [True, False])
def test_add_refused(definite: bool) -> None:  # noqa: FBT001 - the case
    codes = ["2000"] if definite else []
    _, answer = done("add", Hold(7, None, current=False), no("2000", "格式错误"), settings={"refusal_codes": codes})
    assert answer == CardRefusal("2000", "格式错误", definite=definite)


def test_edit_the_card_that_is_known() -> None:
    steps, answer = done("edit", [KNOWN], ALONE, ok(), None, city="苏州市")
    find, hold, edit, keep = steps
    assert find == FindCard("power", "1001", MINE, None)
    assert hold.card.digest == b"", "alone, whatever fields it has"
    assert sent([edit])[0][1]["city"] == "苏州市"
    assert len(keep.digest) == 32
    assert (keep.card_id, answer) == ("42", CardAnswer("42"))


def test_edit_tells_the_worker_of_a_card_that_it_could_not_find() -> None:
    """A person has looked its id up in the gateway's console."""
    lost = Known(MINE, "320****7890", None)
    for rows in ([], [lost]):
        steps, answer = done("edit", rows, Hold(7, None, current=False), ok(), None, card_id="77")
        assert sent(steps)[0][1]["card_id"] == "77"
        assert (steps[-1].card_id, answer) == ("77", CardAnswer("77"))


@pytest.mark.parametrize("action", ["edit", "delete", "show"])
def test_one_id_is_not_two_cards(action: str) -> None:
    steps, answer = done(action, [OTHER], card_id="43")
    assert (sent(steps), answer.code) == ([], "card_mismatch")
    assert "320****9999" in answer.message


@pytest.mark.parametrize("action", ["edit", "delete", "show"])
@pytest.mark.parametrize("rows", [[], [Known(MINE, "320****7890", None)]])
def test_a_card_that_nobody_knows(action: str, rows: list[Known]) -> None:
    steps, answer = done(action, rows)
    assert (sent(steps), answer.code) == ([], "unknown_card")
    assert answer.message.startswith("account_no: ")


@pytest.mark.parametrize("card_id", ["x7", "-1", "1.5", "9" * 20])
def test_an_id_that_cannot_be(card_id: str) -> None:
    steps, answer = done("show", card_id=card_id)
    assert (steps, answer.code) == ([], "card_id")


def test_delete_forgets_it_when_the_gateway_has() -> None:
    steps, answer = done("delete", [KNOWN], ALONE, None, no("0000"), None)
    find, hold, unknown, delete, forget = steps
    assert (type(find), type(hold), hold.card.digest) == (FindCard, HoldCard, b"")
    assert (unknown, forget) == (KeepCard(None, None), ForgetCard())
    sign = hashlib.md5(
        b"canary-secretapp_keykey-77card_id42client10.0.0.1formatjsontimestamp1795262400v1.0canary-secret",
        usedforsecurity=False,
    )
    assert delete.url.endswith(f"/rest/Power/delCard?{urlsplit(delete.url).query}")
    assert delete.url.endswith(f"&sign={sign.hexdigest().upper()}")
    assert (delete.body, delete.moves_money, answer) == (b"card_id=42", False, CardAnswer("42"))


def test_delete_by_id_alone() -> None:
    steps, answer = done(
        "delete", [OTHER], Hold(7, "43", current=False), None, no("0000"), None, account_no=None, card_id="43"
    )
    assert steps[0] == FindCard("power", "1001", None, "43")
    assert (steps[1].card.key, answer) == (OTHERS, CardAnswer("43"))
    steps, answer = done("delete", [], no("0000"), account_no=None, card_id="99")
    assert (sent(steps), answer) == ([("/rest/Power/delCard", {"card_id": "99"})], CardAnswer("99"))


def test_a_delete_that_is_refused_keeps_it() -> None:
    steps, answer = done("delete", [KNOWN], ALONE, None, no("2009", "使用中"), None)
    assert (steps[-1], answer) == (KeepCard("42", None), CardRefusal("2009", "使用中"))


def test_deleting_what_is_gone_is_done_where_settings_know_the_code() -> None:
    gone = {"no_such_card_codes": ["2008"]}
    steps, answer = done("delete", [KNOWN], ALONE, None, no("2008"), None, settings=gone)
    assert (steps[-1], answer) == (ForgetCard(), CardAnswer("42"))


def test_a_card_that_changed_hands_meanwhile_is_not_deleted() -> None:
    steps, answer = done("delete", [KNOWN], Hold(7, "50", current=False))
    assert (sent(steps), answer.code) == ([], "card_mismatch")


def test_show() -> None:
    data = {"id": 42, "card_num": POWER["account_no"], "city": "南京市"}
    steps, answer = done("show", [KNOWN], ok(**data))
    assert sent(steps) == [("/rest/Power/cardInfo", {"card_id": "42"})]
    assert answer == CardAnswer("42", data)
    _, answer = done("show", [], no("2008", "充值卡不存在"), card_id="42")
    assert answer == CardRefusal("2008", "充值卡不存在")


@pytest.mark.parametrize("reply", [no("0000"), no("0000", data=[]), Reply(500, {}, b""), Reply(200, {}, b"x")])
def test_show_without_a_readable_answer(reply: Reply) -> None:
    call = adapter().card("show", "oil", {"card_no": OIL["card_no"]}, "42", NOW)
    assert call is not None
    next(call)
    call.send([])
    with pytest.raises(UnreadableReplyError):
        call.send(reply)
