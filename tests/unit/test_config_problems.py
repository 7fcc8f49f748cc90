"""Settings that are wrong: every problem at once, each under its name, with a hint."""

import pickle
from collections.abc import Callable

import pytest
from support.settings import BASE, CANARY, GATEWAYS, Load

from worker.config import SettingsError


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


@pytest.mark.parametrize("value", ["inf", "nan", "1e300"])
@pytest.mark.parametrize(
    "name",
    [
        "rate_per_second",
        "timeout_seconds",
        "query_after_seconds",
        "query_deadline_seconds",
        "lease_seconds",
        "settle_seconds",
        "unfunded_pause_seconds",
        "balance_every_seconds",
        "balance_warning_hours",
    ],
)
def test_no_wait_is_longer_than_time_can_hold(problems: Callable[..., tuple[str, ...]], name: str, value: str) -> None:
    (line,) = problems(BASE + GATEWAYS, {f"WORKER_GATEWAYS__MAIN__{name.upper()}": value})
    assert line.startswith(f"gateways.main.{name}")


def test_a_short_lease_is_told_beside_other_problems(problems: Callable[..., tuple[str, ...]]) -> None:
    found = problems(
        BASE + GATEWAYS,
        {"WORKER_GATEWAYS__MAIN__TIMEOUT_SECONDS": "90", "WORKER_GATEWAYS__MAIN__CONCURRENCY": "0"},
    )
    names = [line.partition(" ")[0].partition(":")[0] for line in found]
    assert names == ["gateways.main.concurrency", "gateways.main.lease_seconds"]


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


@pytest.mark.parametrize(
    ("variable", "url", "name"),
    [
        ("WORKER_AMQP__URL", "amqps://guest:guest@broker/?cafile=/nowhere/ca.pem", "cafile"),
        ("WORKER_DATABASE__DSN", "postgresql://w@db/x?sslmode=verify-full&sslrootcert=/nowhere/ca.pem", "sslrootcert"),
        ("WORKER_DATABASE__DSN", "postgresql://w@db/x?sslcert=/", "sslcert"),
    ],
)
def test_a_file_for_tls_that_is_not_there(
    problems: Callable[..., tuple[str, ...]], variable: str, url: str, name: str
) -> None:
    (line,) = problems(environ={variable: url})
    assert f"({variable}): {name}: expected a file that can be read" in line
    assert url not in line


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


def test_an_error_can_be_pickled() -> None:
    error = pickle.loads(pickle.dumps(SettingsError("a: b", "c: d")))  # noqa: S301 - our own bytes
    assert error.problems == ("a: b", "c: d")


@pytest.mark.parametrize(
    "url",
    [
        "localhost:4318",
        "grpc://collector:4317",
        "http://u:canary-secret@collector",
        "https://",
        "http://a,b/",
        "http://c?x=y",
    ],
)
def test_a_wrong_collector_is_refused(problems: Callable[..., tuple[str, ...]], url: str) -> None:
    (line,) = problems(environ={"WORKER_OPS__OTLP_ENDPOINT": url})
    expected = 'expected a URL like http://collector:4318, without a password, or "" to turn it off'
    assert line == f"ops.otlp_endpoint (WORKER_OPS__OTLP_ENDPOINT): {expected}"
