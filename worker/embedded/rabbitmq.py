"""A private RabbitMQ node from the installed `rabbitmq-server`, which disturbs no other node on the machine."""

import os
import secrets
import subprocess
from pathlib import Path

from worker.embedded.install import docker, ensure_rabbitmq, image
from worker.embedded.probe import rabbitmq_answers
from worker.embedded.service import Service, free_ports

# Fewer schedulers than cores gain nothing here, and spinning ones only take CPU from the worker beside them.
_EMULATOR = "+S 2:2 +sbwt none +sbwtdcpu none +sbwtdio none -kernel inet_dist_use_interface {127,0,0,1}"
_CONTAINER_PORT = 5672


class RabbitMQ(Service):
    """One RabbitMQ node with the user guest, its own Erlang port mapper and no plugins, on loopback only.

    Where `rabbitmq-server` is neither installed nor can be, a Docker container takes its place.

    Args:
        directory: below it everything is kept; without it, a temporary directory.
        config: lines of rabbitmq.conf.
    """

    name = "rabbitmq"

    def __init__(self, directory: Path | None = None, config: str = "") -> None:
        super().__init__(directory)
        self._node = f"worker-{secrets.token_hex(4)}"
        self._dist_port, self._mapper_port = free_ports(2)
        for name, text in {"enabled_plugins": "[].\n", "env.conf": "", "rabbitmq.conf": config}.items():
            (self.directory / name).write_text(text)

    @property
    def url(self) -> str:
        """Where an AMQP client connects."""
        return f"amqp://guest:guest@127.0.0.1:{self.port}/"

    def start(self) -> None:
        """Start the node, on the same port and data as before; return when it lets clients in."""
        server = ensure_rabbitmq()
        if server is not None:
            self._launch([str(server)], rabbitmq_answers, self._environment())
            return
        client = docker()
        fetched = image(client)
        volume = ["-v", f"{self._node}:/var/lib/rabbitmq"]
        names = ["--name", self._node, "--hostname", self._node, "-p", f"127.0.0.1:{self.port}:{_CONTAINER_PORT}"]
        self.cleanup = ["sh", "-c", 'docker rm -f "$0"; docker volume rm -f "$0"', self._node]
        self._launch([client, "run", "--rm", *names, *volume, fetched], rabbitmq_answers, dict(os.environ))

    def kill(self) -> None:
        """End with SIGKILL, as a crash does; the data stay as they are."""
        if self.cleanup:  # killing Docker's client alone would leave its container running
            subprocess.run([docker(), "kill", self._node], check=False, capture_output=True)  # noqa: S603 - our own
        super().kill()

    def _environment(self) -> dict[str, str]:
        """Return the environment that keeps the node away from the system's own and from the caller's settings."""
        home = self.directory
        foreign = ("RABBITMQ_", "ERL_", "NOTIFY_SOCKET")
        return {name: value for name, value in os.environ.items() if not name.startswith(foreign)} | {
            "HOME": str(home),  # the Erlang cookie
            "RABBITMQ_NODENAME": f"{self._node}@localhost",
            "RABBITMQ_NODE_IP_ADDRESS": "127.0.0.1",
            "RABBITMQ_NODE_PORT": str(self.port),
            "RABBITMQ_DIST_PORT": str(self._dist_port),
            "RABBITMQ_BASE": str(home),
            "RABBITMQ_MNESIA_BASE": str(home / "data"),
            "RABBITMQ_LOG_BASE": str(home / "logs"),
            "RABBITMQ_LOGS": "-",
            "RABBITMQ_PID_FILE": str(home / "pid"),
            "RABBITMQ_CONF_ENV_FILE": str(home / "env.conf"),
            "RABBITMQ_CONFIG_FILE": str(home / "rabbitmq.conf"),
            "RABBITMQ_ENABLED_PLUGINS_FILE": str(home / "enabled_plugins"),
            "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS": _EMULATOR,
            "RUNNING_UNDER_SYSTEMD": "true",  # the script becomes the emulator instead of standing above it
            "ERL_EPMD_ADDRESS": "127.0.0.1",
            "ERL_EPMD_PORT": str(self._mapper_port),
            "ERL_CRASH_DUMP": os.devnull,
        }
