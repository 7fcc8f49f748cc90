"""How commands are called: options in both places, what is refused with which exit code, and the lines of `submit`."""

import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pytest
import typer

from worker import cli
from worker.broker.connection import BrokerLostError
from worker.broker.message import Outgoing
from worker.broker.publisher import Publisher
from worker.cli import execute
from worker.cli.common import Common, parse_moment
from worker.cli.output import Table, plain, write_fields
from worker.cli.submit import Checked, check_lines, publish_batch
from worker.ops import showing

ROOT = Path(__file__).parents[2]
SETTINGS = """
[amqp]
url = "amqp://guest:guest@127.0.0.1:1/"
[database]
dsn = "postgresql://worker:topsecret@127.0.0.1:1/worker"
[gateways.wikeyun]
adapter = "wikeyun"
base_url = "http://127.0.0.1:1/wikeyun"
notify_url = "https://relay.example.com/callbacks/wikeyun"
store_id = "1"
app_key = "2"
app_secret = "3"
client_ip = "127.0.0.1"
"""
ORDER = {"order_no": "T1", "product": "mobile", "amount_fen": 10000, "target": {"mobile": "13800138000"}}


@pytest.fixture(autouse=True)
def _bare(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """No settings from outside, and the logs of other tests stay as they are."""
    for name in list(os.environ):
        if name.startswith("WORKER_"):
            monkeypatch.delenv(name)
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(Common, "log", lambda *_: None)


@pytest.fixture
def settings_file(tmp_path: Path) -> str:
    """Settings that nothing is wrong with, where nothing answers."""
    path = tmp_path / "elsewhere.toml"
    path.write_text(SETTINGS)
    return str(path)


@pytest.fixture
def checked() -> Iterator[Checked]:
    """What takes the lines of `submit`."""
    with tempfile.TemporaryFile() as spool:
        yield Checked(spool)


def line(**changes: object) -> bytes:
    return orjson.dumps({**ORDER, **changes})


def write(path: Path, *lines: bytes) -> Path:
    path.write_bytes(b"\n".join(lines))
    return path


# --- usage ---------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        ([], "Usage: worker"),
        (["nonsense"], "nonsense"),
        (["check", "--nonsense"], "--nonsense"),
        (["gateways"], "Usage: worker gateways"),
        (["gateways", "pause"], "GATEWAY"),
        (["orders"], "Usage: worker orders"),
        (["orders", "show"], "ORDER_NO"),
        (["orders", "list", "--state", "done"], "'done' is not one of 'queued'"),
        (["orders", "list", "--product", "mobil"], "expected one of mobile"),
        (["orders", "list", "--since", "yesterday"], "--since"),
        (["orders", "list", "--limit", "-1"], "--limit"),
        (["orders", "list", "--source", "Shop"], "--source"),
        (["orders", "list", "--older-than", "yesterday"], "expected a length of time: 90s, 10m, 2h, 7d"),
        (["orders", "resolve", "T1", "failed"], "--note"),
        (["orders", "resolve", "T1", "failed", "--note", "two\nlines"], "--note: expected 1 to 500"),
        (["orders", "resolve", "T1", "partial", "--note", "x"], "'partial' is not one of 'succeeded', 'failed'"),
        (["orders", "resubmit", "T1"], "--note"),
        (["orders", "resubmit", "T1", "--note", "x", "--operator", " "], "--operator: expected a name"),
        (["dead"], "Usage: worker dead"),
        (["dead", "list", "--reason", "boredom"], "boredom: expected one of invalid_message"),
        (["dead", "drop"], "name what is to be dropped"),
        (["dead", "drop", "--all", "--reason", "poison"], "name what is to be dropped"),
        (["dead", "drop", "--all", "--note", "x" * 201], "--note: expected at most 200"),
        (["orders", "list", "--gateway", "\udcff"], "--gateway"),
        (["run", "--products", "mobile,gas"], "gas: nobody knows that"),
        (["run", "--products", ","], "expected some of mobile"),
        (["relay", "--listen", "127.0.0.1:1"], "--listen"),
        (["relay", "mobile"], "Got unexpected extra argument"),
        (["--log-level", "loud", "check"], "--log-level"),
        (["migrate", "--sql", "--broker"], "--sql"),
        (["sandbox", "--fault-rate", "1.5"], "Invalid value for --fault-rate: expected a share from 0 to 1"),
        (["sandbox", "--set", "wikeyun.mobile_amounts=50,x"], "--set: wikeyun.mobile_amounts: expected whole numbers"),
        (["sandbox", "--set", "wikeyun.app_secret="], "--set: wikeyun.app_secret: expected a text"),
        (["sandbox", "--set", "wikeyun.colour=red"], "--set: wikeyun.colour: no such setting"),
        (["sandbox", "--set", "gas.key=1"], "--set: gas.key: no such simulator"),
        (["sandbox", "--set", "wikeyun"], "--set: wikeyun: expected SIMULATOR.SETTING=VALUE"),
        (["sandbox", "--port", "65536"], "--port"),
        (["demo", "--orders", "0"], "--orders"),
        (["submit", "nowhere.jsonl"], "amqp.url: missing"),
    ],
)
def test_wrong_usage_exits_2_and_says_what(arguments: list[str], told: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(arguments) == 2
    out, err = capsys.readouterr()
    assert told in err
    assert "Traceback" not in err
    assert not out


@pytest.mark.parametrize(
    ("arguments", "told"),
    [
        (["pause", "nobody"], "nobody is not configured; expected one of wikeyun"),
        (["resume", "nobody"], "nobody is not configured; expected one of wikeyun"),
        (["pause", "wikeyun", "--note", "two\nlines"], "--note: expected at most 200 printable characters"),
        (["pause", "wikeyun", "--operator", " "], "--operator: expected a name"),
    ],
)
def test_wrong_words_about_a_gateway(
    arguments: list[str], told: str, settings_file: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert execute(["gateways", *arguments, "--config", settings_file]) == 2
    assert told in capsys.readouterr().err


def test_each_wrong_setting_has_its_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["check"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [each.partition(":")[0] for each in lines] == ["amqp.url", "database.dsn", "gateways"]


@pytest.mark.parametrize(
    "arguments",
    [["--config", "{}", "check"], ["check", "--config", "{}"], ["orders", "--config", "{}", "list"], ["check"]],
)
def test_config_is_taken_before_and_after_the_command_and_from_the_environment(
    arguments: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "some.toml"
    path.write_text("[nonsense]\n")
    if arguments == ["check"]:
        monkeypatch.setenv("WORKER_CONFIG", str(path))
    assert execute([each.format(path) for each in arguments]) == 2
    assert "nonsense: unknown section" in capsys.readouterr().err


def test_the_relay_wants_a_broker_gateways_and_an_address(
    settings_file: str, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    assert execute(["relay"]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert [each.partition(":")[0] for each in lines] == ["amqp.url", "gateways"]
    monkeypatch.setenv("WORKER_RELAY__LISTEN", "")
    assert execute(["relay", "--config", settings_file]) == 2
    assert capsys.readouterr().err == 'relay.listen: expected "host:port" for the relay to listen on\n'


def test_after_the_command_counts_more(settings_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["--config", "missing.toml", "orders", "list", "--config", settings_file]) == 1
    assert execute(["--config", settings_file, "orders", "list", "--config", "missing.toml"]) == 2
    assert "missing.toml" in capsys.readouterr().err


@pytest.mark.parametrize("arguments", [["--version"], ["--help"], ["-h"], ["orders", "show", "--help"]])
def test_asking_is_no_error(arguments: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(arguments) == 0
    out, err = capsys.readouterr()
    assert out
    assert not err


@pytest.mark.parametrize(
    "arguments",
    [
        *(
            ["migrate"],
            ["migrate", "--broker"],
            ["orders", "list", "--json"],
            ["orders", "show", "T1"],
            ["submit", "x"],
            ["orders", "resolve", "T1", "failed", "--note", "x"],
            ["dead", "list"],
            ["dead", "replay"],
        ),
        *(["gateways", "list"], ["gateways", "pause", "wikeyun"], ["gateways", "resume", "wikeyun"]),
    ],
)
def test_what_is_away_exits_1_with_one_line_and_no_secret(
    arguments: list[str], settings_file: str, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    write(tmp_path / "x", line())
    assert execute([*arguments, "--config", settings_file]) == 1
    out, err = capsys.readouterr()
    assert not out
    assert len(err.splitlines()) == (2 if arguments[0] == "submit" else 1)
    assert err.startswith(("database: ", "broker: "))
    assert "topsecret" not in err


def test_help_loads_nothing_heavy() -> None:
    heavy = ["alembic", "aiohttp", "asyncpg", "aiormq", "pydantic", "rich", "sqlalchemy", "structlog", "uvloop"]
    code = f"import sys, worker.cli; print(*set(sys.modules) & set({heavy}))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, text=True, check=True)
    assert done.stdout == "\n"


def test_the_second_signal_does_not_wait() -> None:
    code = (
        "import asyncio\nfrom worker.cli.common import stop_on_signal\n"
        "async def main():\n    stop = stop_on_signal()\n    print(flush=True)\n    await stop.wait()\n"
        "    print(flush=True)\n    await asyncio.sleep(60)\n"
        "asyncio.run(main())\n"
    )
    with subprocess.Popen([sys.executable, "-c", code], cwd=ROOT, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        for number in (signal.SIGTERM, signal.SIGINT):
            process.stdout.readline()
            process.send_signal(number)
        assert process.wait(10) == 1


# --- times and tables ----------------------------------------------------------------------------


def test_moments() -> None:
    assert parse_moment("2026-11-21") == datetime(2026, 11, 21, tzinfo=UTC)
    assert parse_moment("2026-11-21T20:00:00+08:00") == datetime(2026, 11, 21, 12, tzinfo=UTC)
    assert parse_moment("2026-11-21T12:00:00Z") == datetime(2026, 11, 21, 12, tzinfo=UTC)
    assert abs(datetime.now(UTC) - timedelta(hours=2) - parse_moment("2h")) < timedelta(seconds=5)


@pytest.mark.parametrize(
    "text", ["", "2026-11-21T12:00:00", "now", "2h30m", "0001-01-01T00:00:00+08:00", "9" * 400, "999999d"]
)
def test_what_is_no_moment(text: str) -> None:
    with pytest.raises(typer.BadParameter):
        parse_moment(text)


def test_text_from_outside_commands_no_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    assert plain("a\x1b[31m\nb") == "a [31m b"
    table = Table("no", ">yuan", "text")
    table.write([["T1", "1.00", "\x1b]0;x\x07"], ["T22", "10.00", ""]])
    table.write([["T3", "5.00", "."]])
    assert capsys.readouterr().out == "no    yuan  text\nT1    1.00   ]0;x\nT22  10.00\nT3    5.00  .\n"
    write_fields([("a", "1"), ("none", ""), ("long", "2")])
    assert capsys.readouterr().out == "a     1\nlong  2\n"


# --- the lines of submit ---------------------------------------------------------------------------


def test_good_lines_are_kept_as_they_came(checked: Checked, tmp_path: Path) -> None:
    spaced = b' {"order_no": "T3",\t"product": "mobile", "amount_fen": 1, "target": {"mobile": "13800138000"}} '
    file = write(tmp_path / "orders", b"\xef\xbb\xbf" + line(), b"", line(order_no="T2") + b"\r", b"  \t", spaced)
    check_lines(checked, [file])
    assert checked.problems == []
    assert checked.count == 3
    assert checked.products == {"mobile"}
    assert list(checked.bodies()) == [
        ("mobile", line()),
        ("mobile", line(order_no="T2")),
        ("mobile", spaced.strip()),
    ]


def test_every_bad_line_is_named_with_its_field(checked: Checked, tmp_path: Path) -> None:
    first = write(tmp_path / "first", line(), b"{", line(order_no="T2", amount_fen="5"))
    second = write(
        tmp_path / "second",
        line(order_no="T3", target={"mobile": "13800138000", "sped": "fast"}),
        line(order_no="T4", product="gas"),
        b'{"order_no": "T5", "order_no": "T6"}',
        line(order_no="T7", target={"mobile": "\xff"}),
    )
    check_lines(checked, [first, second])
    assert [each.removeprefix(f"{tmp_path}/") for each in checked.problems] == [
        "first:2: body: expected JSON, line 1 column 2",
        "first:3: amount_fen: expected an integer",
        "second:1: target.sped: unknown field",
        "second:2: product: nobody knows this product",
        "second:3: order_no: given twice",
        "second:4: target.mobile: expected text that matches ^1[0-9]{10}$",
    ]


def test_one_number_with_other_content_is_refused(checked: Checked, tmp_path: Path) -> None:
    file = write(
        tmp_path / "orders",
        line(),
        line(source="default"),  # the default written out: the same order
        line(expires_at="2030-01-01T00:00:00Z"),  # no part of the content
        line(amount_fen=20000),
    )
    check_lines(checked, [file])
    assert checked.count == 3
    assert checked.problems == [f"{file}:4: order_no: {file}:1 has the same number with other content"]


def test_one_bad_line_and_nothing_is_published(
    settings_file: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write(tmp_path / "orders", line(), line(order_no="no blanks"))
    assert execute(["submit", "--config", settings_file, "--json", "orders"]) == 1  # no broker was asked
    out, err = capsys.readouterr()
    assert not out
    assert err.splitlines() == [
        "orders:2: order_no: expected text that matches ^[A-Za-z0-9_-]{1,28}$",
        "nothing was published",
    ]


def test_a_file_that_is_not_there_is_wrong_usage(settings_file: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert execute(["submit", "--config", settings_file, "nowhere.jsonl"]) == 2
    assert "nowhere.jsonl: No such file or directory" in capsys.readouterr().err


class Flaky(Publisher):
    """Loses what it is told to, and notes what it was given."""

    def __init__(self, *results: list[bool | BrokerLostError]) -> None:
        self._results = list(results)
        self.given: list[list[str]] = []

    async def publish_many(self, messages: Sequence[Outgoing]) -> list[bool | BrokerLostError]:
        """Return the next of what it was told to."""
        self.given.append([str(message.message_id) for message in messages])
        return self._results.pop(0)


LOST = BrokerLostError("publish: not confirmed")


@pytest.mark.parametrize(
    ("results", "trouble", "confirmed", "given"),
    [
        ([[True, True, True]], "", 3, [["1", "2", "3"]]),
        ([[True, LOST, LOST], [LOST, True], [True]], "", 3, [["1", "2", "3"], ["2", "3"], ["2"]]),
        ([[LOST] * 3, [LOST] * 3, [True, LOST, LOST]], "broker: publish: not confirmed", 1, [["1", "2", "3"]] * 3),
        ([[True, False, LOST]], "broker: no queue took 1 of the orders", 1, [["1", "2", "3"]]),
        ([[True, True, LOST], [False]], "broker: no queue took 1 of the orders", 2, [["1", "2", "3"], ["3"]]),
    ],
)
async def test_what_is_not_confirmed_is_published_again_under_its_number(
    results: list[list[bool | BrokerLostError]], trouble: str, confirmed: int, given: list[list[str]]
) -> None:
    publisher = Flaky(*results)
    batch = [Outgoing("orders", "submit.mobile", b"{}", message_id=number) for number in "123"]
    assert await publish_batch(publisher, batch) == (trouble, confirmed)
    assert publisher.given == given


def test_an_error_that_nobody_expects_is_told_without_secrets(monkeypatch: pytest.MonkeyPatch) -> None:
    """As Python would, where it came from too, but for what must not be shown; the exit code is 1."""

    def fail(_arguments: object) -> int:
        raise RuntimeError("it broke on a-secret-of-ours and 13800138000")

    written: list[str] = []
    monkeypatch.setattr(cli, "execute", fail)
    monkeypatch.setattr(cli.typer, "echo", lambda line, **_: written.append(line))
    monkeypatch.setattr(showing, "_secrets", {"a-secret-of-ours"})
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert ended.value.code == 1
    assert written[:2] == [
        "this is an error in the worker itself; report it:",
        "RuntimeError: it broke on **** and 138****8000",
    ]
    assert written[-1].endswith(" in fail")
