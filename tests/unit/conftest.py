"""Settings that are read from a file as an operator writes it."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
from support.settings import ADAPTERS, BASE, CANARY, Load

from worker.config import Settings, SettingsError, load


@pytest.fixture
def read(tmp_path: Path) -> Load:
    """Read settings from this text, as `worker.toml`, and this environment."""

    def read_text(text: str = BASE, environ: Mapping[str, str] | None = None, **options: Any) -> Settings:
        path = tmp_path / "worker.toml"
        path.write_text(text, encoding="utf-8")
        return load(path, environ or {}, ADAPTERS, **options)

    return read_text


@pytest.fixture
def problems(read: Load) -> Callable[..., tuple[str, ...]]:
    """Read settings that are wrong, and return what is told about them: never a secret."""

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
