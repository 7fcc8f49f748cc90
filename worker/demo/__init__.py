"""The whole system on one machine: real servers, a misbehaving gateway, a worker that is killed, and the account."""

from worker.demo.stage import run

__all__ = ["run"]
