"""Phones, identity and card numbers, names, keys and tokens are sent through every path, and shown by none.

One deployment with every gateway, each beside one that echoes what it is sent; a real worker, the real relay. What was
asked for is in the bodies of messages and in the order's own row. All else that can be seen is collected and searched.
"""

import base64
import json
import time
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
from support import wire
from support.canaries import command_lines, echoing, http, people, secrets, tables, without_payment
from support.commander import Commander
from support.street import HOUSES, Street, products, street

PHONE, IDENTITY, CARD, NAME = "13712349876", "110101199003077758", "6222020200112233445", "慕容镕喆"
KEPT = "6222020200998877665"  # a card that is managed by commands
OUR_OWN = (PHONE, IDENTITY, CARD, NAME, KEPT)
"""What only the messages have that are no orders."""
ENDINGS = ("00", "04", "05", "14", "21", "22", "25", "26")
"""Well; HTTP 500 or HTML, yet charged; refused; another amount; a false callback; another account; a forged one."""
KEYS = (
    *("base_url", "app_secret", "key", "private_key", "apiv3_key", "headers", "platform_keys", "userid", "mchid"),
    *("timeout_seconds", "concurrency", "query_after_seconds", "trust_callbacks"),
)
PAGES = ("/metrics", "/readyz", "/healthz")
FAILS_HERE = """
CREATE FUNCTION fail_with_row() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    RAISE EXCEPTION 'cannot keep % of %', NEW.target, NEW.order_no USING DETAIL = NEW::text;
END
$$
"""
POISONED = """
CREATE TRIGGER poisoned BEFORE INSERT ON orders FOR EACH ROW
    WHEN (NEW.order_no LIKE 'POISON%') EXECUTE FUNCTION fail_with_row()
"""
UNWRITTEN = """
CREATE TRIGGER unwritten BEFORE UPDATE ON orders FOR EACH ROW
    WHEN (NEW.order_no LIKE 'UNWRITTEN%') EXECUTE FUNCTION fail_with_row()
"""
"""The database's own error repeats the whole order: of one that is poison, of one whose outcome cannot be written."""


def oil(order_no: str, **changes: Any) -> dict[str, Any]:
    """Return an order that says all there is to say about a person."""
    target = {"card_no": CARD, "company": "sinopec", "name": NAME, "phone": PHONE, "id_number": IDENTITY}
    return {
        "order_no": order_no,
        "source": "shop",
        "product": "oil",
        "amount_fen": 50_000,
        "gateway": "wikeyun",
        "target": target,
    } | changes


INVALID: Mapping[str, Mapping[str, Any]] = {
    "unknown_field": {PHONE: NAME},
    "amount": {"amount_fen": IDENTITY},
    "source": {"source": NAME},
    "gateway": {"gateway": f"gw{PHONE}"},
    "gateway_kind": {"gateway": {"name": NAME}},
    "expires": {"expires_at": PHONE},
    "expired": {"expires_at": "2001-01-01T00:00:00Z"},
    "product": {"product": NAME},
    "target": {"target": f"{NAME} {PHONE}"},
    "target_field": {"target": {"card_no": CARD, "company": NAME, "name": [NAME], PHONE: IDENTITY}},
    "number": {"order_no": f"{NAME}{IDENTITY}"},
}


def submit(here: Street, answers: str) -> None:
    """Send orders: good ones to each gateway with faults, and to its echo; then what cannot be taken."""
    producer = here.stage.producer
    for number, (adapter, product) in enumerate(products()):
        for ending in ENDINGS:
            producer.submit(here.order(f"C{number}-{ending}", adapter, product, ending, gateway=adapter))
        producer.submit(here.order(f"C{number}-echo", adapter, product, gateway=f"echo_{adapter}"))
    producer.submit(oil("CONFLICT"))
    producer.submit(oil("CONFLICT", target={**oil("X")["target"], "name": f"{NAME}二"}))
    producer.submit(oil("POISON-1"), reply_to=answers)
    producer.submit(oil("UNWRITTEN-1"))
    for name, changes in INVALID.items():
        body = json.dumps(oil(f"I-{name}") | dict(changes), ensure_ascii=False).encode()
        producer.publish("submit.oil", body, type="order.submit", message_id=PHONE, reply_to=answers)
    for body in (f"{{{NAME}".encode(), f'["{PHONE}"]'.encode(), f"{NAME}{IDENTITY}".encode("gb18030"), b""):
        producer.publish("submit.oil", body)
    producer.publish("submit.oil", json.dumps(oil("I-type")).encode(), type=f"order.{PHONE}")
    producer.publish("submit.oil", json.dumps(oil("I-kind")).encode(), content_type=f"text/{PHONE}")


