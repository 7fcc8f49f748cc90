"""The systemd units: correct, hardened alike, and about commands and settings that exist."""

import shlex
from pathlib import Path

import pytest
from support.deployment import DEPLOY, ask, longest_stop, parse_command, settings_of, skip_unless_there, unit

UNITS = ("worker@.service", "worker-relay.service", "worker-migrate.service")
INSTANCE = "9108"
HARDENING_STARTS = "UMask"
EXPOSED_AT_MOST = 15  # tenths, of the hundred that an unhardened service has

SETTINGS = """
[amqp]
url = "amqp://127.0.0.1/"
[database]
dsn = "postgresql://worker@127.0.0.1/worker"
[gateways.campus]
adapter = "zjzdy"
base_url = "https://campus.example.com"
"""


def _service(name: str) -> dict[str, str]:
    return {key: value.replace("%i", INSTANCE) for key, value in unit(name)["Service"]}


def _command(name: str) -> list[str]:
    program, *arguments = shlex.split(_service(name)["ExecStart"])
    assert Path(program).name == "worker"
    return arguments


@pytest.mark.parametrize("name", UNITS)
def test_systemd_verifies_them(name: str, tmp_path: Path) -> None:
    program = skip_unless_there("systemd-analyze", "apt-get install systemd")
    for each in UNITS:  # they name each other
        text = (DEPLOY / "systemd" / each).read_text()
        (tmp_path / each).write_text(text.replace("/opt/worker/bin/worker", "/bin/true"))
    assert ask(program, "verify", "--man=no", str(tmp_path / name)) == ""
    # an exit code of its own when a service is more exposed than that
    ask(program, "security", "--offline=true", f"--threshold={EXPOSED_AT_MOST}", str(tmp_path / name))


def test_they_are_hardened_alike() -> None:
    found = []
    for name in UNITS:
        keys = [key for key, _ in unit(name)["Service"]]
        found.append(unit(name)["Service"][keys.index(HARDENING_STARTS) :])
    assert found[0] == found[1] == found[2]


@pytest.mark.parametrize(("name", "command"), [(UNITS[0], "run"), (UNITS[1], "relay"), (UNITS[2], "migrate")])
def test_commands_and_settings_are_the_workers(name: str, command: str, tmp_path: Path) -> None:
    service = _service(name)
    assert _command(name) == [command]
    parse_command(_command(name))
    environ = dict(pair.split("=", 1) for pair in shlex.split(service["Environment"]))
    assert environ.pop("WORKER_CONFIG") == "/etc/worker/worker.toml"
    (tmp_path / "given.toml").write_text(SETTINGS)
    settings = settings_of(tmp_path / "given.toml", environ, command, {}, tmp_path / "worker.toml")
    if command == "run":
        assert str(settings.ops.listen) == f"127.0.0.1:{INSTANCE}"
        assert float(service["TimeoutStopSec"]) >= longest_stop(settings)


def test_relay_and_workers_have_ports_of_their_own() -> None:
    listens = [_service(name)["Environment"] for name in UNITS[:2]]
    assert len({given.partition("WORKER_OPS__LISTEN=")[2].split()[0] for given in listens}) == 2


def test_the_user_they_name_is_made() -> None:
    kind, name, *_ = (DEPLOY / "systemd" / "sysusers.conf").read_text().split()
    assert kind == "u"
    assert {_service(each)["User"] for each in UNITS} == {name}


def test_wrong_settings_are_not_tried_again_for_ever() -> None:
    for name in UNITS[:2]:
        service = _service(name)
        assert (service["Restart"], service["RestartPreventExitStatus"]) == ("always", "2")
