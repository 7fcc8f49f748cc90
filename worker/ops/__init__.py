"""What an operator sees: logs, and the endpoint with health, readiness and the console."""
