"""PostgreSQL and RabbitMQ together, started at the same time below one temporary directory."""

import shutil
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from types import MappingProxyType
from typing import Self

from worker.embedded.postgres import Postgres
from worker.embedded.rabbitmq import RabbitMQ
from worker.embedded.service import temporary_directory


class Services:
    """A private broker and database: `with Services() as services: …`.

    Args:
        settings: of PostgreSQL, added to `postgres.SETTINGS`.
        config: lines of rabbitmq.conf.
    """

    def __init__(self, settings: Mapping[str, str] = MappingProxyType({}), config: str = "") -> None:
        self.directory = temporary_directory()
        self.postgres = Postgres(self.directory, settings)
        self.rabbitmq = RabbitMQ(self.directory, config)

    @property
    def amqp_url(self) -> str:
        """Where an AMQP client connects."""
        return self.rabbitmq.url

    @property
    def dsn(self) -> str:
        """Where the database `postgres` is."""
        return self.postgres.dsn

    def start(self) -> None:
        """Start both; return when both let clients in."""
        with ThreadPoolExecutor() as pool:
            for start in [pool.submit(service.start) for service in (self.rabbitmq, self.postgres)]:
                start.result()

    def close(self) -> None:
        """End both and remove every trace."""
        for service in (self.rabbitmq, self.postgres):
            service.close()
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Self:
        try:
            self.start()
        except BaseException:
            self.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()
