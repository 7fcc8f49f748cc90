"""Logs: one JSON line an event, only listed keys, nothing unmasked, and never an exception into the caller."""

import asyncio
import io
import json
import logging
import sys
import time
import warnings
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Any, NoReturn

import pytest
import structlog
from pydantic import SecretStr
from structlog.contextvars import bind_contextvars

from worker.config import load
from worker.config.secrets import secrets_of
from worker.core.order import Order
from worker.core.subject import about, about_person
from worker.ops import showing
from worker.ops.logging import configure, get_logger

PHONE = "13800138000"


class Terminal(io.TextIOWrapper):
    """A stream that says it is a terminal."""

    def isatty(self) -> bool:
        """Say so."""
        return True


class Sink(io.BytesIO):
    """Bytes that stay readable."""


def fail(error: Exception) -> NoReturn:
    raise error


@pytest.fixture
def sink() -> Iterator[Sink]:
    root = logging.getLogger()
    handlers, level = root.handlers[:], root.level
    sink = Sink()
    yield sink
    logging.captureWarnings(capture=False)
    root.handlers, root.level = handlers, level
    structlog.reset_defaults()
    structlog.contextvars.clear_contextvars()


@pytest.fixture
def lines(sink: Sink) -> Callable[[], list[dict[str, Any]]]:
    stream = io.TextIOWrapper(sink, encoding="ascii")
    configure("info", stream)
    kept = [stream]  # a collected wrapper would close the bytes

    def read() -> list[dict[str, Any]]:
        assert kept
        return [json.loads(line) for line in sink.getvalue().splitlines()]

    return read


def test_a_line_is_one_json_object(lines: Callable[[], list[dict[str, Any]]]) -> None:
    get_logger("worker.flows.intake").info("order admitted", order_no="T20261121-000001", attempt=1, gateway=None)
    (line,) = lines()
    stamp = line.pop("timestamp")
    assert stamp.endswith("Z")
    assert line == {
        "level": "info",
        "logger": "worker.flows.intake",
        "event": "order admitted",
        "order_no": "T20261121-000001",
        "attempt": 1,
        "gateway": None,
    }


def test_context_is_part_of_every_line(lines: Callable[[], list[dict[str, Any]]]) -> None:
    with structlog.contextvars.bound_contextvars(gateway="wikeyun", mobile=PHONE):
        get_logger("x").bind(task="query").warning("slow")
    (line,) = lines()
    assert (line["gateway"], line["task"], line["level"]) == ("wikeyun", "query", "warning")
    assert line["dropped_keys"] == ["mobile"]


def test_keys_that_are_not_listed_are_dropped_and_named(lines: Callable[[], list[dict[str, Any]]]) -> None:
    get_logger("x").info("sent", app_secret="canary", target={"mobile": PHONE}, order_no="T1")
    (line,) = lines()
    assert line["dropped_keys"] == ["app_secret", "target"]
    assert set(line) == {"timestamp", "level", "logger", "event", "order_no", "dropped_keys"}


def test_a_key_cannot_replace_the_lines_own(lines: Callable[[], list[dict[str, Any]]]) -> None:
    get_logger("x").info("true", level="fatal", logger="other")
    (line,) = lines()
    assert (line["level"], line["logger"], line["dropped_keys"]) == ("info", "x", ["level", "logger"])


class Colour(StrEnum):
    """A text that is not quite a text."""

    PHONE = PHONE


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (f"no answer about {PHONE}", "no answer about 138****8000"),
        ([PHONE, 1], ["138****8000", 1]),
        ((PHONE,), ["138****8000"]),
        ({"mobile": PHONE}, "{'mobile': '138****8000'}"),
        (PHONE.encode(), "b'138****8000'"),
        (Colour.PHONE, "138****8000"),
        (SecretStr("canary"), "**********"),
        ("two\nlines\x1b[31m\ud800", "two lines [31m "),
        ("x" * 300, "x" * 200),
        ("amqp://guest:canary@broker/", "amqp://guest:****@broker/"),
        (1.5, 1.5),
        (True, True),
        (2**63, "<class 'int'>"),
        (float("nan"), None),
    ],
)
def test_values_are_masked_whatever_they_are(
    lines: Callable[[], list[dict[str, Any]]], value: object, shown: object
) -> None:
    get_logger("x").info("seen", detail=value)
    (line,) = lines()
    assert line["detail"] == shown


