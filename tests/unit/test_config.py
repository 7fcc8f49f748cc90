"""Settings: precedence, types, hints, every problem at once, and never a secret in any of it."""

import copy
import pickle
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, ClassVar

import pytest
from pydantic import BaseModel, Field, ValidationError, field_validator

from worker.config import DEFAULT_REQUIRED, Address, Settings, SettingsError, load
from worker.gateways.base import Acknowledgement, Adapter, Call, CallbackRefusal, CallbackReport, RawCallback
from worker.gateways.settings import GatewaySettings, Secret

CANARY = "c4n4ry-s3cret"


class Electricity(BaseModel):
    """A table within a gateway's table."""

    productid: str = ""
    unit_fen: int = 100


class ShopSettings(GatewaySettings):
    """Two secrets, and a list and tables, as real adapters have them."""

    app_key: str = Field(description="the key of the application")
    app_secret: Secret = Field(description="the secret that signs")
    trust_callbacks: bool = False
    refusal_codes: tuple[str, ...] = ("1003",)
    headers: dict[str, Secret] = Field(default_factory=dict)
    electricity: Electricity = Electricity()


class Shop(Adapter):
    """A gateway that sells two products."""

    adapter: ClassVar[str] = "shop"
    products: ClassVar[frozenset[str]] = frozenset({"mobile", "power"})
    settings_type: ClassVar[type[GatewaySettings]] = ShopSettings

    def submit(self, order: Any, now: Any) -> Call[Any]:
        """Never called."""
        raise NotImplementedError

    def query(self, order: Any, now: Any) -> Call[Any]:
        """Never called."""
        raise NotImplementedError

    def balance(self, now: Any) -> Call[int]:
        """Never called."""
        raise NotImplementedError

    def parse_callback(self, raw: RawCallback) -> CallbackReport | CallbackRefusal:
        """Never called."""
        raise NotImplementedError

    def acknowledge(self, *, ok: bool) -> Acknowledgement:
        """Never called."""
        raise NotImplementedError


class Kiosk(Shop):
    """A gateway that sells one product."""

    adapter: ClassVar[str] = "kiosk"
    products: ClassVar[frozenset[str]] = frozenset({"power"})
    settings_type: ClassVar[type[GatewaySettings]] = GatewaySettings


ADAPTERS: Mapping[str, type[Adapter]] = {"shop": Shop, "kiosk": Kiosk}

BASE = """
[amqp]
url = "amqp://guest:guest@127.0.0.1:5672/"
[database]
dsn = "postgresql://worker@127.0.0.1/worker"
"""
GATEWAYS = f"""
[gateways.corner]
adapter = "kiosk"
base_url = "http://127.0.0.1:9086"
[gateways.main]
adapter = "shop"
base_url = "https://shop.example.com"
app_key = "2002"
app_secret = "{CANARY}"
"""

Load = Callable[..., Settings]


@pytest.fixture
def read(tmp_path: Path) -> Load:
    def read_text(text: str = BASE, environ: Mapping[str, str] | None = None, **options: Any) -> Settings:
        path = tmp_path / "worker.toml"
        path.write_text(text, encoding="utf-8")
        return load(path, environ or {}, ADAPTERS, **options)

    return read_text


@pytest.fixture
def problems(read: Load) -> Callable[..., tuple[str, ...]]:
    def problems_of(text: str = BASE, environ: Mapping[str, str] | None = None, **options: Any) -> tuple[str, ...]:
        with pytest.raises(SettingsError) as caught:
            read(text, environ, **options)
        error: BaseException | None = caught.value
        while error is not None:  # nothing that a traceback may show repeats a secret
            assert CANARY not in f"{error} {error!r} {error.args}"
            error = error.__cause__ or error.__context__
        assert str(caught.value) == "\n".join(caught.value.problems)
        return caught.value.problems

    return problems_of


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


def test_secrets_come_from_files_beside_the_settings_and_from_the_environment(
    read: Load, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "secret.txt").write_text(f"{CANARY}\n", encoding="utf-8")
    environ = {"SHOP_DSN": f"postgresql://w:{CANARY}@db/worker"}
    monkeypatch.chdir("/")
    text = (BASE + GATEWAYS).replace(f'"{CANARY}"', '{file = "secret.txt"}')
    settings = read(text.replace('"postgresql://worker@127.0.0.1/worker"', '{env = "SHOP_DSN"}'), environ)
    gateway = settings.gateways["main"]
    assert isinstance(gateway, ShopSettings)
    assert gateway.app_secret.get_secret_value() == CANARY
    assert settings.database.dsn.get_secret_value() == f"postgresql://w:{CANARY}@db/worker"


