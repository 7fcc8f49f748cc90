"""The statements, one a file; `load` reads one by its name."""

from functools import cache
from importlib import resources


@cache
def load(name: str) -> str:
    """Return the text of `<name>.sql`.

    Raises:
        FileNotFoundError: there is no such statement.
    """
    return resources.files(__package__).joinpath(f"{name}.sql").read_text(encoding="utf-8")
