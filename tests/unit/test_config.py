"""Settings: their defaults, where they come from, which wins, and the type that each gets."""

import re
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import ValidationError
from support.settings import ADAPTERS, BASE, CANARY, GATEWAYS, Electricity, Load, ShopSettings

from worker.config import DEFAULT_REQUIRED, Address, SettingsError, load


def test_defaults_are_those_of_the_contract(read: Load) -> None:
    settings = read()
    assert (settings.amqp.prefix, settings.amqp.prefetch, settings.database.pool_size) == ("orders", 200, 4)
    assert settings.ops.listen == Address("127.0.0.1", 9108)
    assert settings.relay.listen == Address("127.0.0.1", 8080)
    published = {"accepted", "awaiting_payment", "succeeded", "partial", "failed", "refunded", "cancelled", "review"}
    assert settings.events.publish == published
    assert settings.routes == {}
    assert settings.gateways == {}


def test_a_gateway_gets_its_adapters_settings(read: Load) -> None:
    gateway = read(BASE + GATEWAYS).gateways["main"]
    assert isinstance(gateway, ShopSettings)
    assert gateway.app_secret.get_secret_value() == CANARY
    assert (gateway.concurrency, gateway.timeout_seconds, gateway.refusal_codes) == (64, 15, ("1003",))


def test_the_environment_wins_over_the_file(read: Load) -> None:
    environ = {
        "WORKER_AMQP__URL": "amqps://other:pw@broker:5671/vhost",
        "WORKER_AMQP__PREFETCH": "17",
        "worker_database__pool_size": "9",
        "WORKER_OPS__LISTEN": "",
        "WORKER_RELAY__LISTEN": "[::1]:0",
    }
    settings = read(BASE + "pool_size = 3", environ)
    assert settings.amqp.url.get_secret_value() == "amqps://other:pw@broker:5671/vhost"
    assert (settings.amqp.prefetch, settings.database.pool_size) == (17, 9)
    assert settings.ops.listen is None
    assert settings.relay.listen == Address("::1", 0)
    assert str(settings.relay.listen) == "[::1]:0"


@pytest.mark.parametrize(
    ("variable", "text", "name", "value"),
    [
        ("CONCURRENCY", "8", "concurrency", 8),
        ("TIMEOUT_SECONDS", "2.5", "timeout_seconds", 2.5),
        ("TRUST_CALLBACKS", "true", "trust_callbacks", True),
        ("REFUSAL_CODES", "1003, 1004", "refusal_codes", ("1003", "1004")),
        ("REFUSAL_CODES", '["1003", "10,04"]', "refusal_codes", ("1003", "10,04")),
        ("REFUSAL_CODES", "", "refusal_codes", ()),
        ("QUERY_AFTER_SECONDS", "1,2.5", "query_after_seconds", (1, 2.5)),
        ("QUERY_AFTER_SECONDS", "[1, 2.5]", "query_after_seconds", (1, 2.5)),
        ("ELECTRICITY", '{"unit_fen": 50}', "electricity", Electricity(unit_fen=50)),
        ("ELECTRICITY__UNIT_FEN", "50", "electricity", Electricity(productid="p", unit_fen=50)),
        ("APP_KEY", "0123", "app_key", "0123"),
        ("APP_KEY", "{}", "app_key", "{}"),
    ],
)
def test_environment_values_get_the_type_of_their_setting(
    read: Load, variable: str, text: str, name: str, value: object
) -> None:
    settings = read(BASE + GATEWAYS + 'electricity = {productid = "p"}', {f"WORKER_GATEWAYS__MAIN__{variable}": text})
    assert getattr(settings.gateways["main"], name) == value


def test_a_gateway_may_come_from_the_environment_alone(read: Load) -> None:
    environ = {
        "WORKER_GATEWAYS__SIDE__REFUSAL_CODES": "1,2",
        "WORKER_GATEWAYS__SIDE__ADAPTER": "shop",
        "WORKER_GATEWAYS__SIDE__BASE_URL": "http://127.0.0.1:1",
        "WORKER_GATEWAYS__SIDE__APP_KEY": "k",
        "WORKER_GATEWAYS__SIDE__APP_SECRET": "{not json",
    }
    side = read(BASE + GATEWAYS, environ).gateways["side"]
    assert isinstance(side, ShopSettings)
    assert side.refusal_codes == ("1", "2")
    assert side.app_secret.get_secret_value() == "{not json"


