"""The generated documents are current, their examples hold, and the models say what the contract says."""

import json
from pathlib import Path
from typing import Any, get_args

import orjson
import pytest
from jsonschema import Draft202012Validator

from schemas import documents
from schemas.commands import CardCommand
from schemas.dead import DeadHeaders, DeadReason, ReasonName
from schemas.decode import DEEPEST, decode_callback, decode_command, decode_event, decode_submit
from schemas.errors import InvalidMessageError
from schemas.events import EVENT_STATES, Event
from schemas.events import State as StateName
from schemas.examples import EXAMPLES
from schemas.orders import ORDERS, PRODUCTS
from worker.core.order import ACCOUNT_FIELDS, State

SCHEMAS = Path(documents.__file__).parent
ALL_EXAMPLES = [(name, number) for name, examples in EXAMPLES.items() for number in range(len(examples))]


def test_the_committed_documents_are_current() -> None:
    generated = documents.documents()
    assert {name: (SCHEMAS / name).read_bytes() for name in generated} == generated
    assert {f"json/{path.name}" for path in (SCHEMAS / "json").iterdir()} == set(generated) - {"asyncapi.json"}


def test_documents_can_be_written_anywhere(tmp_path: Path) -> None:
    paths = documents.write(tmp_path / "new")
    assert {path.relative_to(tmp_path / "new").as_posix() for path in paths} == set(documents.documents())
    assert all(json.loads(path.read_bytes()) for path in paths)


@pytest.mark.parametrize("name", documents.MODELS)
def test_each_schema_is_valid_and_says_what_it_is(name: str) -> None:
    schema = documents.json_schema(name)
    Draft202012Validator.check_schema(schema)
    assert schema["$schema"] == documents.DIALECT
    assert schema["$id"] == f"{name}.json"
    assert schema["title"]
    assert schema["examples"]


@pytest.mark.parametrize("name", documents.MODELS)
def test_each_field_is_described(name: str) -> None:
    schema = documents.json_schema(name)
    for part in (schema, *schema.get("$defs", {}).values()):
        for field, rule in part.get("properties", {}).items():
            described = "description" in rule or "$ref" in rule
            assert described, f"{part.get('title')}.{field}"


@pytest.mark.parametrize(("name", "number"), ALL_EXAMPLES)
def test_each_example_satisfies_its_schema_and_its_model(name: str, number: int) -> None:
    example = EXAMPLES[name][number]
    Draft202012Validator(documents.json_schema(name)).validate(example)
    documents.model_of(name).validate_json(orjson.dumps(example))


def test_every_product_and_every_event_has_an_example() -> None:
    assert {example["product"] for example in EXAMPLES["order.submit"]} == set(PRODUCTS) == set(ORDERS)
    optional = {"order.pending", "order.unknown"}
    assert {example["event"] for example in EXAMPLES["order.event"]} == set(EVENT_STATES) - optional


def test_names_are_the_core_s_names() -> None:
    assert set(get_args(StateName)) == {state.value for state in State}
    assert set(ACCOUNT_FIELDS) == set(PRODUCTS)
    for product, field in ACCOUNT_FIELDS.items():
        example = next(each for each in EXAMPLES["order.submit"] if each["product"] == product)
        assert field in decode_submit(orjson.dumps(example)).target_fields()
    assert set(get_args(get_args(ReasonName)[0])) == {reason.value for reason in DeadReason}


def _references(part: Any) -> list[str]:
    if isinstance(part, dict):
        own = [part["$ref"]] if isinstance(part.get("$ref"), str) else []
        return own + [each for value in part.values() for each in _references(value)]
    return [each for value in part for each in _references(value)] if isinstance(part, list) else []


def test_every_reference_of_the_asyncapi_document_leads_somewhere() -> None:
    document = json.loads((SCHEMAS / "asyncapi.json").read_bytes())
    assert document["asyncapi"] == "3.0.0"
    references = _references({name: value for name, value in document.items() if name != "examples"})
    assert references
    for reference in references:
        if reference.startswith("#/"):
            part = document
            for step in reference.removeprefix("#/").split("/"):
                part = part[step]
        else:
            assert (SCHEMAS / reference).is_file()


def test_the_asyncapi_document_names_every_queue_exchange_and_message() -> None:
    document = json.loads((SCHEMAS / "asyncapi.json").read_bytes())
    bindings = [channel.get("bindings", {}).get("amqp", {}) for channel in document["channels"].values()]
    queues = {binding["queue"]["name"] for binding in bindings if binding.get("is") == "queue"}
    exchanges = {binding["exchange"]["name"] for binding in bindings if binding.get("is") == "routingKey"}
    submit = {f"orders.submit.{product}" for product in PRODUCTS}
    assert queues == submit | {"orders.callbacks", "orders.commands", "orders.dead"}
    assert exchanges == {"orders", "orders.events", "orders.dead"}
    sent = set().union(*(channel["messages"] for channel in document["channels"].values()))
    assert sent == set(document["components"]["messages"])


def test_an_event_has_the_contract_s_fields_in_the_contract_s_order() -> None:
    expected = (
        "event order_no source product state version gateway attempt upstream_no amount_fen arrived_fen cost_fen "
        "reason payment at"
    )
    assert list(Event.model_fields) == expected.split()