def test_the_event_is_masked_too(lines: Callable[[], list[dict[str, Any]]]) -> None:
    get_logger("x").info(f"about {PHONE}")
    assert lines()[0]["event"] == "about 138****8000"


TARGET = {"card_no": "1000111100012345678", "name": "欧阳镕喆", "id_number": "320106199001015678", "buyer_ip": "1.2"}


def an_order(**others: Any) -> Order:
    return Order("T1", "shop", "oil", 100, TARGET, ("one",), "one", **others)


def test_a_line_says_what_its_task_is_about(lines: Callable[[], list[dict[str, Any]]]) -> None:
    """In the task that said so, and in the tasks that it begins; what a line itself says counts more."""

    async def work() -> None:
        async def child() -> None:
            get_logger("x").info("in a child", gateway="other")

        about(an_order(attempt=2, trace=f"00-{'a' * 32}-{'1' * 16}-01"))
        bind_contextvars(message_id="m-1")
        await asyncio.create_task(child())

    async def other() -> None:
        get_logger("x").info("elsewhere")

    async def both() -> None:
        await asyncio.create_task(work())
        await asyncio.create_task(other())

    asyncio.run(both())
    first, second = lines()
    bound = {"order_no": "T1", "gateway": "other", "attempt": 2, "trace_id": "a" * 32, "message_id": "m-1"}
    assert {key: first[key] for key in bound} == bound
    assert not set(bound) & set(second)


def test_what_is_private_of_the_subject_is_hidden_wherever_it_is(lines: Callable[[], list[dict[str, Any]]]) -> None:
    """Whole or cut: hidden first, shortened then. Short numbers are hidden only where they stand alone."""

    async def work() -> None:
        about(an_order())
        about_person({"name": "张三", "phone": "555-CANARY"})
        text = f"欧阳镕喆 {'x' * 190} 320106199001015678"
        try:
            fail(ValueError(f"not for 张三: {text}"))
        except ValueError:
            get_logger("x").exception("欧阳镕喆 015678", detail=["1.2", "v1.2.3", text], error="555-CANARY")

    asyncio.run(work())
    (line,) = lines()
    assert line["event"] == "**** ****"
    assert line["detail"][:2] == ["****", "v1.2.3"]
    written = json.dumps(line, ensure_ascii=False)
    for canary in ("欧阳", "张三", "CANARY", "015678", "3201061990"):
        assert canary not in written
    assert line["exception"][0].startswith("ValueError: not for ****: **** xxx")


