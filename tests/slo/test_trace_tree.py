"""Traces as they come: with spans missing, sent twice, or pointing at themselves."""

from dataclasses import replace

import pytest

from slo.evidence import waterfall
from slo.gate import evaluate
from slo.trace_tree import Place, TraceTree
from tests.slo.synthetic import MadeSample, SpanMaker, healthy

SAMPLE = MadeSample("a" * 32)


@pytest.fixture
def spans():
    return healthy(SAMPLE)[1]


def test_a_span_without_its_parent_is_a_root(spans):
    assert TraceTree(spans[1:]).roots == spans[1:3]


def self_times(spans):
    return [(span.span_id, seconds) for span, seconds in TraceTree(spans).self_times()]


def test_spans_that_were_exported_twice_count_once(spans):
    assert self_times([*spans, *spans]) == self_times(spans)


def test_a_batch_that_was_exported_twice_does_not_disturb_the_reconciliation(run):
    for trace_id in list(run.spans)[:512]:
        run.spans[trace_id] = run.spans[trace_id] * 2
    assert evaluate(run.facts()).verdict.reconciliation.retried == 0


def test_a_span_that_is_its_own_parent_ends(spans):
    own = replace(spans[0], parent_id=spans[0].span_id)
    assert len(waterfall(SAMPLE, [own, *spans[1:]]).rows) == len(spans)


def test_an_id_that_is_used_twice_ends(spans):
    """Found by chance: a root and a span of the same id that names it as its parent."""
    again = replace(spans[0], parent_id=spans[0].span_id)
    assert len(waterfall(SAMPLE, [spans[0], again]).rows) == 1


def test_two_spans_that_are_each_others_parents_are_nobodys_origin(spans):
    first = replace(spans[0], parent_id=spans[1].span_id)
    second = replace(spans[1], parent_id=first.span_id)
    assert TraceTree([first, second]).origin() is None
    assert waterfall(SAMPLE, [first, second]).rows == ()


def test_self_time_is_what_no_child_covers():
    maker = SpanMaker("a" * 32)
    root = maker.add(None, "gateway", "root", "SERVER", 100.0, 110.0)
    maker.add(root, "gateway", "early", "INTERNAL", 99.0, 102.0)
    maker.add(root, "gateway", "overlapping", "INTERNAL", 101.0, 104.0)
    maker.add(root, "gateway", "late", "INTERNAL", 108.0, 115.0)
    times = {span.name: seconds for span, seconds in TraceTree(maker.spans).self_times()}
    assert times["root"] == pytest.approx(4.0)


def test_a_call_that_nobody_handled_is_the_peers():
    maker = SpanMaker("a" * 32)
    root = maker.add(None, "gateway", "root", "SERVER", 0.0, 1.0)
    call, _ = maker.call(root, "order.v1.OrderService/PlaceOrder", 0.1, 0.2, error="UNAVAILABLE", handled=False)
    assert TraceTree(maker.spans).place(call) == Place("order", "order.v1.OrderService/PlaceOrder")
