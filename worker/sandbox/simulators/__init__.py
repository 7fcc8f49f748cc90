"""One module a simulated gateway; whatever is here is found by `worker.sandbox.discovery`."""
