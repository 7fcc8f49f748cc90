"""Alerts and dashboards: right by promtool, about metrics that exist with labels that they have, and explained."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client import Metric
from support import promtool

from worker.ops.metrics import ProcessMetrics, RelayMetrics, WorkerMetrics

ROOT = Path(__file__).parents[2]
RULES = ROOT / "deploy/prometheus/rules.yml"
RULES_TEST = ROOT / "deploy/prometheus/rules_test.yml"
RUNBOOK = ROOT / "deploy/README.md"
DASHBOARDS = sorted((ROOT / "deploy/grafana/dashboards").glob("*.json"))
SCALING = ROOT / "deploy/kubernetes/scaling/scaledobject.yaml"

TARGET = {"instance", "job"}
"""Labels that Prometheus adds to whatever it scrapes."""
OTHERS = {"ALERTS": {"alertname", "alertstate"}}
"""Series of Prometheus's own."""
WORDS = frozenset(
    {
        *("sum", "max", "min", "count", "topk", "absent", "rate", "increase", "histogram_quantile", "count_over_time"),
        *("max_over_time", "by", "on", "ignoring", "and", "or", "unless", "without", "offset"),
    }
)
"""Functions and operators of PromQL that stand in our expressions; another one is to be added here."""
SUFFIXES = {"histogram": ("_bucket", "_sum", "_count")}


def metrics() -> dict[str, set[str]]:
    """Return the labels of every series of ours, by its name."""
    found: dict[str, set[str]] = dict(OTHERS)
    for kind in (WorkerMetrics, RelayMetrics):
        process = kind()
        for name, labels in process.labels().items():
            found[name] = set(labels) | TARGET
        for family in families(process):
            for suffix in SUFFIXES.get(family.type, ()):
                found[family.name + suffix] = found[family.name] | ({"le"} if suffix == "_bucket" else set())
            if family.type == "histogram":
                del found[family.name]
            elif family.name.startswith("process_"):
                found.update((sample.name, set(TARGET)) for sample in family.samples)
    return found


def families(process: ProcessMetrics) -> list[Metric]:
    """Return what the process shows now."""
    return list(process.registry.collect())


SERIES = metrics()


def rules() -> list[dict[str, Any]]:
    """Return every alert."""
    return [rule for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def expressions() -> Iterator[tuple[str, str]]:
    """Yield every expression, and where it is."""
    for rule in rules():
        yield rule["alert"], rule["expr"]
    for path in DASHBOARDS:
        board = json.loads(path.read_text())
        for panel in board["panels"]:
            for target in panel["targets"]:
                yield f"{path.name}: {panel['title']}", target["expr"]
        for variable in board["templating"]["list"]:
            yield f"{path.name}: ${variable['name']}", variable["query"]["query"]
    for trigger in yaml.safe_load(SCALING.read_text())["spec"]["triggers"]:
        yield SCALING.name, trigger["metadata"]["query"]


EXPRESSIONS = list(expressions())
_SELECTOR = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)\s*(\{[^}]*\})?")
_MATCHER = re.compile(r'([a-zA-Z_][a-zA-Z0-9_]*)\s*(?:=~|!~|!=|=)\s*"((?:[^"\\]|\\.)*)"')
_GROUPING = re.compile(r"\b(?:by|on|ignoring|without)\s*\(([^)]*)\)")


def selectors(expression: str) -> Iterator[tuple[str, set[str]]]:
    """Yield each series that an expression reads, with the labels that it chooses by."""
    bare = _GROUPING.sub(" ", re.sub(r"label_values\((\w+), *\w+\)", r"\1", expression))
    bare = re.sub(r"\[[^\]]*\]", " ", bare)
    for found in _SELECTOR.finditer(re.sub(r'"[^"]*"', lambda text: text[0].replace("{", "").replace("}", ""), bare)):
        if found[1] not in WORDS and not re.fullmatch(r"[0-9.e]+", found[1]):
            yield found[1], {name for name, _ in _MATCHER.findall(found[2] or "")}


