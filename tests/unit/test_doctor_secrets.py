"""Secrets that were never filled in, and files that everybody may read; no finding tells a secret."""

import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from support.doctor import TINY, settings, trouble

from worker.core.finding import Finding
from worker.ops.doctor.secrets import check_secrets

CANARY = "c4n4ry-s3cret"
SHOP: dict[str, Any] = {
    "adapter": "dingyin",
    "base_url": "https://shop.cn",
    "userid": "10086",
    "key": CANARY,
    "notify_url": "https://relay.shop.cn/callbacks/shop",
}


@pytest.fixture
def open_directory() -> Iterator[Path]:
    """A directory that everybody can look into, as pytest's own is not."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:
        Path(name).chmod(0o755)
        yield Path(name)


def found(path: Path, changes: dict[str, Any], **sections: Any) -> list[Finding]:
    findings = list(check_secrets(settings(path, {"shop": SHOP | changes}, **sections)))
    assert CANARY not in str(findings)
    return findings


@pytest.mark.parametrize(
    "text", ["…", "wx…", "...", "changeme", "CHANGE_ME", "<key>", "xxxx", "***", "your-key-here", "TODO", "replace-me"]
)
def test_placeholders(text: str, tmp_path: Path) -> None:
    assert trouble(found(tmp_path / "worker.toml", {"userid": text, "electricity": {"productid": text}})) == {
        "gateways.shop.userid": "failed",
        "gateways.shop.electricity.productid": "failed",
    }


def test_placeholders_of_secrets(tmp_path: Path) -> None:
    given = settings(
        tmp_path / "worker.toml",
        {"shop": SHOP | {"key": "changeme"}, "campus": {**TINY, "headers": {"X-Token": "<token>"}}},
        amqp={"url": "amqp://worker:change-me@127.0.0.1/"},
        database={"dsn": "postgresql://worker:%3Cpassword%3E@127.0.0.1/worker"},
    )
    assert trouble(list(check_secrets(given))) == {
        "gateways.shop.key": "failed",
        "gateways.campus.headers.X-Token": "failed",
        "amqp.url": "failed",
        "database.dsn": "failed",
    }


@pytest.mark.parametrize("text", ["xx", "your", "maxxxx1", "todos", "a<b>", CANARY])
def test_what_is_no_placeholder(text: str, tmp_path: Path) -> None:
    assert not found(tmp_path / "worker.toml", {"key": text})


def test_a_secret_file_that_everybody_may_read(open_directory: Path) -> None:
    key = open_directory / "key"
    key.write_text(CANARY)
    key.chmod(0o644)
    changes = {"key": {"file": "key"}}
    (finding,) = found(open_directory / "worker.toml", changes)
    assert (finding.check, finding.status) == ("secrets", "warning")
    assert finding.fix == f"run `chmod o= {key}`"
    key.chmod(0o640)
    assert not found(open_directory / "worker.toml", changes)
    key.chmod(0o644)
    open_directory.chmod(0o750)  # nobody else gets there
    assert not found(open_directory / "worker.toml", changes)


@pytest.mark.parametrize("what", ["CERTIFICATE", "PUBLIC KEY"])
def test_what_everybody_may_know_may_be_read_by_everybody(what: str, open_directory: Path) -> None:
    key = open_directory / "key"
    key.write_text(f"-----BEGIN {what}-----\n{CANARY}\n-----END {what}-----\n")
    key.chmod(0o644)
    assert not found(open_directory / "worker.toml", {"key": {"file": "key"}})


def test_settings_that_hold_secrets_and_that_everybody_may_read(
    open_directory: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = open_directory / "worker.toml"
    assert not found(path, {})
    path.chmod(0o644)
    (finding,) = found(path, {})
    assert finding.status == "warning"
    assert str(path) in str(finding.fix)
    monkeypatch.setenv("SHOP_KEY", CANARY)
    (open_directory / "key").write_text(CANARY)
    (open_directory / "key").chmod(0o600)
    assert not found(path, {"key": {"file": "key"}})