def test_the_adapter_may_be_changed_by_the_environment(read: Load) -> None:
    environ = {"WORKER_GATEWAYS__MAIN__ADAPTER": "shop", "WORKER_GATEWAYS__MAIN__REFUSAL_CODES": "7"}
    gateway = read(BASE + GATEWAYS.replace('"shop"', '"kiosk"'), environ).gateways["main"]
    assert isinstance(gateway, ShopSettings)
    assert gateway.refusal_codes == ("7",)


def test_a_gateways_name_may_hold_two_underscores(read: Load) -> None:
    text = BASE + '[gateways.a__b]\nadapter = "kiosk"\nbase_url = "http://x"\n'
    assert read(text, {"WORKER_GATEWAYS__A__B__CONCURRENCY": "3"}).gateways["a__b"].concurrency == 3


def test_keys_of_a_table_keep_their_case_in_the_environment(read: Load) -> None:
    headers = 'headers = {Accept = "*/*"}'
    gateway = read(BASE + GATEWAYS + headers, {"WORKER_GATEWAYS__MAIN__HEADERS__X_Key": CANARY}).gateways["main"]
    assert isinstance(gateway, ShopSettings)
    assert {name: value.get_secret_value() for name, value in gateway.headers.items()} == {
        "Accept": "*/*",
        "X_Key": CANARY,
    }


def test_routes_default_to_every_seller_in_the_files_order(read: Load) -> None:
    assert read(BASE + GATEWAYS).routes == {"power": ("corner", "main"), "mobile": ("main",)}


def test_routes_are_taken_as_written(read: Load) -> None:
    settings = read(BASE + '[routes]\npower = ["main", "corner"]\n' + GATEWAYS)
    assert settings.routes == {"power": ("main", "corner"), "mobile": ("main",)}
    assert read(BASE + GATEWAYS, {"WORKER_ROUTES__POWER": "main"}).routes["power"] == ("main",)


def test_published_events_are_a_list(read: Load) -> None:
    assert read(BASE + '[events]\npublish = ["succeeded", "pending"]').events.publish == {"succeeded", "pending"}
    assert read(environ={"WORKER_EVENTS__PUBLISH": "failed,unknown"}).events.publish == {"failed", "unknown"}


def test_what_a_command_needs_must_be_there(read: Load, problems: Callable[..., tuple[str, ...]]) -> None:
    missing = [re.sub(":.*", "", line) for line in problems("", required=DEFAULT_REQUIRED | {"gateways"})]
    assert missing == ["amqp.url", "database.dsn", "gateways"]
    assert not read("", required=()).amqp.url.get_secret_value()
    assert list(read(BASE + GATEWAYS, required=DEFAULT_REQUIRED | {"gateways"}).gateways) == ["corner", "main"]


def test_no_settings_file_is_needed_unless_one_was_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    environ = {"WORKER_AMQP__URL": "amqp://broker/", "WORKER_DATABASE__DSN": "postgresql://db/worker"}
    assert load(None, environ, ADAPTERS).amqp.prefix == "orders"
    (tmp_path / "worker.toml").write_text('[amqp]\nprefix = "found"', encoding="utf-8")
    assert load(None, environ, ADAPTERS).amqp.prefix == "found"
    with pytest.raises(SettingsError, match=r"^--config: expected a settings file, there is no gone\.toml$"):
        load(Path("gone.toml"), environ, ADAPTERS)
    with pytest.raises(SettingsError, match=r"^WORKER_CONFIG: expected a settings file, there is no gone\.toml$"):
        load(None, environ | {"WORKER_CONFIG": "gone.toml"}, ADAPTERS)
    with pytest.raises(SettingsError, match=r"^--config: .* cannot be read: Is a directory$"):
        load(tmp_path, environ, ADAPTERS)


def test_a_byte_order_mark_is_no_problem(tmp_path: Path) -> None:
    path = tmp_path / "worker.toml"
    path.write_bytes(b"\xef\xbb\xbf" + BASE.encode())
    assert load(path, {}, ADAPTERS).amqp.prefix == "orders"


def test_settings_are_frozen(read: Load) -> None:
    settings = read(BASE + GATEWAYS)
    with pytest.raises(AttributeError):
        setattr(settings, "amqp", settings.amqp)  # noqa: B010 - plainly assigned, mypy would refuse it first
    with pytest.raises(ValidationError):
        setattr(settings.amqp, "prefix", "x")  # noqa: B010 - the same
