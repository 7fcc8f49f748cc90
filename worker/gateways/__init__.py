"""Upstream gateways: dialects without I/O, one file each, and the one module that sends."""
