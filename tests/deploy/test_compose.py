"""compose.yaml: what Docker Compose makes of it fits the worker's settings, commands and ports."""

import re
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
import yaml
from support.deployment import (
    DEPLOY,
    compose,
    instructions,
    longest_stop,
    named_files,
    parse_command,
    settings_of,
)

from worker.config import Settings
from worker.sandbox.simulators.wechat_keys import Keys

SETTINGS = DEPLOY / "compose" / "worker.toml"
OURS = ("sandbox", "migrate", "worker", "relay")
STATE = Path("/var/lib/worker")
SANDBOX_PORT = 9180


@pytest.fixture(scope="module")
def services() -> dict[str, dict[str, Any]]:
    found: dict[str, dict[str, Any]] = compose()["services"]
    return found


@pytest.fixture(scope="module")
def state(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What the sandbox's volume holds once the sandbox has made its keys."""
    made = tmp_path_factory.mktemp("state")
    Keys(made)
    return made


def _settings(service: dict[str, Any], state: Path) -> Settings:
    (command,) = service["command"]
    return settings_of(SETTINGS, service["environment"], command, {str(STATE): state}, state / "worker.toml")


def _port(service: dict[str, Any]) -> int:
    """Where its healthcheck looks."""
    found = re.search(r"127\.0\.0\.1:(\d+)", service["healthcheck"]["test"][-1])
    assert found is not None
    return int(found[1])


def _seconds(text: str) -> int:
    minutes, seconds = re.fullmatch(r"(?:(\d+)m)?(?:(\d+)s)?", text).groups()
    return int(minutes or 0) * 60 + int(seconds or 0)


def test_nobody_outside_this_machine_can_connect(services: dict[str, dict[str, Any]]) -> None:
    published = [port for service in services.values() for port in service.get("ports", [])]
    assert published
    assert {port["host_ip"] for port in published} == {"127.0.0.1"}


def test_everything_that_the_issue_asks_for_is_there(services: dict[str, dict[str, Any]]) -> None:
    assert set(services) == {"rabbitmq", "postgres", *OURS, "prometheus", "grafana"}
    assert re.fullmatch(r"rabbitmq:4(\.\d+)*-management", services["rabbitmq"]["image"])
    assert re.fullmatch(r"postgres:18(\.\d+)*", services["postgres"]["image"])
    assert services["worker"]["deploy"]["replicas"] == 2


def test_images_are_of_a_known_version_and_ours_is_built_once(services: dict[str, dict[str, Any]]) -> None:
    assert all(re.search(r":[\w.-]*\d|:compose$", service["image"]) for service in services.values())
    builders = [name for name in OURS if "build" in services[name]]
    assert len(builders) == 1
    assert (Path(services[builders[0]]["build"]["context"]) / services[builders[0]]["build"]["dockerfile"]).is_file()
    assert len({services[name]["image"] for name in OURS}) == 1
    assert {services[name]["pull_policy"] for name in OURS if name not in builders} == {"never"}


def test_whoever_is_waited_for_can_be_seen_to_be_ready(services: dict[str, dict[str, Any]]) -> None:
    for service in services.values():
        for name, wait in service.get("depends_on", {}).items():
            if wait["condition"] == "service_healthy":
                assert services[name]["healthcheck"]["test"]
    lasting = {name for name, service in services.items() if service.get("restart") == "unless-stopped"}
    assert lasting == set(services) - {"migrate"}
    assert all("healthcheck" in services[name] for name in lasting)


def test_workers_and_relay_wait_for_the_migration(services: dict[str, dict[str, Any]]) -> None:
    for name in ("worker", "relay"):
        assert services[name]["depends_on"]["migrate"]["condition"] == "service_completed_successfully"
    assert {"rabbitmq", "postgres", "sandbox"} <= set(services["migrate"]["depends_on"])


def test_what_is_mounted_from_here_is_here(services: dict[str, dict[str, Any]]) -> None:
    binds = [mount for each in services.values() for mount in each.get("volumes", []) if mount["type"] == "bind"]
    assert binds
    assert all(Path(mount["source"]).exists() and mount["read_only"] for mount in binds)


@pytest.mark.parametrize("name", OURS)
def test_our_containers_can_do_no_more_than_they_need(services: dict[str, dict[str, Any]], name: str) -> None:
    service = services[name]
    assert service["read_only"] is True
    assert service["cap_drop"] == ["ALL"]
    assert service["security_opt"] == ["no-new-privileges:true"]
    assert "user" not in service  # the image's own, which is not root
    writable = [mount["target"] for mount in service["volumes"] if not mount.get("read_only")]
    assert writable == ([str(STATE)] if name == "sandbox" else [])


@pytest.mark.parametrize("name", OURS)
def test_commands_are_the_workers(services: dict[str, dict[str, Any]], name: str) -> None:
    parse_command(services[name]["command"])


@pytest.mark.parametrize("name", ["worker", "relay", "migrate"])
def test_the_settings_are_where_the_image_looks(services: dict[str, dict[str, Any]], name: str) -> None:
    (variables,) = (given for instruction, given in instructions() if instruction == "ENV")
    path = dict(pair.split("=", 1) for pair in variables.split())["WORKER_CONFIG"]
    (mounted,) = (mount["source"] for mount in services[name]["volumes"] if mount["target"] == path)
    assert Path(mounted) == SETTINGS


def test_settings_ports_and_healthchecks_agree(services: dict[str, dict[str, Any]], state: Path) -> None:
    for name in ("worker", "relay"):
        settings = _settings(services[name], state)
        assert settings.ops.listen is not None
        assert settings.ops.listen.host == "0.0.0.0"  # noqa: S104 - inside its network
        assert settings.ops.listen.port == _port(services[name])
        assert _seconds(services[name]["stop_grace_period"]) >= (longest_stop(settings) if name == "worker" else 30)
    relay = _settings(services["relay"], state).relay.listen
    assert relay is not None
    assert [port["target"] for port in services["relay"]["ports"]] == [relay.port]
    sandbox = parse_command(services["sandbox"]["command"]).params
    assert (sandbox["host"], sandbox["port"]) == ("0.0.0.0", SANDBOX_PORT)  # noqa: S104 - the same
    assert [port["target"] for port in services["sandbox"]["ports"]] == [SANDBOX_PORT] == [_port(services["sandbox"])]


def test_settings_name_the_services_of_the_file(services: dict[str, dict[str, Any]], state: Path) -> None:
    settings = _settings(services["worker"], state)
    broker = urlsplit(settings.amqp.url.get_secret_value())
    given = services["rabbitmq"]["environment"]
    assert (broker.hostname, broker.username, broker.password) == (
        "rabbitmq",
        given["RABBITMQ_DEFAULT_USER"],
        given["RABBITMQ_DEFAULT_PASS"],
    )
    database = urlsplit(settings.database.dsn.get_secret_value())
    given = services["postgres"]["environment"]
    assert (database.hostname, database.username, database.password, database.path) == (
        "postgres",
        given["POSTGRES_USER"],
        given["POSTGRES_PASSWORD"],
        f"/{given['POSTGRES_DB']}",
    )
    assert {gateway.adapter for gateway in settings.gateways.values()} == {
        "wikeyun",
        "dingyin",
        "zjzdy",
        "wechat_ebike",
    }
    relay = settings.relay.listen
    assert relay is not None
    for name, gateway in settings.gateways.items():
        assert urlsplit(gateway.base_url).netloc == f"sandbox:{SANDBOX_PORT}"
        notify = getattr(gateway, "notify_url", None)
        assert notify in (None, f"http://relay:{relay.port}/callbacks/{name}")


def test_the_keys_that_the_settings_name_are_those_that_the_sandbox_makes(
    services: dict[str, dict[str, Any]], state: Path
) -> None:
    given = parse_command(services["sandbox"]["command"]).params["overrides"]
    assert f"wechat.keys={STATE}" in given
    named = named_files(SETTINGS)
    assert named
    assert all(path.parent == STATE and (state / path.name).is_file() for path in named)


def test_prometheus_scrapes_what_answers(services: dict[str, dict[str, Any]], state: Path) -> None:
    read = yaml.safe_load((DEPLOY / "prometheus" / "prometheus.yml").read_text())
    jobs = {job["job_name"]: job for job in read["scrape_configs"]}
    for name in ("worker", "relay"):
        ((found,),) = ([*jobs[name]["dns_sd_configs"]],)
        listen = _settings(services[name], state).ops.listen
        assert listen is not None
        assert (found["names"], found["port"]) == ([name], listen.port)
    (target,) = jobs["rabbitmq"]["static_configs"][0]["targets"]
    assert target.partition(":")[0] in services
    assert all((DEPLOY / "prometheus" / file).is_file() for file in read["rule_files"])


def test_grafana_finds_prometheus_and_its_dashboards(services: dict[str, dict[str, Any]]) -> None:
    provisioning = DEPLOY / "grafana" / "provisioning"
    (source,) = yaml.safe_load((provisioning / "datasources" / "prometheus.yml").read_text())["datasources"]
    url = urlsplit(source["url"])
    assert url.hostname == "prometheus"
    assert url.port in [port["target"] for port in services["prometheus"]["ports"]]
    (provider,) = yaml.safe_load((provisioning / "dashboards" / "worker.yml").read_text())["providers"]
    mounts = {mount["target"]: Path(mount["source"]) for mount in services["grafana"]["volumes"]}
    folder = mounts[provider["options"]["path"]]
    assert folder == DEPLOY / "grafana" / "dashboards"
    assert mounts["/etc/grafana/provisioning"] == provisioning
    dashboards = list(folder.glob("*.json"))
    assert dashboards
    for dashboard in dashboards:
        named = set(re.findall(r'"type":\s*"prometheus",\s*"uid":\s*"([^"]+)"', dashboard.read_text()))
        assert {uid for uid in named if not uid.startswith("$")} <= {source["uid"]}
