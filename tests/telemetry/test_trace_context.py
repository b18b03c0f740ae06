"""Trace context: continued from whom we trust, linked to otherwise, carried by every answer, and never malformed."""

import re
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from opentelemetry import baggage, trace
from opentelemetry.context import Context

from telemetry import conventions as c
from telemetry.http import host_and_port, with_trace_headers
from telemetry.propagation import context_from_metadata, from_headers, from_metadata, to_metadata

TRACE = "0af7651916cd43dd8448eb211c80319c"
PARENT = "b7ad6b7169203331"
TRACEPARENT = f"00-{TRACE}-{PARENT}-01"


@pytest.fixture
def served(build: str, served: Any) -> Any:  # noqa: ARG001 - everything that is served is by both builds
    """Serve by both implementations of the request path; the functions that both call are tested once."""
    return served


async def ok(scope: Any, _receive: Any, send: Any) -> None:
    scope["path_template"] = "/"
    headers = [(name, value) for name, value in scope["headers"] if name.startswith((b"access-", b"x-trace"))]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body"})


def context_of(traceparent: str, **others: str) -> trace.SpanContext:
    headers = {"traceparent": traceparent, **others}
    context, _ = from_headers([(k.encode(), v.encode("latin-1")) for k, v in headers.items()], trusted=True)
    return trace.get_current_span(context).get_span_context()


async def test_a_trusted_caller_is_the_parent_and_its_tracestate_goes_on(served: Any):
    async with served(ok) as world:
        got = await world.get(headers={"traceparent": TRACEPARENT, "tracestate": "vendor=1,other=2"})
        span, line = await world.told()
    assert (span.trace_id, span.parent_id, line[c.LOG_TRACE_FLAGS]) == (TRACE, PARENT, "01")
    assert got.headers["x-trace-id"] == TRACE
    assert got.headers["traceresponse"] == f"00-{TRACE}-{span.span_id}-01"


async def test_a_trace_that_is_not_sampled_stays_so_and_is_still_findable_in_the_log(served: Any):
    async with served(ok) as world:
        got = await world.get(headers={"traceparent": f"00-{TRACE}-{PARENT}-00"})
        assert world.spans == []
        (line,) = world.access_lines
    assert (line[c.LOG_TRACE_ID], line[c.LOG_TRACE_FLAGS]) == (TRACE, "00")
    assert got.headers["traceresponse"].endswith("-00")
    assert world.observations == {("GET", "/", "200"): 1}


async def test_a_new_trace_is_sampled_and_says_that_its_id_is_random(served: Any):
    async with served(ok) as world:
        got = await world.get()
        span, _ = await world.told()
    assert got.headers["traceresponse"] == f"00-{span.trace_id}-{span.span_id}-03"
    assert span.parent_id == ""


async def test_a_stranger_gets_a_new_trace_that_links_to_the_old_one(served: Any):
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        seen.append(baggage.get_all())
        await ok(scope, receive, send)

    async with served(app, trust_incoming=False) as world:
        await world.get(headers={"traceparent": f"00-{TRACE}-{PARENT}-00", "baggage": "role=admin"})
        span, _ = await world.told()
    assert span.trace_id != TRACE
    assert (span.parent_id, span.links, seen) == ("", (TRACE,), [{}])


async def test_the_handler_sees_the_span_and_the_baggage_of_its_request(served: Any):
    seen: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        span = trace.get_current_span()
        span.set_attribute("mine", 1)
        seen.append((f"{span.get_span_context().span_id:016x}", baggage.get_baggage("colour")))
        await ok(scope, receive, send)

    async with served(app) as world:
        await world.get(headers={"baggage": "colour=blue"})
        span, _ = await world.told()
    assert seen == [(span.span_id, "blue")]
    assert span.attributes["mine"] == 1
    assert not trace.get_current_span().get_span_context().is_valid


@pytest.mark.parametrize(
    "traceparent",
    [
        "",
        "00",
        TRACEPARENT.upper(),
        f"00-{TRACE}-{PARENT}",
        f"00-{TRACE}-{PARENT}-01-extra",
        f"ff-{TRACE}-{PARENT}-01",
        f"00-{'0' * 32}-{PARENT}-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"00-{TRACE}0-{PARENT}-01",
        f"0-{TRACE}-{PARENT}-01",
        f"00-{TRACE}-{PARENT}-1",
        f"00-{TRACE}-{PARENT}-0x",
        f"00_{TRACE}_{PARENT}_01",
    ],
)
def test_a_malformed_parent_is_no_parent(traceparent: str):
    assert not context_of(traceparent).is_valid


