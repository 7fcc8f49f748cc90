"""Finds `rabbitmq-server`, or installs the distribution's package without letting it start a system-wide broker."""

import contextlib
import os
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path

from worker.embedded.service import ServiceError

_IMAGE = "rabbitmq:4"
_PACKAGE = "rabbitmq-server"
_SCRIPTS = "/usr/lib/rabbitmq/bin"  # the real scripts; the ones in /usr/sbin change the user
_POLICY = Path("/usr/sbin/policy-rc.d")  # asked by every package before it starts a service
_DENY = "#!/bin/sh\nexit 101\n"
_ADVICE = "rabbitmq-server is missing: install it (apt-get install rabbitmq-server), or start Docker"


def find_rabbitmq() -> Path | None:
    """Return the server's script, if it is installed."""
    found = shutil.which("rabbitmq-server", path=f"{_SCRIPTS}{os.pathsep}{os.environ.get('PATH', os.defpath)}")
    return None if found is None else Path(found)


def ensure_rabbitmq() -> Path | None:
    """Return the server's script, installing it where we may; None where only Docker can run it.

    Raises:
        ServiceError: there is neither a server, nor the right to install one, nor Docker.
    """
    found = find_rabbitmq()
    if found is not None:
        return found
    prefix = _administrator()
    if prefix is not None and shutil.which("apt-get"):
        _install(prefix)
        found = find_rabbitmq()
        if found is None:
            raise ServiceError(_ADVICE)
        return found
    docker()
    return None


def docker() -> str:
    """Return Docker's client, if its daemon answers.

    Raises:
        ServiceError: there is none.
    """
    client = shutil.which("docker")
    if client is None or not _succeeds([client, "info"]):
        raise ServiceError(_ADVICE)
    return client


def image(client: str) -> str:
    """Return the image of a broker, which is fetched first where it is missing: no start waits so long.

    Raises:
        ServiceError: it cannot be fetched.
    """
    if not _succeeds([client, "image", "inspect", _IMAGE]):
        fetched = subprocess.run([client, "pull", "--quiet", _IMAGE], check=False, capture_output=True, text=True)  # noqa: S603
        if fetched.returncode:
            raise ServiceError(f"Docker cannot fetch {_IMAGE}: {fetched.stderr.strip()[-500:]}")
    return _IMAGE


def _administrator() -> list[str] | None:
    """Return what to put before a command that only root may run; None if we may not."""
    if os.geteuid() == 0:
        return []
    sudo = shutil.which("sudo")
    return ["sudo", "-n"] if sudo is not None and _succeeds([sudo, "-n", "true"]) else None


def _install(prefix: list[str]) -> None:
    apt = [*prefix, "env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "-q"]
    with _no_services(prefix):
        subprocess.run([*apt, "update"], check=False, stdout=subprocess.DEVNULL)  # noqa: S603 - our own command
        # Recommended packages are left out: a private node needs none of them.
        done = subprocess.run(  # noqa: S603 - our own command
            [*apt, "install", "-y", "--no-install-recommends", _PACKAGE],
            check=False,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
    if done.returncode:
        raise ServiceError(f"{_ADVICE}\n{done.stdout[-2000:]}")
    if shutil.which("systemctl"):  # the next boot shall not start it either
        _succeeds([*prefix, "systemctl", "disable", "--quiet", _PACKAGE])


@contextlib.contextmanager
def _no_services(prefix: list[str]) -> Iterator[None]:
    """Deny packages the start of services; a policy that is there already is left as it is."""
    if _POLICY.exists():
        yield
        return
    subprocess.run([*prefix, "tee", _POLICY], input=_DENY, text=True, check=True, stdout=subprocess.DEVNULL)  # noqa: S603
    try:
        subprocess.run([*prefix, "chmod", "755", _POLICY], check=True)  # noqa: S603 - our own command
        yield
    finally:
        subprocess.run([*prefix, "rm", "-f", _POLICY], check=True)  # noqa: S603 - our own command


def _succeeds(command: list[str]) -> bool:
    return subprocess.run(command, check=False, capture_output=True).returncode == 0  # noqa: S603 - our own command