@pytest.mark.parametrize(
    ("event", "state", "field"),
    [
        ("order.succeeded", "failed", "state"),
        ("order.failed", "failed", "reason"),
        ("order.partial", "partial", "arrived_fen"),
        ("order.awaiting_payment", "awaiting_payment", "payment"),
        ("order.accepted", "succeeded", "state"),
        ("order.paid", "succeeded", "event"),
    ],
)
def test_an_event_that_breaks_a_promise_is_refused_by_model_and_schema(event: str, state: str, field: str) -> None:
    message = {**EXAMPLES["order.event"][0], "event": event, "state": state}
    with pytest.raises(InvalidMessageError) as caught:
        decode_event(orjson.dumps(message))
    assert caught.value.field == field
    assert not Draft202012Validator(documents.json_schema("order.event")).is_valid(message)


def test_an_event_survives_the_round_trip() -> None:
    for example in EXAMPLES["order.event"]:
        event = decode_event(orjson.dumps(example))
        assert orjson.loads(event.model_dump_json()) == example


def test_dead_headers_go_by_their_names_on_the_wire() -> None:
    example = EXAMPLES["dead.headers"][0]
    assert set(DeadHeaders.model_validate_json(orjson.dumps(example)).model_dump()) == set(example)


def test_a_callback_s_body_comes_through_byte_for_byte() -> None:
    raw = bytes(range(256))
    example = EXAMPLES["gateway.callback"][0]
    callback = decode_callback(orjson.dumps(example), "wikeyun")
    assert callback.body == b"order_no=T20261121-000001&status=2"
    relayed = callback.model_copy(update={"body": raw}).model_dump_json().encode()
    assert decode_callback(relayed).body == raw


@pytest.mark.parametrize(
    ("change", "field"),
    [
        ({"body": "not base64!"}, "body"),
        ({"body": "YQ"}, "body"),
        ({"body": 1}, "body"),
        ({"headers": {"Content-Type": "a"}}, "headers.Content-Type"),
        ({"headers": {"x-a": "b\r\nx-c: d"}}, "headers.x-a"),
        ({"headers": {"x-a": 1}}, "headers.x-a"),
        ({"path": "callbacks"}, "path"),
        ({"received_at": "2026-11-21T12:00:00"}, "received_at"),
        ({"gateway": "dingyin"}, "gateway"),
    ],
)
def test_a_bad_callback_names_its_field(change: dict[str, Any], field: str) -> None:
    with pytest.raises(InvalidMessageError) as caught:
        decode_callback(orjson.dumps({**EXAMPLES["gateway.callback"][0], **change}), "wikeyun")
    assert caught.value.field == field


@pytest.mark.parametrize(
    ("name", "change", "field"),
    [
        ("order.query", {"order_no": None}, "order_no"),
        ("order.query", {"order": "x"}, "order"),
        ("order.cancell", {}, "command"),
        ("card.add", {"kind": "water"}, "kind"),
        ("card.add", {"kind": None}, "kind"),
        ("card.add", {"card_id": "42"}, "card_id"),
        ("card.add", {"speed": "fast"}, "speed"),
        ("card.add", {"grid": "southern"}, "holder_id"),
        ("card.edit", {"holder_id": None}, "holder_id"),
        ("card.delete", {"card_id": None}, "card_id"),
        ("card.delete", {"card_id": True}, "card_id"),
        ("card.show", {"card_no": None}, "card_id"),
        ("packages.list", {"kind": "all"}, "kind"),
        ("balance.show", {"gateway": "WIKEYUN"}, "gateway"),
    ],
)
def test_a_bad_command_names_its_field(name: str, change: dict[str, Any], field: str) -> None:
    message = {**EXAMPLES.get(name, ({},))[0], **change}
    with pytest.raises(InvalidMessageError) as caught:
        decode_command(name, orjson.dumps(message))
    assert caught.value.field == field
    if name in documents.MODELS:
        assert not Draft202012Validator(documents.json_schema(name)).is_valid(message)


def test_a_card_command_gives_the_card_and_a_card_id_is_text() -> None:
    add = decode_command("card.add", orjson.dumps(EXAMPLES["card.add"][1]))
    assert isinstance(add, CardCommand)
    assert add.card_fields() == {
        name: value for name, value in EXAMPLES["card.add"][1].items() if name not in {"gateway", "kind"}
    }
    delete = decode_command("card.delete", orjson.dumps(EXAMPLES["card.delete"][0]))
    assert delete.model_dump()["card_id"] == "42"


def test_the_payer_s_credential_may_be_nested_as_deep_as_any_message() -> None:
    payment: dict[str, Any] = {}
    for _ in range(DEEPEST - 2):
        payment = {"deeper": payment}
    message = {**EXAMPLES["order.event"][-1], "payment": payment}
    assert decode_event(orjson.dumps(message)).payment == payment
    with pytest.raises(InvalidMessageError):
        decode_event(orjson.dumps({**message, "payment": {"deeper": payment}}))
    assert decode_submit(orjson.dumps(EXAMPLES["order.submit"][0])).product == "mobile"