def call_back(here: Street) -> None:
    """Post callbacks to the relay, and put messages into its queue, that nobody meant."""
    relay = str(here.stage.sections["relay"]["listen"])
    said = {"orderid": PHONE, "sporderid": CARD, "mobile": PHONE, "name": NAME, "id": IDENTITY, "resultno": "1"}
    form = "&".join(f"{name}={value}" for name, value in said.items()).encode()
    bodies = (
        form,
        json.dumps(said, ensure_ascii=False).encode(),
        f"<x>{NAME}{PHONE}</x>".encode("gb18030"),
        b"\xff\x00",
    )
    for name in HOUSES:
        for body in bodies:
            http(relay, "POST", f"/callbacks/{name}?mobile={PHONE}", body, **{"X-Phone": PHONE})
    stray = f"order_no=T{PHONE}&order_number={CARD}&status=2&mobile={PHONE}"  # in form, and about no order of ours
    http(relay, "POST", "/callbacks/wikeyun", stray.encode())
    known = f"order_no=CONFLICT&status=2&reason=for {NAME}"  # whose person is known only when the order is found
    http(relay, "POST", "/callbacks/wikeyun", known.encode())
    http(relay, "GET", f"/callbacks/{PHONE}")
    http(relay, "POST", f"/callbacks/{PHONE}", form)
    http(relay, "POST", "/callbacks/wikeyun", form, **{"Content-Type": f"image/{PHONE}"})
    producer = here.stage.producer
    for name in HOUSES:
        producer.call_back(wire.callback(name, form, query=f"phone={PHONE}", headers={"x": NAME}))
    for changes in ({"gateway": PHONE}, {"method": NAME}, {"received_at": PHONE}, {"body": NAME}, {PHONE: NAME}):
        message = json.dumps(wire.callback("wikeyun", form) | changes, ensure_ascii=False).encode()
        producer.publish("callback.wikeyun", message, type="gateway.callback")
    producer.publish("callback.wikeyun", f"{NAME}{PHONE}".encode())


def command(here: Street) -> str:
    """Give commands, well-formed and not; return all that is answered."""
    card = {"kind": "oil", **oil("X")["target"], "card_no": KEPT}
    good = [
        (name, {"gateway": gateway, **card, **more})
        for gateway in ("wikeyun", "echo_wikeyun")
        for name, more in (
            ("card.add", {}),
            ("card.edit", {"phone": PHONE}),
            ("card.show", {}),
            ("card.delete", {}),
        )
    ]
    asked = [
        ("packages.list", {"gateway": gateway, "user_id": CARD, "kind": "card", "pay_kind": "buy"})
        for gateway in ("zjzdy", "echo_zjzdy")
    ]
    balances = [("balance.show", {"gateway": name}) for name in here.stage.gateways]
    orders = [("order.query", {"order_no": "C0-00"}), ("order.cancel", {"order_no": "C0-echo"})]
    bad: list[tuple[str, Any]] = [
        ("card.add", {"gateway": "wikeyun", **card, "card_no": NAME}),
        ("card.add", {"gateway": "wikeyun", **card, "id_number": [IDENTITY], PHONE: NAME}),
        ("card.add", {"gateway": f"gw_{PHONE}", **card}),
        ("card.add", {"gateway": "wikeyun", **card, "kind": NAME}),
        ("order.query", {"order_no": CARD}),
        ("order.query", {"order_no": NAME}),
        ("balance.show", {"gateway": NAME}),
        ("packages.list", {"gateway": "zjzdy", "user_id": CARD, "kind": PHONE, "pay_kind": NAME}),
        ("card.nothing", {"gateway": "wikeyun", "name": NAME}),
        ("card.show", f"{NAME}{PHONE}".encode()),
    ]
    answers = []
    with Commander(here.stage.amqp_url, here.stage.prefix) as commander:
        for name, body in (*good, *asked, *balances, *orders, *bad):
            answers.append(commander.ask(name, body))
        for name, body in good[:2]:
            commander.send(name, body, reply_to=None)
    assert sum(answer["ok"] for answer in answers) >= 6, answers
    return json.dumps(answers, ensure_ascii=False)