def test_our_secrets_are_hidden_wherever_they_are(
    lines: Callable[[], list[dict[str, Any]]], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also percent-encoded, also one line of a key, also from a library; one that is too short could be any word."""
    monkeypatch.setattr(showing, "_secrets", set())
    showing.conceal(
        ["s3cret/with+more", "-----BEGIN X-----\nMIIEvQIBADANBgkq\nhkiG9w0BAQEFAASC\n-----END X-----", "order"]
    )
    get_logger("x").info(
        "s3cret/with+more", url="http://x/?k=s3cret%2Fwith%2Bmore", detail="MIIEvQIBADANBgkq hkiG9w0BAQ"
    )
    logging.getLogger("aiohttp.client").error("sent %s", "hkiG9w0BAQEFAASC", exc_info=OSError("s3cret/with+more"))
    first, second = lines()
    assert (first["event"], first["url"], first["detail"]) == ("****", "http://x/?k=****", "**** hkiG9w0BAQ")
    assert (second["event"], second["exception"]) == ("sent ****", ["OSError: ****"])
    get_logger("x").info("order")
    assert lines()[2]["event"] == "order"


def test_every_secret_of_the_settings_is_concealed() -> None:
    settings = load(None, {
        "WORKER_AMQP__URL": "amqp://u:p%40ss-of-amqp@h/",
        "WORKER_DATABASE__DSN": "postgresql://u:pass-of-pg@h/d?sslpassword=pass-of-key&sslmode=require",
        "WORKER_GATEWAYS__C__ADAPTER": "zjzdy",
        "WORKER_GATEWAYS__C__BASE_URL": "https://c.example",
        "WORKER_GATEWAYS__C__HEADERS": '{"X-Token": "a-header-token"}',
    })  # fmt: skip
    expected = {"p%40ss-of-amqp", "p@ss-of-amqp", "pass-of-pg", "pass-of-key", "a-header-token"}
    assert set(secrets_of(settings)) == expected


def test_order_numbers_stay_readable(lines: Callable[[], list[dict[str, Any]]]) -> None:
    get_logger("x").info("seen", order_no="20261121000001", reference="20261121000001R2", upstream_no="99999999")
    (line,) = lines()
    assert (line["order_no"], line["reference"], line["upstream_no"]) == (
        "20261121000001",
        "20261121000001R2",
        "99999999",
    )


def test_an_exception_is_told_with_its_causes_and_without_rows(lines: Callable[[], list[dict[str, Any]]]) -> None:
    try:
        try:
            fail(ValueError(f"duplicate {PHONE}\nDETAIL: the whole row, Zhang San"))
        except ValueError as error:
            raise ExceptionGroup("batch", [RuntimeError("inner")]) from error
    except ExceptionGroup:
        get_logger("x").exception("failed")
    (line,) = lines()
    told = [text for text in line["exception"] if not text.startswith("  ")]
    assert told == [
        "ExceptionGroup: batch (1 sub-exception)",
        "of these: RuntimeError: inner",
        "caused by ValueError: duplicate 138****8000",
    ]
    assert line["exception"][1].endswith(" in test_an_exception_is_told_with_its_causes_and_without_rows")
    assert line["exception"][-1].endswith(" in fail")
    assert line["level"] == "error"


def test_an_exception_without_one_is_only_a_line(lines: Callable[[], list[dict[str, Any]]]) -> None:
    get_logger("x").exception("failed")
    assert "exception" not in lines()[0]


def test_below_its_level_nothing_is_written(lines: Callable[[], list[dict[str, Any]]]) -> None:
    get_logger("x").debug("noise")
    assert lines() == []


def test_libraries_log_through_it_from_warning(lines: Callable[[], list[dict[str, Any]]]) -> None:
    logging.getLogger("library.pool").info("noise")
    try:
        fail(OSError("gone"))
    except OSError:
        logging.getLogger("library.pool").warning("lost %s", PHONE, exc_info=True)
    logging.getLogger("odd").log(35, "between the levels")
    first, second = lines()
    assert (first["logger"], first["level"], first["event"]) == ("library.pool", "warning", "lost 138****8000")
    assert first["exception"][0] == "OSError: gone"
    assert second["level"] == "warning"


def test_warnings_of_python_are_lines_too(lines: Callable[[], list[dict[str, Any]]]) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("always")
        logging.captureWarnings(capture=False)
        logging.captureWarnings(capture=True)
        warnings.warn("old", UserWarning, stacklevel=1)
        logging.captureWarnings(capture=False)
    assert lines()[0]["logger"] == "py.warnings"


def test_a_terminal_gets_a_form_for_people(sink: Sink) -> None:
    stream = Terminal(sink, encoding="utf-8")
    configure("debug", stream)
    try:
        fail(ValueError("why"))
    except ValueError:
        get_logger("worker.x").exception("failed 订单", order_no="T1", mobile=PHONE)
    text = sink.getvalue().decode()
    assert "failed 订单" in text
    assert "T1" in text
    assert "ValueError: why\n  " in text
    assert PHONE not in text
    assert stream.isatty()


def test_a_closed_stream_stops_nobody(lines: Callable[[], list[dict[str, Any]]], sink: Sink) -> None:
    get_logger("x").info("before")
    assert len(lines()) == 1
    sink.close()
    get_logger("x").info("after")


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^expected a level: debug, info"):
        configure("loud", sys.stderr)


def test_a_line_costs_microseconds(lines: Callable[[], list[dict[str, Any]]]) -> None:
    log = get_logger("worker.flows.intake").bind()  # as everywhere: bound once
    best = float("inf")
    for _ in range(5):
        began = time.perf_counter()
        for _ in range(500):
            log.info("order settled", order_no="T20261121-000001", gateway="wikeyun", state="succeeded", attempt=1)
        best = min(best, (time.perf_counter() - began) / 500)
    assert len(lines()) == 2500
    assert best < 50e-6  # 10 on a quiet machine; the bound is for a busy one
