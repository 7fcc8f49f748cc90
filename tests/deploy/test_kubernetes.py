"""The Kubernetes manifests: built by kustomize, judged by Kubernetes' own schemas, and about settings that exist."""

import re
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
from jsonschema import Draft202012Validator
from support.deployment import DEPLOY, ROOT, kustomized, longest_stop, named_files, parse_command, settings_of

from worker.config import Settings

VERSIONS = ("1.29", "1.37")  # the oldest that some cluster may still be, and the newest that the schemas know
SETTINGS = DEPLOY / "kubernetes" / "example" / "worker.toml"
GIVEN = {"amqp-url": "amqp://broker/", "database-dsn": "postgresql://worker@database/worker"}

SCALED_OBJECT = Draft202012Validator(
    {
        "$defs": {
            "texts": {"type": "object", "additionalProperties": {"type": "string"}},
            "natural": {"type": "integer", "minimum": 0},
        },
        "type": "object",
        "additionalProperties": False,
        "required": ["apiVersion", "kind", "metadata", "spec"],
        "properties": {
            "apiVersion": {"const": "keda.sh/v1alpha1"},
            "kind": {"const": "ScaledObject"},
            "metadata": {"type": "object"},
            "spec": {
                "type": "object",
                "additionalProperties": False,
                "required": ["scaleTargetRef", "triggers"],
                "properties": {
                    "scaleTargetRef": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["name"],
                        "properties": {name: {"type": "string"} for name in ("name", "kind", "apiVersion")},
                    },
                    **{
                        f"{name}": {"$ref": "#/$defs/natural"}
                        for name in ("pollingInterval", "cooldownPeriod", "minReplicaCount", "maxReplicaCount")
                    },
                    "fallback": {
                        "type": "object",
                        "additionalProperties": False,
                        "required": ["failureThreshold", "replicas"],
                        "properties": {name: {"$ref": "#/$defs/natural"} for name in ("failureThreshold", "replicas")},
                    },
                    "advanced": {
                        "type": "object",
                        "additionalProperties": False,
                        "properties": {"horizontalPodAutoscalerConfig": {"type": "object"}},
                    },
                    "triggers": {
                        "type": "array",
                        "minItems": 1,
                        "items": {
                            "type": "object",
                            "additionalProperties": False,
                            "required": ["type", "metadata"],
                            "properties": {
                                "type": {"const": "prometheus"},
                                "metadata": {
                                    "$ref": "#/$defs/texts",
                                    "required": ["serverAddress", "query", "threshold"],
                                },
                            },
                        },
                    },
                },
            },
        },
    }
)
"""The part of KEDA's kind that is used here, as its reference has it; no package holds the whole."""


@pytest.fixture(scope="module")
def objects() -> dict[tuple[str, str], dict[str, Any]]:
    return {(each["kind"], each["metadata"]["name"]): each for each in kustomized("example")}


def _pod(objects: dict[tuple[str, str], dict[str, Any]], name: str) -> dict[str, Any]:
    kind = "Job" if name == "worker-migrate" else "Deployment"
    spec: dict[str, Any] = objects[kind, name]["spec"]["template"]["spec"]
    return spec


def _container(objects: dict[tuple[str, str], dict[str, Any]], name: str) -> dict[str, Any]:
    (container,) = _pod(objects, name)["containers"]
    found: dict[str, Any] = container
    return found


def _environ(container: dict[str, Any]) -> dict[str, str]:
    """What the pod's environment is, with secrets as their keys say."""
    return {
        each["name"]: each.get("value") or GIVEN[each["valueFrom"]["secretKeyRef"]["key"]] for each in container["env"]
    }


def _settings(container: dict[str, Any], directory: Path) -> Settings:
    mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
    for path in named_files(SETTINGS):
        assert str(path.parent) == mounts["gateways"]
        (directory / path.name).write_text("a secret")
    (command,) = container["args"]
    files = {mounts["gateways"]: directory}
    return settings_of(SETTINGS, _environ(container), command, files, directory / "worker.toml")


