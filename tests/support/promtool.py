"""promtool, Prometheus's own judge of metrics and rules; taken from Debian's package where it is not installed."""

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

_PACKAGES = ("promtool", "prometheus")  # Debian 13 has a package for it alone
_ADVICE = "promtool is missing: install it (apt-get install prometheus), or put it on the PATH"


def promtool() -> Path:
    """Return the program, fetching it into this environment first where it is not installed.

    Only the file is taken from the package: nothing is installed system-wide, and no Prometheus is started.

    Raises:
        RuntimeError: it is not there and cannot be had.
    """
    own = Path(sys.prefix) / "bin" / "promtool"
    found = shutil.which("promtool")
    if found is not None:
        return Path(found)
    if not own.exists():
        _fetch(own)
    return own


def _fetch(target: Path) -> None:
    with tempfile.TemporaryDirectory() as place:
        try:
            if _undownloaded(place):
                _failed(["apt-get", "-q", "update"], place)  # no lists yet, or old ones
                problem = _undownloaded(place)
                if problem:
                    raise RuntimeError(f"{_ADVICE}\n{problem}")
            (package,) = Path(place).glob("*.deb")
            problem = _failed(["dpkg-deb", "--extract", str(package), "unpacked"], place)
            if problem:
                raise RuntimeError(f"{_ADVICE}\n{problem}")
        except FileNotFoundError as error:  # not a Debian
            raise RuntimeError(f"{_ADVICE}\n{error}") from None
        fresh = target.with_suffix(".new")
        shutil.copy(Path(place) / "unpacked/usr/bin/promtool", fresh)
        fresh.replace(target)


def _undownloaded(place: str) -> str:
    """Download the first package that there is; return what was said if there is none, else nothing."""
    problem = ""
    for package in _PACKAGES:
        problem = _failed(["apt-get", "-q", "-o", "APT::Sandbox::User=root", "download", package], place)
        if not problem:
            break
    return problem


def _failed(command: list[str], place: str) -> str:
    """Run a command; return what it said if it failed, else nothing."""
    done = subprocess.run(command, cwd=place, check=False, capture_output=True, text=True)
    return (done.stderr or f"exit code {done.returncode}")[-2000:] if done.returncode else ""


def check(*arguments: str, given: str = "") -> tuple[int, str]:
    """Run promtool; return its exit code and all that it said."""
    done = subprocess.run([promtool(), *arguments], input=given, check=False, capture_output=True, text=True)
    return done.returncode, done.stdout + done.stderr
