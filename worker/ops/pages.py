"""Pages that are partly written by programs: what stands between two markers is generated, the rest is ours."""

from pathlib import Path

README = Path(__file__).parents[1] / "README.md"
FRONT = Path(__file__).parents[2] / "README.md"
RUNBOOK = Path(__file__).parents[2] / "deploy" / "README.md"


def between(text: str, begin: str, end: str, inner: str) -> str:
    """Return `text` with `inner` between the markers, which are whole lines.

    Raises:
        ValueError: a marker is missing.
    """
    before, found, rest = text.partition(begin)
    _old, closed, after = rest.partition(end)
    for marker, there in ((begin, found), (end, closed)):
        if not there:
            raise ValueError(f"{marker} is missing")
    return f"{before}{begin}{inner}{end}{after}"