def settle(here: Street) -> None:
    """Wait until nothing has moved for a while, or for long enough."""
    ends, count, since = time.monotonic() + 12, -1, time.monotonic()
    while time.monotonic() < min(ends, since + 2):
        here.pay()
        found = here.stage.facts.rows("SELECT count(*) AS lines FROM journal WHERE to_state <> 'unknown'")[0]["lines"]
        if found != count:
            count, since = found, time.monotonic()
        time.sleep(0.2)


def look(here: Street) -> Iterator[tuple[str, str]]:
    """Run the commands that show something, with and without `--json`, and those that complain."""
    stage = here.stage
    config = str(next(stage.workers[-1].log.parent.glob(f"{stage.prefix}-2.toml")))
    numbers = [row["order_no"] for row in stage.facts.rows("SELECT order_no FROM orders ORDER BY id")]
    (lines := stage.workers[-1].log.parent / "orders.jsonl").write_text(
        "\n".join(json.dumps(oil(f"L-{name}") | dict(changes), ensure_ascii=False) for name, changes in INVALID.items())
    )
    commands = [
        *(("orders", "show", number, *(("--json",) if place % 2 else ())) for place, number in enumerate(numbers)),
        *(("orders", "list", *more) for more in ((), ("--json",))),
        *(("gateways", "list", *more) for more in ((), ("--json",))),
        *(("check", *more) for more in ((), ("--json",))),
        *(("dead", "list", *more) for more in ((), ("--json",))),
        ("submit", str(lines)),
    ]
    for letter in stage.producer.letters():  # which has taken them out of their queue
        stage.producer.channel.basic_publish(f"{stage.prefix}.dead", letter.key, letter.raw, letter.properties)
    ran = command_lines([("--config", config, *arguments) for arguments in commands])
    for arguments, (code, written) in zip(commands, ran, strict=True):
        assert code in (0, 1), (arguments, written)
        assert written.strip(), arguments
        yield arguments[0], written


def complain(directory: Path, hidden: list[str]) -> str:
    """Return how settings are complained about whose every value is a secret in a wrong place."""
    secret = max(hidden, key=len)
    broken = directory / "broken.toml"
    kinds = (f'"{secret}"', f'["{secret}"]', f'{{x = "{secret}"}}', f'{{env = ["{secret}"]}}')
    written = []
    for value in kinds:
        sections = [
            f"[{section}]\nurl = {value}\ndsn = {value}\nlisten = {value}\npool_size = {value}\nprefix = {value}"
            for section in ("amqp", "database", "ops", "relay", "events", "routes")
        ]
        gateways = [
            "\n".join([f"[gateways.{name}]", f'adapter = "{name}"', *(f"{key} = {value}" for key in KEYS)])
            for name in HOUSES
        ]
        broken.write_text("\n".join(sections + gateways))
        ((code, text),) = command_lines([("--config", str(broken), "run")])
        assert code == 2
        assert len(text.splitlines()) > 20
        written.append(text)
    return "\n".join(written)


