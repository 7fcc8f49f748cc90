"""Private real services for the demo, the bench and the tests: PostgreSQL from a wheel, RabbitMQ from the system."""

from worker.embedded.postgres import Postgres, create_database, drop_database
from worker.embedded.rabbitmq import RabbitMQ
from worker.embedded.service import Service, ServiceError
from worker.embedded.services import Services

__all__ = ["Postgres", "RabbitMQ", "Service", "ServiceError", "Services", "create_database", "drop_database"]
