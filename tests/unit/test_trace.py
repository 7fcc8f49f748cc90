"""Trace context: what is taken as one, what goes out with a call, and that nothing else is invented."""

import itertools

import pytest

from worker.core.trace import Kind, Tracing, child, headers, read, trace_id

TRACE, SPAN = "0af7651916cd43dd8448eb211c80319c", "b7ad6b7169203331"
PARENT = f"00-{TRACE}-{SPAN}-01"


def given(traceparent: object, tracestate: object = None) -> str | None:
    return read({"traceparent": traceparent, "tracestate": tracestate, "x-other": 1})


def test_what_was_given_is_handed_on_as_it_is() -> None:
    assert headers(given(PARENT)) == {"traceparent": PARENT}
    state = "congo=t61rcWkgMzE,rojo=00f067aa0ba902b7"
    assert headers(given(PARENT, state)) == {"traceparent": PARENT, "tracestate": state}
    assert read({}) is None
    assert headers(None) == {}


@pytest.mark.parametrize(
    "wrong",
    [
        *("", "00", PARENT.upper(), f" {PARENT}", f"{PARENT}\n", f"{PARENT}-", f"{PARENT}-what", f"ff{PARENT[2:]}"),
        f"00-{'0' * 32}-{SPAN}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE[1:]}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-1",
        f"0g-{TRACE}-{SPAN}-01",
        f"00-{TRACE}-{SPAN}-01 x=13800138000",
        f"01-{TRACE}-{SPAN}-01 x",
        PARENT.replace("-", "_"),
        PARENT.encode(),
        7,
        None,
        [PARENT],
        "\uff11" * 55,
    ],
)
def test_what_w3c_would_not_take_is_ignored(wrong: object) -> None:
    assert given(wrong, "a=b") is None


def test_a_later_version_is_read_as_far_as_it_is_known() -> None:
    assert given(f"cc-{TRACE}-{SPAN}-01-what-will-be") == PARENT
    assert given(f"cc-{TRACE}-{SPAN}-01") == PARENT


def test_flags_that_nobody_knows_are_not_handed_on() -> None:
    assert given(f"00-{TRACE}-{SPAN}-ff") == f"00-{TRACE}-{SPAN}-03"
    assert given(f"00-{TRACE}-{SPAN}-00") == f"00-{TRACE}-{SPAN}-00"


@pytest.mark.parametrize("state", ["", "no pairs", "a=b\r\nx: y", "ü=1", "a=" + "b" * 511, 7, b"a=b"])
def test_a_state_that_could_break_a_header_is_dropped_alone(state: object) -> None:
    assert given(PARENT, state) == PARENT


def test_a_child_has_a_span_of_its_own_in_the_same_trace() -> None:
    for context in (PARENT, f"{PARENT} a=b c=d"):
        born = child(context, lambda bits: (1 << bits) - 1)
        assert born == context.replace(SPAN, "f" * 16)
        assert trace_id(born) == TRACE
        assert headers(born) == headers(context) | {"traceparent": f"00-{TRACE}-{'f' * 16}-01"}
    assert child(PARENT, lambda _: 0) == f"00-{TRACE}-{'0' * 15}1-01"


def test_only_what_goes_out_becomes_a_span_where_nothing_is_recorded() -> None:
    numbers = itertools.count(1)
    tracing = Tracing(lambda _: next(numbers))
    kinds = (Kind.CONSUMER, Kind.INTERNAL, Kind.CLIENT, Kind.PRODUCER)
    contexts = [tracing.span("x", kind, PARENT).context for kind in kinds]
    assert contexts == [PARENT, PARENT, PARENT.replace(SPAN, f"{1:016x}"), PARENT.replace(SPAN, f"{2:016x}")]
    spans = [tracing.span("x", kind, None) for kind in kinds]
    assert [span.context for span in spans] == [None] * 4
    for span in spans:
        span.end("over", failed=True, gateway="one")
    tracing.stop()
