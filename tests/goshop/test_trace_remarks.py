"""What is odd about a trace is said: delivered twice, clocks that differ, never sampled, no span of it."""

import pytest

from goshop.trace import Trace
from goshop.trace_remarks import assembled
from telemetry import conventions as names
from tests.goshop.made_traces import LINES, METHOD, SPANS, TRACE, call, entry, log, request, span


def found(spans, lines=(), remarks=()) -> Trace:
    return assembled(TRACE, "run", spans, lines, remarks=remarks, without="nobody wrote a span")


def served(start, end):
    return span(3, 2, "product", METHOD, kind="SERVER", start=start, end=end)


def test_a_trace_as_it_should_be_has_no_remarks():
    trace = found([SPANS[2], SPANS[0], SPANS[3], SPANS[1]], LINES)
    assert (list(trace.spans), trace.remarks, trace.missing) == (SPANS, [], [])


def test_a_span_that_was_delivered_twice_is_one():
    trace = found([*SPANS, SPANS[1]])
    assert (list(trace.spans), trace.remarks) == (SPANS, ["1 span was delivered more than once"])
    assert found(SPANS * 3).remarks == ["8 spans were delivered more than once"]


def test_two_sides_of_a_call_that_share_an_id_stay_two():
    shared = [span(2, 1, "a", "x", kind="CLIENT"), span(2, 1, "b", "x", kind="SERVER")]
    assert list(found(shared).spans) == shared


@pytest.mark.parametrize(
    ("start", "end", "differ"), [(-2_995, -2_905, "3.000"), (3.5, 90, "0.002"), (3_095, 3_190, "3.000")]
)
def test_clocks_that_differ_are_said_to(start, end, differ):
    trace = found([entry(), call(2, 1, "gateway", METHOD, start=5, end=95), served(start, end)])
    assert trace.remarks == [f"the clocks of gateway and product differ by at least {differ} s"]


@pytest.mark.parametrize(
    ("status", "start", "end"),
    [
        ("OK", 4.5, 90),  # as much as clocks of one machine may differ
        ("OK", 10, 500),  # it goes on after its answer
        ("DEADLINE_EXCEEDED", 200, 300),  # nobody waits for it any more
    ],
)
def test_what_may_be_is_no_difference_of_clocks(status, start, end):
    assert (
        found([entry(), call(2, 1, "gateway", METHOD, status=status, start=5, end=95), served(start, end)]).remarks
        == []
    )


def test_clocks_of_the_load_and_the_shop_are_compared_too():
    assert found([request(start=50, end=90), entry(2, 1, start=20, end=60)]).remarks == [
        "the clocks of k6 and gateway differ by at least 0.030 s"
    ]


def test_what_was_not_sampled_is_not_called_lost():
    unsampled = [log("gateway", 1, 1, "x", **{names.LOG_TRACE_FLAGS: "00"})]
    trace = found([], unsampled)
    assert (trace.remarks, trace.missing) == (["it was not sampled: there are no spans"], [])
    sampled = log("product", 2, 2, "y", **{names.LOG_TRACE_FLAGS: "01"})
    assert found([], [*unsampled, sampled]).remarks == ["nobody wrote a span"]


def test_where_nobody_could_be_asked_for_spans_nothing_is_said_of_them():
    trace = found(None, LINES, ["a store is away", "a store is away"])
    assert (trace.spans, trace.remarks, trace.missing) == (None, ["a store is away"], [])
