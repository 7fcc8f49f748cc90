"""Somebody who gives commands, with pika, and waits for their answers on a queue of his own."""

import itertools
import json
import time
from types import TracebackType
from typing import Any, Self

import pika
from support.waiting import until


class Commander:
    """Publishes commands as the contract wants it: `with Commander(url, prefix) as it: it.ask("balance.show", …)`."""

    def __init__(self, url: str, prefix: str) -> None:
        parameters = pika.URLParameters(url)
        parameters.heartbeat = 0
        self._connection = pika.BlockingConnection(parameters)
        self._channel = self._connection.channel()
        self._channel.confirm_delivery()
        self._prefix = prefix
        self._numbers = itertools.count(1)
        self._answers: dict[str, tuple[float, pika.BasicProperties, dict[str, Any]]] = {}
        self.reply_to = str(self._channel.queue_declare("", exclusive=True).method.queue)

    def send(self, name: str, body: dict[str, Any] | bytes, **properties: Any) -> str:
        """Publish a command; return its correlation id. `reply_to=None` asks for no answer."""
        number = f"c{next(self._numbers)}"
        given = {
            "type": name,
            "content_type": "application/json",
            "reply_to": self.reply_to,
            "correlation_id": number,
            "delivery_mode": 2,
        } | properties
        raw = body if isinstance(body, bytes) else json.dumps(body, ensure_ascii=False).encode()
        self._channel.basic_publish(self._prefix, f"command.{name}", raw, pika.BasicProperties(**given), mandatory=True)
        return number

    def answers(self, number: str) -> list[dict[str, Any]]:
        """What has been answered to a command by now."""
        while True:
            method, properties, raw = self._channel.basic_get(self.reply_to, auto_ack=True)
            if method is None or properties is None or raw is None:
                found = self._answers.get(number)
                return [] if found is None else [found[2]]
            self._answers[str(properties.correlation_id)] = (time.monotonic(), properties, json.loads(raw))

    def wait(self, number: str, seconds: float = 15) -> dict[str, Any]:
        """Wait for the answer to a command."""
        until(lambda: self.answers(number), seconds, lambda: f"no answer to {number}")
        return self.answers(number)[0]

    def properties(self, number: str) -> pika.BasicProperties:
        """The properties of the answer to a command, which has come."""
        return self._answers[number][1]

    def ask(self, name: str, body: dict[str, Any] | bytes, seconds: float = 15, **properties: Any) -> dict[str, Any]:
        """Give a command and wait for its answer."""
        return self.wait(self.send(name, body, **properties), seconds)

    def data(self, name: str, **fields: Any) -> dict[str, Any]:
        """Give a command that is carried out; return the answer's data."""
        answer = self.ask(name, fields)
        assert set(answer) == {"ok", "data"}, answer
        assert answer["ok"] is True
        found: dict[str, Any] = answer["data"]
        return found

    def code(self, name: str, body: dict[str, Any] | bytes, says: str = "", **properties: Any) -> str:
        """Give a command that is not carried out; return the error's code. Its message must hold `says`."""
        answer = self.ask(name, body, **properties)
        assert set(answer) == {"ok", "error"}, answer
        assert answer["ok"] is False
        assert set(answer["error"]) == {"code", "message"}
        assert says in answer["error"]["message"], answer
        return str(answer["error"]["code"])

    def close(self) -> None:
        """Disconnect."""
        if self._connection.is_open:
            self._connection.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
