"""The series that specifications may name are the ones that services export."""

import pytest
from prometheus_client import CollectorRegistry

from slo.openslo.known_series import EXPORTED, TARGET_LABELS, series, value_fault
from slo.openslo.promql import Matcher
from telemetry import conventions
from telemetry.metrics import Metrics

_FOLDED = "'5xx' is only what too many series are folded into: write =~\"5..\" for all of them"


@pytest.fixture(scope="module")
def exported():
    """By name: the kind, and the labels and edges where there are samples."""
    registry = CollectorRegistry()
    Metrics(registry)
    return {family.name: family for family in registry.collect()}


def test_every_metric_of_the_conventions_can_be_named():
    names = {v for k, v in vars(conventions).items() if isinstance(v, str) and v.endswith(("_seconds", "_total"))}
    assert names <= EXPORTED.keys()


def test_what_is_said_to_count_is_a_counter_or_a_histogram(exported):
    for name, metric in EXPORTED.items():
        family = exported.get(name.removesuffix("_total"))
        if family is not None:
            kind = "histogram" if metric.buckets else "counter" if metric.counts else "gauge"
            assert (name, family.type) == (name, kind)


def test_a_histogram_is_three_series():
    names = [name for name in series() if name.startswith(conventions.RPC_SERVER_DURATION)]
    assert names == [conventions.RPC_SERVER_DURATION + end for end in ("_bucket", "_count", "_sum")]


@pytest.mark.parametrize(
    ("matcher", "said"),
    [
        (Matcher("status_code", "=~", "5.."), ""),
        (Matcher("status_code", "=~", "500|503"), ""),
        (Matcher("status_code", "=~", "5..|xyz"), "no status_code is ever 'xyz'"),
        (Matcher("status_code", "=", "5.."), "no status_code is ever '5..'"),
        (Matcher("status_code", "=~", "|5.3|.04"), ""),
        (Matcher("status_code", "=~", "50|5...|6.."), "no status_code is ever '50' or '5...' or '6..'"),
        (Matcher("status_code", "=~", "4..|5xx"), _FOLDED),
        (Matcher("status_code", "=", "5xx"), _FOLDED),
        (Matcher("rpc_status_code", "=", "5xx"), "no rpc_status_code is ever '5xx'"),
        (Matcher("status_code", "=", "a|b"), "no status_code is ever 'a|b'"),
        (Matcher("status_code", "!=", "xyz"), ""),
        (Matcher("status_code", "=~", "5[0-9]+"), ""),
        (Matcher("rpc_status_code", "=~", "INTERNAL|UNAVAILABLE"), ""),
        (Matcher("rpc_status_code", "=", "Internal"), "no rpc_status_code is ever 'Internal'"),
        (Matcher("endpoint", "=", "/anything"), ""),
    ],
)
def test_a_status_that_nobody_ever_answers_is_known(matcher, said):
    assert value_fault(matcher) == said


def test_labels_of_the_scrape_are_none_of_the_process():
    assert not any(set(TARGET_LABELS) & set(metric.labels) for metric in EXPORTED.values())
