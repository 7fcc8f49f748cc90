"""The ledger's file: each change one line of JSON, read back at start."""

from pathlib import Path
from typing import Any

import orjson


class Journal:
    """Appends rows of several kinds to a file; without a file it keeps nothing."""

    def __init__(self, file: Path | None) -> None:
        """Read `file` if it is there.

        Raises:
            OSError: it cannot be read or written.
            ValueError: it is no such file.
        """
        self._found: dict[str, list[dict[str, Any]]] = {}
        if file is not None and file.exists():
            self._read(file)
        self._file = None if file is None else file.open("ab")

    def found(self, kind: str) -> list[dict[str, Any]]:
        """Return, once, the rows of this kind that the file held at start, oldest first."""
        return self._found.pop(kind, [])

    def write(self, kind: str, row: Any) -> None:
        """Append a row: a dict or a dataclass."""
        if self._file is not None:
            self._file.write(orjson.dumps({"kind": kind, "row": row}, option=orjson.OPT_APPEND_NEWLINE))
            self._file.flush()

    def clear(self) -> None:
        """Forget everything in the file."""
        if self._file is not None:
            self._file.truncate(0)

    def close(self) -> None:
        """Close the file."""
        if self._file is not None:
            self._file.close()
            self._file = None

    def _read(self, file: Path) -> None:
        *lines, last = file.read_bytes().split(b"\n")
        if last:  # killed while it wrote: drop the torn line, or the next one would be glued to it
            with file.open("r+b") as torn:
                torn.truncate(file.stat().st_size - len(last))
        for line in lines:
            try:
                entry = orjson.loads(line)
                self._found.setdefault(entry["kind"], []).append(dict(entry["row"]))
            except (ValueError, KeyError, TypeError):
                raise ValueError(f"not a sandbox's ledger: {line[:40]!r}") from None