@pytest.mark.parametrize(("where", "expression"), EXPRESSIONS, ids=[where for where, _ in EXPRESSIONS])
def test_an_expression_reads_what_exists(where: str, expression: str) -> None:
    """Each series is one of ours with the labels that it is chosen and grouped by."""
    read = list(selectors(expression))
    assert read, f"{where} reads nothing"
    for name, chosen in read:
        assert name in SERIES, f"{where}: nothing is called {name}"
        assert chosen <= SERIES[name], f"{where}: {name} has no {chosen - SERIES[name]}"
    grouped = {name.strip() for names in _GROUPING.findall(expression) for name in names.split(",") if name.strip()}
    known = set().union(*(SERIES[name] for name, _ in read))
    assert grouped <= known, f"{where}: nothing in it has {grouped - known}"


def test_the_reader_of_expressions_sees_what_is_wrong() -> None:
    """So that the test above can fail."""
    read = dict(selectors('sum by (a) (rate(nothing_total{b="{x}",c!~"y"}[5m])) / 2 > on () worker_orders'))
    assert read == {"nothing_total": {"b", "c"}, "worker_orders": set()}


def test_every_reading_has_a_source() -> None:
    """A gauge that nobody reads would be a name without a value."""
    code = "\n".join(path.read_text() for path in (ROOT / "worker").rglob("*.py") if path.name != "metrics.py")
    for kind in (WorkerMetrics, RelayMetrics):
        for name in kind().readings.labels():
            assert f'"{name}"' in code or name == "worker_build_info", name


def test_the_rules_are_right() -> None:
    assert promtool.check("check", "rules", str(RULES))[0] == 0


def test_each_alert_is_silent_until_it_should_fire() -> None:
    code, said = promtool.check("test", "rules", str(RULES_TEST))
    assert code == 0, said


def test_each_alert_has_such_a_test() -> None:
    tested = {test["name"] for test in yaml.safe_load(RULES_TEST.read_text())["tests"]}
    assert tested == {rule["alert"] for rule in rules()}
    for test in yaml.safe_load(RULES_TEST.read_text())["tests"]:
        silent, loud, *later = test["promql_expr_test"]
        assert not silent["exp_samples"]
        assert loud["exp_samples"], test["name"]
        assert all(f'alertname="{test["name"]}"' in each["expr"] for each in (silent, loud, *later))


def anchors() -> set[str]:
    """Return the anchors of the runbook's headings, as GitHub makes them."""
    titles = re.findall(r"^#+ (.+)$", RUNBOOK.read_text(), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", title.lower()).replace(" ", "-") for title in titles}


@pytest.mark.parametrize("rule", rules(), ids=[rule["alert"] for rule in rules()])
def test_an_alert_says_what_to_do(rule: dict[str, Any]) -> None:
    """Its page exists, and says what it means, how to look, and what to do."""
    file, _, anchor = rule["annotations"]["runbook_url"].partition("#")
    assert ROOT / file == RUNBOOK
    assert anchor == rule["alert"].lower()
    assert anchor in anchors()
    page = RUNBOOK.read_text().partition(f"### {rule['alert']}\n")[2].partition("\n#")[0]
    assert "*Look:*" in page, rule["alert"]
    assert "*Do:*" in page, rule["alert"]
    assert rule["labels"]["severity"] in ("page", "ticket")
    assert rule["annotations"]["summary"]
    assert rule["annotations"]["description"]


@pytest.mark.parametrize("path", DASHBOARDS, ids=[path.stem for path in DASHBOARDS])
def test_a_dashboard_is_whole(path: Path) -> None:
    """Grafana shows it as it is: a fixed name, the provisioned data source, no two panels in the same place."""
    board = json.loads(path.read_text())
    assert board["uid"] == f"worker-{path.stem}"
    assert "id" not in board
    source = yaml.safe_load((ROOT / "deploy/grafana/provisioning/datasources/prometheus.yml").read_text())
    (uid,) = [each["uid"] for each in source["datasources"]]
    taken: set[tuple[int, int]] = set()
    for panel in board["panels"]:
        assert panel["datasource"]["uid"] == uid
        assert {target["datasource"]["uid"] for target in panel["targets"]} == {uid}
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        place = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not place & taken, panel["title"]
        taken |= place
    assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])


def test_there_are_the_dashboards_that_the_operator_needs() -> None:
    assert [path.stem for path in DASHBOARDS] == ["broker", "gateways", "ledger", "overview"]
