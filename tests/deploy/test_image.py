"""The Dockerfile: small and non-root, of locked versions, and what it is built from is what it may see."""

import json
import re
import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from support.deployment import DEPLOY, ROOT, ask, instructions, parse_command, tool, without_worker_variables

PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
COPIED = [given for name, given in instructions() if name == "COPY" and not given.startswith("--from")]


def _last(name: str) -> str:
    return [given for instruction, given in instructions() if instruction == name][-1]


def _environment() -> dict[str, str]:
    return dict(pair.split("=", 1) for pair in _last("ENV").split())


def _locked(name: str) -> dict[str, str]:
    lines = (DEPLOY / name).read_text().splitlines()
    return {found[1]: found[2] for line in lines if (found := re.match(r"([\w.-]+)==([^ ;]+)", line))}


def test_hadolint_finds_nothing() -> None:
    assert ask(tool("hadolint"), str(DEPLOY / "Dockerfile")) == ""


def test_it_copies_what_exists_and_the_context_holds_nothing_else() -> None:
    sources = {source for given in COPIED for source in given.split()[:-1]}
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert allowed == sources
    assert all((ROOT / source).exists() for source in sources)


def test_it_runs_the_projects_script_as_a_user_that_is_not_root() -> None:
    assert _last("USER") == "65532:65532"
    assert json.loads(_last("ENTRYPOINT")) == ["worker"]
    assert "worker" in PROJECT["scripts"]
    parse_command(json.loads(_last("CMD")))
    assert Path(_environment()["WORKER_CONFIG"]) == Path("/etc/worker/worker.toml")


def test_no_layer_holds_the_tools_that_built_it() -> None:
    stages = [given for name, given in instructions() if name == "FROM"]
    assert len(stages) == 2
    assert stages[0].split()[0] == stages[1]
    assert "apt-get" not in (DEPLOY / "Dockerfile").read_text()


def test_its_python_is_the_one_that_types_are_checked_for() -> None:
    version = re.match(r"python:([\d.]+)-slim", _last("FROM"))
    assert version is not None
    checked = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["mypy"]["python_version"]
    assert version[1] == checked


def test_what_runs_is_locked_in_the_versions_that_are_tested() -> None:
    run, tested = _locked("requirements-run.txt"), _locked("requirements.txt")
    assert run.items() <= tested.items()
    wanted = PROJECT["dependencies"] + PROJECT["optional-dependencies"]["otel"]
    needed = {re.split(r"[\[<>=!~ ]", given)[0].lower() for given in wanted}
    assert needed <= set(run)
    only_for_tests = {re.split(r"[\[<>=!~ ]", given)[0].lower() for given in PROJECT["optional-dependencies"]["test"]}
    assert not only_for_tests & set(run)


def test_the_lock_has_a_hash_of_every_file() -> None:
    entries = re.split(r"^(?=[\w.-]+==)", (DEPLOY / "requirements-run.txt").read_text(), flags=re.MULTILINE)[1:]
    assert entries
    assert all("--hash=sha256:" in entry for entry in entries)


@pytest.mark.long
@pytest.mark.timeout(600)
def test_its_own_lines_make_an_environment_that_runs(tmp_path: Path) -> None:
    """The build stage on this machine: its COPY and RUN lines, with another place for /opt/worker."""
    context, made = tmp_path / "build", tmp_path / "worker"
    context.mkdir()
    for name, given in instructions():
        if name == "COPY" and given in COPIED:
            *sources, target = given.split()
            for source in sources:
                _copy(ROOT / source, context / target, into=target.endswith("/"))
        elif name == "RUN" and "/opt/worker" in given and "useradd" not in given:
            command = re.sub(r"^pip\b", "python -m pip", given).replace("/opt/worker", str(made))
            subprocess.run([tool("bash"), "-c", command], cwd=context, env=without_worker_variables(), check=True)
    told = subprocess.run([made / "bin/worker", "--version"], cwd=tmp_path, capture_output=True, text=True, check=True)
    assert told.stdout.strip() == f"order-worker {PROJECT['version']}"
    listed = subprocess.run([made / "bin/worker", "migrate", "--sql"], capture_output=True, text=True, check=True)
    assert "CREATE TABLE orders" in listed.stdout


def _copy(source: Path, target: Path, *, into: bool) -> None:
    if source.is_dir():
        shutil.copytree(source, target, ignore=shutil.ignore_patterns("__pycache__"))
    else:
        target.mkdir(parents=True, exist_ok=True)
        assert into
        shutil.copy(source, target)


def test_kubernetes_runs_it_as_the_same_user() -> None:
    for name in ("worker", "relay", "migrate"):
        text = (DEPLOY / "kubernetes" / "base" / f"{name}.yaml").read_text()
        template = next(yaml.safe_load_all(text))["spec"]["template"]
        security = template["spec"]["securityContext"]
        assert f"{security['runAsUser']}:{security['runAsGroup']}" == _last("USER")