@pytest.mark.parametrize("version", ["01", "cc", "fe"])
@pytest.mark.parametrize("rest", ["", "-what-the-future-will-be"])
def test_a_higher_version_is_read_as_far_as_it_is_known(version: str, rest: str):
    found = context_of(f"{version}-{TRACE}-{PARENT}-01{rest}")
    assert (f"{found.trace_id:032x}", f"{found.span_id:016x}", found.trace_flags) == (TRACE, PARENT, 1)


def test_two_parents_are_no_parent():
    headers = [(b"traceparent", TRACEPARENT.encode())] * 2
    assert from_headers(headers, trusted=True) == (Context(), [])


def test_several_tracestates_are_one_list():
    headers = [(b"traceparent", TRACEPARENT.encode()), (b"tracestate", b"a=1"), (b"tracestate", b"b=2")]
    context, _ = from_headers(headers, trusted=True)
    assert trace.get_current_span(context).get_span_context().trace_state.to_header() == "a=1,b=2"


@given(st.text(st.characters(codec="latin-1", exclude_characters="\r\n")))
@example(TRACEPARENT)
def test_no_text_makes_an_invalid_parent(text: str):
    found = context_of(text, tracestate=text, baggage=text)
    assert not found.is_valid or re.search(rf"{found.trace_id:032x}-{found.span_id:016x}", text)


@given(
    st.integers(1, (1 << 128) - 1),
    st.integers(1, (1 << 64) - 1),
    st.integers(0, 255),
    st.text("0123456789abc", max_size=9),
)
def test_what_is_sent_is_what_is_read(trace_id: int, span_id: int, flags: int, state: str):
    entries = [("vendor", state)] if state else []
    sent = trace.SpanContext(trace_id, span_id, True, trace.TraceFlags(flags), trace.TraceState(entries))
    metadata = to_metadata(trace.set_span_in_context(trace.NonRecordingSpan(sent), Context()))
    carried = list(metadata.items())
    assert trace.get_current_span(context_from_metadata(carried)).get_span_context() == sent
    parent, _ = from_metadata(carried)
    assert parent is not None
    assert parent[:3] == (f"{trace_id:032x}", f"{span_id:016x}", flags)
    assert (parent[3] or trace.TraceState(), parent[4]) == (sent.trace_state, True)


async def test_the_trace_headers_are_exposed_where_other_origins_may_read_the_answer(served: Any):
    async with served(ok) as world:
        allowed = {"access-control-allow-origin": "*", "access-control-expose-headers": "etag"}
        cross = await world.get(headers=allowed)
        plain = await world.get()
    assert cross.headers.get_list("access-control-expose-headers") == ["etag, traceresponse, x-trace-id"]
    assert "access-control-expose-headers" not in plain.headers


async def test_the_trace_headers_of_a_proxied_answer_give_way(served: Any):
    async with served(ok) as world:
        got = await world.get(headers={"x-trace-id": "somebody-elses"})
        span, _ = await world.told()
    assert got.headers.get_list("x-trace-id") == [span.trace_id]


@pytest.mark.parametrize("kind", [iter, tuple, lambda headers: (header for header in headers), dict.fromkeys])
async def test_headers_may_be_any_iterable_also_one_that_can_be_read_only_once(served: Any, kind: Any):
    sent = [(b"content-type", b"a/b"), (b"set-cookie", b"a=b"), (b"access-control-allow-origin", b"*"), (b"x-b", b"c")]

    async def app(_scope: Any, _receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": kind(sent)})
        await send({"type": "http.response.body"})

    async with served(app) as world:
        got = await world.get()
        span, _ = await world.told()
    assert [pair for pair in got.headers.raw if pair in sent] == sent
    assert got.headers["x-trace-id"] == span.trace_id


def test_other_headers_keep_their_order_and_their_spelling():
    headers = [(b"Set-Cookie", b"a"), (b"ETag", b"x"), (b"Set-Cookie", b"b")]
    assert with_trace_headers(headers, "r", "t")[:3] == headers


@pytest.mark.parametrize(
    ("host", "server", "expected"),
    [
        ("shop.test", ("127.0.0.1", 80), ("shop.test", 80)),
        ("shop.test:8443", ("127.0.0.1", 80), ("shop.test", 8443)),
        ("[::1]:8080", None, ("::1", 8080)),
        ("[::1]", ("::1", "443"), ("::1", 443)),
        ("", ("10.0.0.1", 80), ("10.0.0.1", 80)),
        ("", ("/run/app.sock", None), ("/run/app.sock", 0)),
        ("", None, ("", 0)),
        ("evil:x", None, ("evil:x", 0)),
        (f"evil:{'9' * 5_000}", ("10.0.0.1", 80), (f"evil:{'9' * 5_000}", 80)),
    ],
)
def test_the_host_is_split_where_its_port_begins(host: str, server: Any, expected: tuple[str, int]):
    assert host_and_port(host, server) == expected


@given(st.text())
def test_no_host_breaks_the_split(host: str):
    host_and_port(host, None)