def test_a_variable_may_point_to_a_secrets_file(read: Load, tmp_path: Path) -> None:
    (tmp_path / "other").write_text("from-the-file", encoding="utf-8")
    text = (BASE + GATEWAYS).replace(f'"{CANARY}"', '{env = "NOT_SET_ANYWHERE"}')
    gateway = read(text, {"WORKER_GATEWAYS__MAIN__APP_SECRET": '{"file": "other"}'}).gateways["main"]
    assert isinstance(gateway, ShopSettings)
    assert gateway.app_secret.get_secret_value() == "from-the-file"


def test_routes_default_to_every_seller_in_the_files_order(read: Load) -> None:
    assert read(BASE + GATEWAYS).routes == {"power": ("corner", "main"), "mobile": ("main",)}


def test_routes_are_taken_as_written(read: Load) -> None:
    settings = read(BASE + '[routes]\npower = ["main", "corner"]\n' + GATEWAYS)
    assert settings.routes == {"power": ("main", "corner"), "mobile": ("main",)}
    assert read(BASE + GATEWAYS, {"WORKER_ROUTES__POWER": "main"}).routes["power"] == ("main",)


def test_published_events_are_a_list(read: Load) -> None:
    assert read(BASE + '[events]\npublish = ["succeeded", "pending"]').events.publish == {"succeeded", "pending"}
    assert read(environ={"WORKER_EVENTS__PUBLISH": "failed,unknown"}).events.publish == {"failed", "unknown"}


def test_every_problem_is_told_at_once(problems: Callable[..., tuple[str, ...]]) -> None:
    text = f"""
    shop = 1
    [amqp]
    url = "http://guest:{CANARY}@broker/"
    prefix = "bad prefix"
    prefetch = "{CANARY}"
    [datbase]
    dsn = "{CANARY}"
    [ops]
    listen = "9108"
    [events]
    publish = ["succeded"]
    [routes]
    power = ["nobody", "corner"]
    mobile = ["corner"]
    watre = ["main"]
    [gateways.main]
    adapter = "shop"
    base_url = "ftp://{CANARY}"
    app_secrt = "{CANARY}"
    lease_seconds = -1
    [gateways.corner]
    adapter = "kiosk"
    base_url = "http://x"
    lease_seconds = 1
    [gateways."Bad Name"]
    adapter = "shpo"
    """
    found = problems(text, {"WORKER_DATABASE__POOL_SIZE": CANARY})
    names = [line.partition(":")[0] for line in found]
    assert sorted(names) == sorted(
        [
            "shop",
            "amqp.url",
            "amqp.prefix",
            "amqp.prefetch",
            "datbase",
            "database.dsn",
            "database.pool_size (WORKER_DATABASE__POOL_SIZE)",
            "ops.listen",
            "events.publish.0",
            "routes.power",
            "routes.mobile",
            "routes.watre",
            "gateways.main.base_url",
            "gateways.main.app_key",
            "gateways.main.app_secret",
            "gateways.main.app_secrt",
            "gateways.main.lease_seconds",
            "gateways.corner.lease_seconds",
            "gateways.Bad Name",
            "gateways.Bad Name.adapter",
        ]
    )
    assert "datbase: unknown section; did you mean database?" in found
    assert "gateways.main.app_secrt: unknown setting; did you mean app_secret?" in found
    assert "gateways.main.app_secret: missing; expected the secret that signs" in found
    assert "gateways.Bad Name.adapter: expected one of kiosk, shop; did you mean shop?" in found
    assert "routes.power: nobody is not configured" in found
    assert "routes.mobile: corner does not sell mobile" in found


@pytest.mark.parametrize(
    ("variable", "line"),
    [
        ("WORKER_AMQP__ULR", "amqp.ulr (WORKER_AMQP__ULR): unknown setting; did you mean url?"),
        ("WORKER_AMPQ__URL", "ampq (WORKER_AMPQ__URL): unknown section; did you mean amqp?"),
        ("WORKER_AMQP__URL__X", "amqp.url__x (WORKER_AMQP__URL__X): unknown setting; did you mean url?"),
        ("WORKER_DATABASE_DSN", "WORKER_DATABASE_DSN: unknown variable; did you mean WORKER_DATABASE__DSN?"),
        (
            "WORKER_GATEWAYS__MAIN__APP_SECRT",
            "gateways.main.app_secrt (WORKER_GATEWAYS__MAIN__APP_SECRT): unknown setting; did you mean app_secret?",
        ),
        (
            "WORKER_GATEWAYS__MAIM__APP_SECRET",
            "gateways.maim.adapter: missing; expected one of kiosk, shop; did you mean main?",
        ),
        ("WORKER_ROUTES__POWR", "routes.powr (WORKER_ROUTES__POWR): unknown product; did you mean power?"),
        (
            "WORKER_GATEWAYS__MAIN__ELECTRICITY",
            "gateways.main.electricity (WORKER_GATEWAYS__MAIN__ELECTRICITY): expected a table",
        ),
        (
            "WORKER_GATEWAYS__MAIN__QUERY_AFTER_SECONDS",
            (
                "gateways.main.query_after_seconds.0 (WORKER_GATEWAYS__MAIN__QUERY_AFTER_SECONDS): "
                "expected a valid number, unable to parse string as a number"
            ),
        ),
        (
            "WORKER_GATEWAYS__MAIN__TRUST_CALLBACKS",
            (
                "gateways.main.trust_callbacks (WORKER_GATEWAYS__MAIN__TRUST_CALLBACKS): "
                "expected a valid boolean, unable to interpret input"
            ),
        ),
    ],
)
def test_a_wrong_variable_is_named(problems: Callable[..., tuple[str, ...]], variable: str, line: str) -> None:
    assert line in problems(BASE + GATEWAYS, {variable: CANARY})


