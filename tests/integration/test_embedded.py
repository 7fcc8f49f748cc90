"""The private services: they survive crashes with their data, and never outlive whoever started them."""

import contextlib
import json
import os
import re
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import asyncpg
import pika
import psutil
import pytest

from worker.embedded import Postgres, RabbitMQ, ServiceError, install


@pytest.fixture
def developer() -> Iterator[tuple[subprocess.Popen[str], str]]:
    """A running `python -m worker.embedded` and what it printed."""
    with subprocess.Popen([sys.executable, "-m", "worker.embedded"], stdout=subprocess.PIPE, text=True) as process:
        assert process.stdout is not None
        try:
            yield process, process.stdout.readline() + process.stdout.readline()
        finally:
            process.kill()


def _gone(processes: list[psutil.Process], directories: set[Path]) -> bool:
    deadline = time.monotonic() + 15
    while time.monotonic() < deadline:
        if not any(process.is_running() for process in processes) and not any(map(Path.exists, directories)):
            return True
        time.sleep(0.02)
    return False


def _started_by(process: subprocess.Popen[str]) -> tuple[list[psutil.Process], set[Path]]:
    """Return all processes below `process`, and the temporary directories that they live in."""
    below = psutil.Process(process.pid).children(recursive=True)
    directories = {Path(guard.cwd()).parent for guard in psutil.Process(process.pid).children()}
    return below, directories


def _name(process: psutil.Process) -> str:
    """Return its name; none once it has ended, as some of a service's children do after moments."""
    with contextlib.suppress(psutil.NoSuchProcess):
        return process.name()
    return ""


async def test_postgres_recovers_what_was_committed() -> None:
    with Postgres() as server:
        dsn = server.create_database("kept")
        connection = await asyncpg.connect(dsn)
        assert await connection.fetchval("SHOW fsync") == "on"
        assert (await connection.fetchval("SHOW server_version")).startswith("18.")
        await connection.execute("CREATE TABLE paid (fen bigint)")
        await connection.execute("INSERT INTO paid VALUES (10000)")
        for crash in (server.stop_immediate, server.kill):
            crash()
            assert not server.running
            server.start()
        connection.terminate()
        connection = await asyncpg.connect(dsn)
        assert await connection.fetchval("SELECT fen FROM paid") == 10000
        await connection.close()
        copy = server.create_database("copy", template="kept")
        connection = await asyncpg.connect(copy)
        assert await connection.fetchval("SELECT fen FROM paid") == 10000
        await connection.close()
        server.drop_database("copy")


def test_rabbitmq_keeps_confirmed_messages_across_a_kill() -> None:
    with RabbitMQ() as broker:
        mapper = [one for one in psutil.Process(broker.pid).children(recursive=True) if _name(one) == "epmd"]
        with pika.BlockingConnection(pika.URLParameters(broker.url)) as connection:
            channel = connection.channel()
            channel.confirm_delivery()
            channel.queue_declare("kept", durable=True, arguments={"x-queue-type": "quorum"})
            time.sleep(1.5)  # RabbitMQ writes down within a second which quorum queues there are, confirmed or not
            channel.basic_publish("", "kept", b"order", pika.BasicProperties(delivery_mode=2), mandatory=True)
        broker.kill()
        assert not broker.running
        assert not any(process.is_running() for process in mapper)
        broker.start()
        with pika.BlockingConnection(pika.URLParameters(broker.url)) as connection:
            channel = connection.channel()
            _, _, body = next(channel.consume("kept", inactivity_timeout=20))
            assert body == b"order"


