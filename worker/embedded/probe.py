"""Asks a starting server, in its own protocol, whether it takes clients: an open port alone proves little."""

import socket
import struct
from collections.abc import Callable

_TIMEOUT = 5.0
_AMQP_HEADER = b"AMQP\x00\x00\x09\x01"
_START, _TUNE, _OPEN_OK = (10, 10), (10, 30), (10, 41)
_FRAME_END = b"\xce"

Probe = Callable[[int], bool]


def postgres_answers(port: int, user: str = "worker", database: str = "postgres") -> bool:
    """Return whether PostgreSQL on `port` lets `user` in; while it starts or recovers it answers an error."""
    text = b"".join(part.encode() + b"\x00" for part in ("user", user, "database", database)) + b"\x00"
    try:
        with socket.create_connection(("127.0.0.1", port), _TIMEOUT) as peer:
            peer.sendall(struct.pack("!II", len(text) + 8, 3 << 16) + text)
            return peer.recv(1) == b"R"  # AuthenticationOk
    except OSError:
        return False


def rabbitmq_answers(port: int) -> bool:
    """Return whether RabbitMQ on `port` lets guest into the virtual host `/`."""
    try:
        with socket.create_connection(("127.0.0.1", port), _TIMEOUT) as peer:
            peer.sendall(_AMQP_HEADER)
            _expect(peer, _START)
            login = b"\x00guest\x00guest"
            _send(peer, 11, struct.pack("!I", 0) + b"\x05PLAIN" + struct.pack("!I", len(login)) + login + b"\x05en_US")
            limits = _expect(peer, _TUNE)
            _send(peer, 31, limits[:6] + b"\x00\x00")  # its own limits, no heartbeat
            _send(peer, 40, b"\x01/\x00\x00")
            _expect(peer, _OPEN_OK)
            _send(peer, 50, struct.pack("!H", 200) + b"\x00" + bytes(4))
            _receive(peer)  # close-ok; without it the broker logs a lost connection
    except (OSError, EOFError):
        return False
    return True


def _send(peer: socket.socket, method: int, arguments: bytes) -> None:
    payload = struct.pack("!HH", 10, method) + arguments
    peer.sendall(struct.pack("!BHI", 1, 0, len(payload)) + payload + _FRAME_END)


def _expect(peer: socket.socket, method: tuple[int, int]) -> bytes:
    payload = _receive(peer)
    if struct.unpack("!HH", payload[:4]) != method:
        raise EOFError
    return payload[4:]


def _receive(peer: socket.socket) -> bytes:
    _, _, size = struct.unpack("!BHI", _exactly(peer, 7))
    return _exactly(peer, size + 1)[:-1]


def _exactly(peer: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        part = peer.recv(size - len(data))
        if not part:
            raise EOFError
        data += part
    return data