def test_what_kubernetes_puts_beside_us_is_left_alone(read: Load) -> None:
    read(environ={"WORKER_PORT": "tcp://10.0.0.1:80", "WORKER_SERVICE_HOST": "10.0.0.1", "WORKER_CONFIG": "ignored"})


@pytest.mark.parametrize(
    "url",
    [
        "",
        "amqp:guest@broker",
        "amqp://",
        "amqp://guest:guest@/",
        "amqp://guest:guest@broker:port/",
        "amqp://guest:guest@broker:99999/",
        "amqp://guest:se/cret@broker/",
        "amqp://guest:se#cret@broker/",
        "amqp://guest:guest@a,b/",
        "amqp://guest:guest@[::1/",
        "amqp://bro ker/",
        "redis://broker/",
    ],
)
def test_a_wrong_broker_url_is_refused(problems: Callable[..., tuple[str, ...]], url: str) -> None:
    (line,) = problems(environ={"WORKER_AMQP__URL": url})
    assert line.startswith("amqp.url (WORKER_AMQP__URL): expected ")


@pytest.mark.parametrize(
    "dsn",
    [
        "postgresql://worker@127.0.0.1/worker",
        "postgres:///worker?host=/run/postgresql",
        "postgresql://w:p%40ss@[::1]:5432/worker?sslmode=require",
        "postgresql://w@one:5432,two:5433/worker?target_session_attrs=read-write",
    ],
)
def test_dsns_that_postgresql_knows_are_taken(read: Load, dsn: str) -> None:
    assert read(environ={"WORKER_DATABASE__DSN": dsn}).database.dsn.get_secret_value() == dsn


@pytest.mark.parametrize("dsn", ["host=db password=x", "mysql://db/x", "postgresql://w:p/w@db/x", "postgresql:db"])
def test_a_wrong_dsn_is_refused(problems: Callable[..., tuple[str, ...]], dsn: str) -> None:
    (line,) = problems(environ={"WORKER_DATABASE__DSN": dsn})
    assert line.startswith("database.dsn (WORKER_DATABASE__DSN): expected ")
    assert dsn not in line


@pytest.mark.parametrize("listen", ["9108", ":9108", "host:", "host:99999", "http://host:80", "a b:1", "::1:80"])
def test_a_wrong_address_is_refused(problems: Callable[..., tuple[str, ...]], listen: str) -> None:
    (line,) = problems(environ={"WORKER_OPS__LISTEN": listen})
    assert line == 'ops.listen (WORKER_OPS__LISTEN): expected "host:port", or "" to turn it off'


@pytest.mark.parametrize("prefix", ["", "a b", "a..b", ".a", "amq.orders", "订单", "x" * 65])
def test_a_wrong_prefix_is_refused(problems: Callable[..., tuple[str, ...]], prefix: str) -> None:
    (line,) = problems(environ={"WORKER_AMQP__PREFIX": prefix})
    assert line.startswith("amqp.prefix (WORKER_AMQP__PREFIX): expected 1 to 64")


@pytest.mark.parametrize(
    ("name", "text"),
    [("amqp.prefetch", "0"), ("amqp.prefetch", "1.5"), ("database.pool_size", "0"), ("database.pool_size", "many")],
)
def test_numbers_have_bounds(problems: Callable[..., tuple[str, ...]], name: str, text: str) -> None:
    (line,) = problems(environ={f"WORKER_{name.replace('.', '__').upper()}": text})
    assert line.startswith(f"{name} (")
    assert ": expected " in line