@pytest.mark.parametrize("version", VERSIONS)
def test_kubernetes_knows_every_field(objects: dict[tuple[str, str], dict[str, Any]], version: str) -> None:
    for (kind, _), each in objects.items():
        if kind != "ScaledObject":
            kubernetes_validate.validate(each, version, strict=True)


def test_the_schemas_would_see_a_slip(objects: dict[tuple[str, str], dict[str, Any]]) -> None:
    budget = objects["PodDisruptionBudget", "worker"]
    slip = {**budget, "spec": {**budget["spec"], "maxUnavailible": 1}}
    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(slip, VERSIONS[-1], strict=True)


def test_the_base_stands_without_keda() -> None:
    for each in kustomized("base"):
        kubernetes_validate.validate(each, VERSIONS[-1], strict=True)


def test_everything_is_there_and_in_one_namespace(objects: dict[tuple[str, str], dict[str, Any]]) -> None:
    expected = {
        *(("Deployment", name) for name in ("worker", "relay", "operator")),
        *(("PodDisruptionBudget", name) for name in ("worker", "relay")),
        *(("Job", "worker-migrate"), ("Service", "relay"), ("Ingress", "relay"), ("ScaledObject", "worker")),
    }
    assert expected <= set(objects)
    assert {each["metadata"].get("namespace") for (kind, _), each in objects.items() if kind != "Namespace"} == {
        "orders"
    }


@pytest.mark.parametrize("name", ["worker", "relay", "worker-migrate", "operator"])
def test_pods_are_restricted(objects: dict[tuple[str, str], dict[str, Any]], name: str) -> None:
    pod, container = _pod(objects, name), _container(objects, name)
    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert pod["securityContext"]["seccompProfile"] == {"type": "RuntimeDefault"}
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["resources"]["limits"]["memory"]
    assert re.fullmatch(r"[\w./-]+/order-worker:[\w.-]+", container["image"])


@pytest.mark.parametrize(("name", "command"), [("worker", "run"), ("relay", "relay"), ("worker-migrate", "migrate")])
def test_commands_and_settings_are_the_workers(
    objects: dict[tuple[str, str], dict[str, Any]], name: str, command: str, tmp_path: Path
) -> None:
    container = _container(objects, name)
    assert container["args"] == [command]
    parse_command(container["args"])
    settings = _settings(container, tmp_path)
    if command == "migrate":
        return
    ports = {port["name"]: port["containerPort"] for port in container["ports"]}
    assert settings.ops.listen is not None
    assert (settings.ops.listen.host, settings.ops.listen.port) == ("0.0.0.0", ports["ops"])  # noqa: S104 - a pod's own
    probes = {kind: container[f"{kind}Probe"]["httpGet"] for kind in ("startup", "liveness", "readiness")}
    assert {probe["port"] for probe in probes.values()} == {"ops"}
    assert [probes[kind]["path"] for kind in ("startup", "liveness", "readiness")] == [
        "/healthz",
        "/healthz",
        "/readyz",
    ]
    if command == "relay":
        assert settings.relay.listen is not None
        assert (settings.relay.listen.host, settings.relay.listen.port) == ("0.0.0.0", ports["http"])  # noqa: S104
        assert "WORKER_DATABASE__DSN" not in _environ(container)


def test_a_worker_may_take_its_time_to_end(objects: dict[tuple[str, str], dict[str, Any]], tmp_path: Path) -> None:
    settings = _settings(_container(objects, "worker"), tmp_path)
    assert _pod(objects, "worker")["terminationGracePeriodSeconds"] >= longest_stop(settings)


def test_no_secret_is_in_the_manifests(objects: dict[tuple[str, str], dict[str, Any]]) -> None:
    assert not [name for kind, name in objects if kind == "Secret"]
    for name in ("worker", "relay", "worker-migrate"):
        for each in _container(objects, name)["env"]:
            if each["name"] in ("WORKER_AMQP__URL", "WORKER_DATABASE__DSN"):
                assert set(each["valueFrom"]) == {"secretKeyRef"}
    assert named_files(SETTINGS)


