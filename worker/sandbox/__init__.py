"""Simulators of the upstream gateways, sharing no code with the adapters that they judge."""

from worker.sandbox.server import Sandbox, build, serve
from worker.sandbox.settings import SandboxSettings

__all__ = ["Sandbox", "SandboxSettings", "build", "serve"]
