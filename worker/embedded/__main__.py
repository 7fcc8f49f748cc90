"""`python -m worker.embedded`: a private broker and database until SIGTERM or SIGINT, for developers.

Prints shell lines that point a worker at them. With `install` it only makes sure that RabbitMQ is there.
"""

import signal
import sys
import threading

from worker.embedded.install import ensure_rabbitmq
from worker.embedded.service import ServiceError
from worker.embedded.services import Services

_STOPPING = (signal.SIGINT, signal.SIGTERM)


def main(arguments: list[str]) -> int:
    """Run; return the exit code."""
    if arguments not in ([], ["install"]):
        print("usage: python -m worker.embedded [install]", file=sys.stderr)  # noqa: T201 - the answer
        return 2
    try:
        if arguments:
            ensure_rabbitmq()
        else:
            _serve()
    except ServiceError as error:
        print(error, file=sys.stderr)  # noqa: T201 - the answer
        return 1
    return 0


def _serve() -> None:
    stop = threading.Event()
    for number in _STOPPING:
        signal.signal(number, lambda *_: stop.set())
    with Services() as services:
        dsn = services.postgres.create_database("worker")
        print(f"export WORKER_AMQP__URL={services.amqp_url}")  # noqa: T201 - the answer
        print(f"export WORKER_DATABASE__DSN={dsn}", flush=True)  # noqa: T201 - the answer
        stop.wait()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
