"""Nothing shows what must not be shown: gateways that echo all they were sent, and all they never were."""

import json
from collections.abc import Mapping
from urllib.parse import quote_plus

import pytest
from pydantic import ValidationError
from support.dealing import Desk, Opens, kinds, products
from support.peers import Server, serving
from support.unseen import assert_unseen

from worker.core.order import State
from worker.core.outcome import Outcome
from worker.gateways.base import CallbackRefusal, RawCallback, RefusedError
from worker.gateways.cards import CardAction
from worker.gateways.gateway import GatewayUnavailableError

S = State
CARD_CALLS: tuple[tuple[CardAction, str | None], ...] = (("add", None), ("edit", "1"), ("show", "1"), ("delete", "1"))


def echoes(desk: Desk, canaries: tuple[str, ...]) -> Mapping[str, bytes]:
    """Answers that repeat what must not be shown, as a gateway's errors do."""
    charset = desk.gateway.adapter.charset
    canaries = tuple(each for each in canaries if each not in desk.keys)  # they are never sent: nobody can echo them
    text = " ".join(canaries)
    named = {f"field{number}": canary for number, canary in enumerate(canaries)}
    tags = "".join(f"<{name}>{value}</{name}>" for name, value in named.items())
    return {
        "html": f"<html><body>{text}</body></html>".encode(charset),
        "json": json.dumps({"code": "1999", "error": 7, "msg": text, "message": text, **named}).encode(),
        "raw json": json.dumps({"code": text, "message": canaries, "data": named}, ensure_ascii=False).encode(charset),
        "broken json": json.dumps(named).encode()[:-1],
        "form": "&".join(f"{name}={quote_plus(value)}" for name, value in named.items()).encode(),
        "xml": f'<?xml version="1.0"?><order>{tags}<resultno>{canaries[0]}</resultno></order>'.encode(charset),
        "long": f'["{"x" * 1500}", "{text}", "{"y" * 3000}"]'.encode(charset),
    }


def answer(server: Server, body: bytes, status: bytes = b"200 OK") -> None:
    """Let it answer so from now on."""
    server.answer = b"HTTP/1.1 %s\r\nContent-Type: text/plain\r\nContent-Length: %d\r\n\r\n%s" % (
        status,
        len(body),
        body,
    )


@pytest.mark.parametrize(("name", "product"), products())
async def test_an_echo_is_masked(open_desk: Opens, name: str, product: str) -> None:
    """Outcomes, evidence, errors: `Dealing` searches every fact, `open_desk` the logs."""
    async with serving(b"") as server, open_desk(name, base_url=f"http://127.0.0.1:{server.port}/x") as desk:
        found = echoes(desk, desk.order(product).canaries)
        for status in (b"200 OK", b"400 Bad Request", b"500 Oops"):
            for kind in found:
                dealing = desk.order(product)
                answer(server, echoes(desk, dealing.canaries)[kind], status)
                outcome = await dealing.submit()
                assert outcome.outcome in (Outcome.UNKNOWN, Outcome.NOT_SENT), (kind, status)
                dealing.search(outcome)
                if dealing.order.state in (S.UNKNOWN, S.QUEUED):
                    dealing.order = dealing.order.changed({"upstream_no": "10000001", "state": S.PENDING})
                    await dealing.query()
                    assert dealing.order.state in (S.PENDING, S.AWAITING_PAYMENT)
        assert server.hits


@pytest.mark.parametrize(("name", "product"), products())
async def test_an_echo_to_a_question_is_masked(open_desk: Opens, name: str, product: str) -> None:
    """Of whom a question is not, nothing is known that could be hidden, and nothing was sent that could be echoed."""
    async with serving(b"") as server, open_desk(name, base_url=f"http://127.0.0.1:{server.port}/x") as desk:
        dealing = desk.order(product)
        gateway, target, moment = desk.gateway, dealing.order.target, dealing.moment
        for body in echoes(desk, dealing.canaries).values():
            answer(server, body)
            for about_nobody in (gateway.balance(moment()), gateway.packages("10129580", "card", "buy", moment())):
                with pytest.raises((GatewayUnavailableError, RefusedError)) as error:
                    await about_nobody
                assert_unseen(str(error.value), desk.secrets)
            for action, card_id in CARD_CALLS:
                with pytest.raises((GatewayUnavailableError, RefusedError)) as error:
                    await gateway.card(action, product, target, card_id, moment())
                dealing.search(error.value)


@pytest.mark.parametrize("name", kinds())
async def test_an_echo_in_a_callback_is_masked(open_desk: Opens, name: str) -> None:
    async with open_desk(name) as desk:
        dealing = desk.order(min(kinds()[name].products))
        for body in echoes(desk, dealing.canaries).values():
            parsed = desk.gateway.parse_callback(RawCallback(dealing.moment(), "POST", "/", "", {}, body))
            dealing.search(parsed if isinstance(parsed, CallbackRefusal) else parsed.report.evidence)


@pytest.mark.parametrize("name", kinds())
async def test_settings_show_no_secret(open_desk: Opens, name: str) -> None:
    async with open_desk(name) as desk:
        settings = desk.gateway.adapter.settings
        assert desk.secrets, "its house gives it at least one"
        assert_unseen(f"{settings!r} {settings} {settings.model_dump()!r}", desk.secrets)
        given = settings.model_dump() | {"no_such_setting": 1, "base_url": 7}
        with pytest.raises(ValidationError, match="no_such_setting") as error:
            type(settings).model_validate(given)
        assert_unseen(str(error.value), desk.secrets)
