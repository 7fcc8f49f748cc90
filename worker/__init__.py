"""An order-processing worker: RabbitMQ in, upstream gateways over HTTP, PostgreSQL as the truth, events out."""