def test_routes_name_each_gateway_once(problems: Callable[..., tuple[str, ...]]) -> None:
    for value in ('["main", "main"]', "[]", '"main"', "[1]"):
        (line,) = problems(f"{BASE}[routes]\npower = {value}\n{GATEWAYS}")
        assert line == "routes.power: expected a list of different gateways, at least one"


def test_sections_and_gateways_are_tables(problems: Callable[..., tuple[str, ...]]) -> None:
    text = f'amqp = "{CANARY}"\ngateways = {{main = "{CANARY}"}}\nroutes = 1\n[database]\ndsn = "postgresql://db/w"'
    found = problems(text, {"WORKER_AMQP__PREFIX": "x", "WORKER_GATEWAYS__MAIN__APP_KEY": "x"})
    assert set(found) >= {
        "amqp: expected a table, [amqp]",
        "gateways.main: expected a table, [gateways.main]",
        "routes: expected a table, [routes]",
    }


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


@pytest.mark.parametrize("content", [f'[amqp\nurl = "{CANARY}"'.encode(), f'x = "{CANARY}'.encode(), b'x = "\xff"'])
def test_a_file_that_is_not_toml_is_told_without_its_content(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"^--config: .*broken\.toml is not TOML") as caught:
        load(path, {}, ADAPTERS)
    assert CANARY not in str(caught.value)


def test_a_byte_order_mark_is_no_problem(tmp_path: Path) -> None:
    path = tmp_path / "worker.toml"
    path.write_bytes(b"\xef\xbb\xbf" + BASE.encode())
    assert load(path, {}, ADAPTERS).amqp.prefix == "orders"


def test_secrets_are_never_shown(read: Load) -> None:
    environ = {
        "WORKER_AMQP__URL": f"amqp://guest:{CANARY}@broker:5672/v?cadata={CANARY}",
        "WORKER_DATABASE__DSN": f"postgresql://worker@db/w?password={CANARY}",
        "WORKER_GATEWAYS__MAIN__HEADERS__KEY": CANARY,
    }
    settings = read(BASE + GATEWAYS, environ)
    parts = [settings, settings.amqp, settings.database, *settings.gateways.values(), settings.amqp.url]
    for part in parts:
        assert CANARY not in f"{part} {part!r} {copy.copy(part)!r}"
    for model in (settings.amqp, settings.database, *settings.gateways.values()):
        assert CANARY not in f"{model.model_dump()} {model.model_dump_json()}"
    assert str(settings.amqp.url) == "amqp://guest:****@broker:5672/v?****"
    assert str(settings.database.dsn) == "postgresql://worker@db/w?****"
    assert CANARY in settings.amqp.url.get_secret_value()


def test_an_unreadable_secret_names_the_setting_and_the_source(problems: Callable[..., tuple[str, ...]]) -> None:
    text = BASE + GATEWAYS
    assert problems(text.replace(f'"{CANARY}"', '{file = "gone"}')) == (
        "gateways.main.app_secret: the file gone cannot be read: FileNotFoundError",
    )
    assert problems(text.replace(f'"{CANARY}"', '{env = "NOT_SET_ANYWHERE"}')) == (
        "gateways.main.app_secret: the environment variable NOT_SET_ANYWHERE is not set",
    )
    assert problems(text.replace(f'"{CANARY}"', f'{{fil = "{CANARY}"}}')) == (
        'gateways.main.app_secret: expected text, {env = "NAME"} or {file = "path"}',
    )


def test_a_validator_that_repeats_the_value_gives_nothing_away(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Chatty(ShopSettings):
        @field_validator("app_key")
        @classmethod
        def _refuse(cls, value: str) -> str:
            raise ValueError(f"{value} is not a key")

    monkeypatch.setattr(Shop, "settings_type", Chatty)
    path = tmp_path / "worker.toml"
    path.write_text(BASE + GATEWAYS, encoding="utf-8")
    with pytest.raises(SettingsError) as caught:
        load(path, {"WORKER_GATEWAYS__MAIN__APP_KEY": CANARY}, ADAPTERS)
    assert str(caught.value) == "gateways.main.app_key (WORKER_GATEWAYS__MAIN__APP_KEY): **** is not a key"


def test_settings_are_frozen(read: Load) -> None:
    settings = read(BASE + GATEWAYS)
    with pytest.raises(AttributeError):
        setattr(settings, "amqp", settings.amqp)  # noqa: B010 - plainly assigned, mypy would refuse it first
    with pytest.raises(ValidationError):
        setattr(settings.amqp, "prefix", "x")  # noqa: B010 - the same


def test_an_error_can_be_pickled() -> None:
    error = pickle.loads(pickle.dumps(SettingsError("a: b", "c: d")))  # noqa: S301 - our own bytes
    assert error.problems == ("a: b", "c: d")