@pytest.fixture(scope="module")
def played(
    amqp_url: str, database_server: str, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Street, dict[str, str]]]:
    """The deployment after all of it, and what could be seen, by where."""
    root = tmp_path_factory.mktemp("canaries")
    gateways = {name: {"adapter": name} for name in HOUSES}
    echoes = {f"echo_{name}": {"adapter": name} for name in HOUSES}
    with echoing() as echo, street(amqp_url, database_server, root, gateways | echoes) as here:
        stage = here.stage
        for name in echoes:
            stage.gateways[name]["base_url"] = f"{echo}/{name}"
        for statement in (FAILS_HERE, POISONED, UNWRITTEN):
            stage.facts.rows(statement)
        worker = stage.worker().await_ready()
        refusals = stage.producer.channel.queue_declare("", exclusive=True).method.queue
        submit(here, refusals)
        call_back(here)
        answers = command(here)
        settle(here)
        shown = {
            "answers": answers,
            "metrics": "\n".join(worker.page(path)[1] for path in PAGES),
            "relay's pages": "\n".join(stage.workers[0].page(path)[1] for path in PAGES),
            "database": tables(here),
            "settings": complain(root, secrets(here)),
        }
        letters = list(stage.producer.letters())
        for name, written in look(here):
            shown[name] = shown.get(name, "") + written
        for each in stage.workers:
            assert each.terminate() == 0, each.tail()
        shown |= {
            "log": stage.log(),
            "dead letters": "\n".join(
                f"{name}: {value}" for letter in letters for name, value in (letter.properties.headers or {}).items()
            ),
            "events": without_payment([each.raw for each in stage.producer.seen]),
            "refusals": "\n".join(each.raw.decode() for each in stage.producer.take(refusals)),
        }
        yield here, shown


PLACES = (
    *("log", "database", "dead letters", "events", "answers", "refusals", "metrics", "relay's pages", "settings"),
    *("orders", "gateways", "check", "dead", "submit"),
)


@pytest.mark.parametrize("place", PLACES)
def test_nothing_is_shown(played: tuple[Street, dict[str, str]], place: str) -> None:
    here, shown = played
    text = shown[place]
    assert len(text) > 20
    hidden = [*OUR_OWN, IDENTITY[-6:], *people(here), *secrets(here)]
    seen = [(canary, text[max(0, text.index(canary) - 200) :][:300]) for canary in hidden if canary in text]
    assert not seen
    written = [canary for canary in hidden if json.dumps(canary)[1:-1] in text]
    assert not written


def test_every_path_was_taken(played: tuple[Street, dict[str, str]]) -> None:
    """Nothing would be found in what was never sent."""
    here, shown = played
    letters = here.stage.producer.dead
    reasons = {str((each.properties.headers or {}).get("x-dead-reason")) for each in letters}
    assert reasons >= {
        *(
            "invalid_message",
            "unknown_gateway",
            "order_conflict",
            "expired",
            "bad_signature",
            "unknown_order",
            "poison",
        ),
    }
    bodies = b"\n".join(each.raw for each in letters)
    decoded = bodies + b"".join(
        base64.b64decode(each.body["body"]) for each in letters if each.key.startswith("callback.") and _whole(each.raw)
    )
    for canary in (PHONE, IDENTITY, CARD, NAME):
        assert canary.encode() in decoded or json.dumps(canary)[1:-1].encode() in decoded  # untouched
    targets = str(here.stage.facts.rows("SELECT target::text FROM orders"))
    for canary in (PHONE, IDENTITY, CARD, NAME, *here.accounts.values()):
        assert canary in targets
    assert set(here.stage.facts.states()) >= {"succeeded", "failed", "unknown", "review"}
    events = {json.loads(line)["event"] for line in shown["log"].splitlines() if line.startswith("{")}
    assert events >= {"dead_lettered", "handler_failed", "outcome_not_written", "order_refused", "command", "callbacks"}


def _whole(raw: bytes) -> bool:
    try:
        return isinstance(base64.b64decode(json.loads(raw)["body"], validate=True), bytes)
    except (ValueError, KeyError, TypeError):
        return False


def test_what_cannot_be_written_is_told_with_its_order_and_without_its_row(
    played: tuple[Street, dict[str, str]],
) -> None:
    _, shown = played
    lines = [json.loads(line) for line in shown["log"].splitlines() if '"outcome_not_written"' in line]
    mine = [line for line in lines if line["order_no"] == "UNWRITTEN-1"]
    assert mine
    assert "cannot keep" in mine[0]["exception"][0]  # the database's own text, with what was private taken out