@pytest.mark.parametrize("name", ["worker", "operator"])
def test_a_pod_for_commands_has_room_for_many_dead_letters(
    objects: dict[tuple[str, str], dict[str, Any]], name: str
) -> None:
    """Their root is read-only."""
    mounts = {mount["mountPath"]: mount for mount in _container(objects, name)["volumeMounts"]}
    assert not mounts["/tmp"].get("readOnly")  # noqa: S108 - in the pod
    volumes = {volume["name"]: volume for volume in _pod(objects, name)["volumes"]}
    assert volumes[mounts["/tmp"]["name"]]["emptyDir"]  # noqa: S108


def test_settings_that_change_restart_the_pods(objects: dict[tuple[str, str], dict[str, Any]]) -> None:
    (generated,) = (name for kind, name in objects if kind == "ConfigMap")
    assert re.fullmatch(r"worker-settings-\w+", generated)
    for name in ("worker", "relay", "worker-migrate", "operator"):
        volumes = {volume["name"]: volume for volume in _pod(objects, name)["volumes"]}
        assert volumes["settings"]["configMap"]["name"] == generated


def test_an_operator_s_pod_has_what_a_worker_s_has(objects: dict[tuple[str, str], dict[str, Any]]) -> None:
    """It is there when somebody scales it, whatever became of the workers."""
    assert objects["Deployment", "operator"]["spec"]["replicas"] == 0
    own, theirs = _container(objects, "operator"), _container(objects, "worker")
    assert own["image"] == theirs["image"]
    assert all(each in theirs["env"] for each in own["env"])
    assert {mount["name"] for mount in own["volumeMounts"]} == {mount["name"] for mount in theirs["volumeMounts"]}
    assert _pod(objects, "operator")["volumes"] == _pod(objects, "worker")["volumes"]


def test_callbacks_reach_the_relay(objects: dict[tuple[str, str], dict[str, Any]], tmp_path: Path) -> None:
    (rule,) = objects["Ingress", "relay"]["spec"]["rules"]
    settings = _settings(_container(objects, "worker"), tmp_path)
    for name, gateway in settings.gateways.items():
        (path,) = rule["http"]["paths"]
        url = f"https://{rule['host']}{path['path']}/{name}"
        assert getattr(gateway, "notify_url", url) == url
    service = objects["Service", "relay"]
    assert path["backend"]["service"] == {"name": "relay", "port": {"name": service["spec"]["ports"][0]["name"]}}
    labels = objects["Deployment", "relay"]["spec"]["template"]["metadata"]["labels"]
    assert service["spec"]["selector"].items() <= labels.items()
    ports = [port["name"] for port in _container(objects, "relay")["ports"]]
    assert service["spec"]["ports"][0]["targetPort"] in ports


def test_keda_alone_says_how_many_workers_there_are(objects: dict[tuple[str, str], dict[str, Any]]) -> None:
    scaled = objects["ScaledObject", "worker"]
    SCALED_OBJECT.validate(scaled)
    assert ("Deployment", scaled["spec"]["scaleTargetRef"]["name"]) in objects
    assert "replicas" not in objects["Deployment", "worker"]["spec"]
    assert scaled["spec"]["minReplicaCount"] >= 2  # with none there is nobody to tell the metrics


def test_keda_asks_for_metrics_that_exist(objects: dict[tuple[str, str], dict[str, Any]]) -> None:
    metrics = (ROOT / "worker" / "ops" / "metrics.py").read_text()
    for trigger in objects["ScaledObject", "worker"]["spec"]["triggers"]:
        asked = set(re.findall(r"\bworker_\w+", trigger["metadata"]["query"]))
        assert asked
        assert not [name for name in asked if f'"{name}"' not in metrics]


def test_budgets_and_policies_select_pods_that_are_there(objects: dict[tuple[str, str], dict[str, Any]]) -> None:
    labels = [
        each["spec"]["template"]["metadata"]["labels"]
        for (kind, _), each in objects.items()
        if kind in ("Deployment", "Job")
    ]
    for (kind, _), each in objects.items():
        key = {"PodDisruptionBudget": "selector", "NetworkPolicy": "podSelector"}.get(kind)
        if key is not None:
            chosen = each["spec"][key]["matchLabels"]
            assert any(chosen.items() <= pod.items() for pod in labels)