DOCKER = """#!{python} -IS
import json, os, pathlib, signal, socket, subprocess, sys, threading
home, broker = pathlib.Path({home!r}), ("127.0.0.1", {port})
call = sys.argv[1:]
with (home / "calls").open("a") as calls:
    print(json.dumps(call), file=calls)
if call[0] == "image":
    sys.exit(not (home / "fetched").exists())
if call[0] == "pull":
    (home / "fetched").touch()
if call[0] == "kill":
    os.kill(int((home / "pid").read_text()), signal.SIGKILL)
if call[0] == "run":
    (home / "pid").write_text(str(os.getpid()))
    published = call[call.index("-p") + 1].split(":")
    listener = socket.create_server((published[0], int(published[1])))
    def pump(source, sink):
        while data := source.recv(65536):
            sink.sendall(data)
        sink.shutdown(socket.SHUT_WR)
    while True:
        client, _ = listener.accept()
        server = socket.create_connection(broker)
        for pair in ((client, server), (server, client)):
            threading.Thread(target=pump, args=pair, daemon=True).start()
"""
"""Docker's client, as far as it is asked: its container is the broker at `port`, for as long as `run` runs."""


def test_docker_takes_the_place_of_a_server_that_cannot_be_installed(
    amqp_url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    broker = pika.URLParameters(amqp_url)
    if broker.credentials.username != "guest":
        pytest.skip("the given broker is no fresh one: guest does not get in")
    script = tmp_path / "docker"
    script.write_text(DOCKER.format(python=sys.executable, home=str(tmp_path), port=broker.port))
    script.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    monkeypatch.setattr(install, "find_rabbitmq", lambda: None)
    monkeypatch.setattr(install, "_administrator", lambda: None)
    server = RabbitMQ()
    with server:
        pika.BlockingConnection(pika.URLParameters(server.url)).close()
        server.kill()
        with pytest.raises(pika.exceptions.AMQPConnectionError):
            pika.BlockingConnection(pika.URLParameters(server.url))
        server.start()
        pika.BlockingConnection(pika.URLParameters(server.url)).close()
    calls = [json.loads(line) for line in (tmp_path / "calls").read_text().splitlines()]
    assert ["pull", "--quiet", "rabbitmq:4"] in calls
    (run, again) = (call for call in calls if call[0] == "run")
    assert run == again
    assert (run[-1], run[run.index("-p") + 1]) == ("rabbitmq:4", f"127.0.0.1:{server.port}:5672")
    name = run[run.index("--name") + 1]
    assert [call for call in calls if call[0] in ("kill", "rm", "volume")] == [
        ["kill", name], ["rm", "-f", name], ["volume", "rm", "-f", name],
    ]  # fmt: skip


def test_nothing_outlives_a_killed_starter(developer: tuple[subprocess.Popen[str], str]) -> None:
    process, said = developer
    assert re.fullmatch(
        r"export WORKER_AMQP__URL=amqp://guest:guest@127\.0\.0\.1:\d+/\n"
        r"export WORKER_DATABASE__DSN=postgresql://worker@127\.0\.0\.1:\d+/worker\n",
        said,
    )
    processes, directories = _started_by(process)
    assert {"beam.smp", "postgres"} <= {_name(one) for one in processes}
    assert len(directories) == 1
    process.kill()
    process.wait()
    assert _gone(processes, directories)


def test_nothing_outlives_a_killed_guard() -> None:
    with Postgres() as server:
        processes = psutil.Process(server.pid).children(recursive=True)
        assert processes
        os.kill(server.pid, signal.SIGKILL)
        assert _gone(processes, set())


def test_a_starter_that_ends_without_closing_leaves_nothing() -> None:
    code = "import sys; from worker.embedded import Postgres; Postgres().start(); print(flush=True); sys.stdin.read()"
    with subprocess.Popen(
        [sys.executable, "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        process.stdout.readline()
        processes, directories = _started_by(process)
        process.communicate()
    assert process.returncode == 0
    assert _gone(processes, directories)


def test_a_failed_start_shows_the_log() -> None:
    server = Postgres(settings={"shared_buffers": "plenty"})
    with contextlib.closing(server), pytest.raises(ServiceError, match="plenty"):
        server.start()
    assert not server.directory.exists()
