"""Secrets in the settings: where they come from, and that nothing ever shows one."""

import copy
from collections.abc import Callable
from pathlib import Path

import pytest
from pydantic import field_validator
from support.settings import ADAPTERS, BASE, CANARY, GATEWAYS, Load, Shop, ShopSettings

from worker.config import SettingsError, load


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


@pytest.mark.parametrize("content", [f'[amqp\nurl = "{CANARY}"'.encode(), f'x = "{CANARY}'.encode(), b'x = "\xff"'])
def test_a_file_that_is_not_toml_is_told_without_its_content(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "broken.toml"
    path.write_bytes(content)
    with pytest.raises(SettingsError, match=r"^--config: .*broken\.toml is not TOML") as caught:
        load(path, {}, ADAPTERS)
    assert CANARY not in str(caught.value)


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
