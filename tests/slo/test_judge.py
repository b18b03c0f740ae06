"""Objectives judged over every sample: what is bad, what is not judged, and that nothing measured is no pass."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo.gates import Objective
from slo.judge import judge, quantile
from slo.load import LoadFacts
from tests.slo.synthetic import BEGIN, MadeSample

LATENCY = Objective("p99", "latency", "<=", 0.8, "s", 0.01, 99.0)
ERRORS = Objective("errors", "errors", "<", 0.01, "ratio", 0.01)
RATE = Objective("rate", "throughput", ">", 100.0, "requests/s", None)
LOAD = LoadFacts(model="open", begin=BEGIN, seconds=30.0, planned=4500.0)


def requests(count=4500, seconds=30.0, **changes: object):
    return [MadeSample(f"{i:032x}", start=BEGIN + i * seconds / count, **changes) for i in range(count)]


def with_bad(samples, each, **changes: object):
    """Make every `each`-th request bad."""
    return [replace(sample, **changes) if not i % each else sample for i, sample in enumerate(samples)]


@pytest.mark.parametrize(
    "changes", [{"status": 0}, {"status": 500}, {"status": 429}, {"status": 404, "expected": False}]
)
def test_no_answer_an_error_too_many_requests_and_an_undeclared_status_are_bad_for_availability(changes):
    found = judge(ERRORS, with_bad(requests(), 10, **changes), LOAD)
    assert (found.outcome, found.bad, found.total) == ("missed", 450, 4500)
    assert found.actual == pytest.approx(0.1)


def test_a_declared_refusal_is_good():
    assert judge(ERRORS, requests(status=409), LOAD).outcome == "met"


@pytest.mark.parametrize("changes", [{"duration": 0.8001}, {"status": 0, "duration": 0.001}])
def test_slower_than_the_limit_and_no_answer_are_bad_for_latency(changes):
    found = judge(LATENCY, with_bad(requests(), 10, **changes), LOAD)
    assert (found.outcome, found.bad) == ("missed", 450)


def test_exactly_the_limit_is_good():
    found = judge(LATENCY, requests(duration=0.8), LOAD)
    assert (found.outcome, found.bad, found.actual) == ("met", 0, 0.8)


def test_a_quick_error_is_good_for_latency():
    assert judge(LATENCY, requests(status=503), LOAD).outcome == "met"


def test_a_percentile_that_falls_on_no_answer_has_no_figure():
    found = judge(LATENCY, with_bad(requests(), 10, status=0), LOAD)
    assert found.actual is None


@pytest.mark.parametrize("objective", [LATENCY, ERRORS, RATE])
def test_nothing_measured_is_never_a_pass(objective):
    assert judge(objective, [], LOAD).outcome == "inconclusive"
    only_warmup = requests(warmup=True)
    assert judge(objective, only_warmup, LOAD).outcome == "inconclusive"
    only_setup = requests(scenario="")
    assert judge(objective, only_setup, LOAD).outcome == "inconclusive"


def test_warm_up_and_set_up_are_not_judged():
    spoilt = requests(500, status=500, warmup=True) + requests(500, status=500, scenario="")
    found = judge(ERRORS, requests() + spoilt, LOAD)
    assert (found.outcome, found.total) == ("met", 4500)


def test_an_endpoint_without_a_request_is_not_met():
    elsewhere = replace(LATENCY, endpoint="GET /api/nowhere")
    assert judge(elsewhere, requests(), LOAD).outcome == "inconclusive"


def test_an_objective_of_one_endpoint_looks_at_no_other():
    slow = [replace(sample, endpoint="/api/orders", method="POST", duration=2.0) for sample in requests(1500)]
    of_search = replace(LATENCY, endpoint="GET /api/products")
    assert judge(of_search, requests() + slow, LOAD).outcome == "met"
    assert judge(LATENCY, requests() + slow, LOAD).outcome == "missed"


def test_too_few_samples_are_inconclusive_and_say_how_many_are_needed():
    found = judge(ERRORS, requests(600), LOAD)
    assert found.outcome == "inconclusive"
    assert found.reason == "600 samples are too few: this budget needs at least 632"


def test_a_run_that_is_too_short_never_passes_but_may_fail():
    short = replace(LOAD, seconds=10.0)
    assert judge(ERRORS, requests(seconds=10.0), short).outcome == "inconclusive"
    assert judge(ERRORS, requests(seconds=10.0, status=500), short).outcome == "missed"


def test_one_burst_of_errors_counts_less_than_errors_throughout():
    burst = [replace(sample, status=500) if i < 60 else sample for i, sample in enumerate(requests())]
    assert judge(ERRORS, burst, LOAD).outcome == "inconclusive"
    assert judge(ERRORS, with_bad(requests(), 75, status=500), LOAD).outcome == "inconclusive"
    assert judge(ERRORS, with_bad(requests(), 50, status=500), LOAD).outcome == "missed"


def test_an_open_model_meets_its_rate_when_what_is_offered_is_completed():
    found = judge(RATE, requests(), LOAD)
    assert (found.outcome, found.actual) == ("met", 150.0)
    assert found.budget == pytest.approx(1 / 3)


def test_requests_without_an_answer_are_not_completed():
    found = judge(RATE, with_bad(requests(), 2, status=0), LOAD)
    assert (found.outcome, found.actual) == ("missed", 75.0)


def test_requests_that_were_not_sent_because_all_users_waited_are_not_completed():
    drops = tuple((BEGIN + second + 0.5, 100) for second in range(25))
    found = judge(RATE, requests(2000), replace(LOAD, drops=drops))
    assert (found.outcome, found.total, found.bad) == ("missed", 4500, 2500)


def test_requests_that_were_not_sent_widen_the_interval_by_coming_together():
    # 1,200 of 4,500, where a third may be missing: in one stall of 8 s, or everywhere.
    together = tuple((BEGIN + 8 + i / 150, 1.0) for i in range(1200))
    apart = tuple((BEGIN + i / 40, 1.0) for i in range(1200))
    sent = requests(3300)
    stalled, thinned = (judge(RATE, sent, replace(LOAD, drops=drops)) for drops in (together, apart))
    assert (stalled.total, stalled.bad) == (thinned.total, thinned.bad) == (4500, 1200)
    assert (stalled.outcome, thinned.outcome) == ("inconclusive", "met")


def test_a_load_that_never_got_a_user_free_is_missed_and_not_unmeasured():
    assert judge(RATE, [], replace(LOAD, drops=((BEGIN + 15, 4500),))).outcome == "missed"


def test_offering_less_than_the_target_never_passes():
    found = judge(RATE, requests(2700), LOAD)
    assert (found.outcome, found.reason) == ("inconclusive", "no more than the target was offered")


CLOSED = LoadFacts(model="closed", begin=BEGIN, seconds=40.0, users=((BEGIN, 50), (BEGIN + 40, 50)))


@pytest.mark.parametrize(("rate", "outcome"), [(130, "met"), (70, "missed")])
def test_a_closed_model_is_judged_by_its_completions(rate, outcome):
    found = judge(RATE, requests(rate * 40, 40.0), CLOSED)
    assert found.outcome == outcome
    assert found.actual == pytest.approx(rate, rel=0.01)
    assert found.interval[0] <= found.actual <= found.interval[1]


def test_the_graceful_tail_of_a_closed_model_is_no_throughput():
    late = [replace(sample, start=BEGIN + 50) for sample in requests(3000)]
    assert judge(RATE, requests(70 * 40, 40.0) + late, CLOSED).outcome == "missed"


def test_a_closed_model_without_users_is_not_measured():
    assert judge(RATE, requests(), replace(CLOSED, users=())).outcome == "inconclusive"


@given(st.lists(st.floats(0.001, 2.0), min_size=1, max_size=400), st.sampled_from([50, 90, 99, 99.9]))
def test_a_percentile_is_within_a_limit_exactly_when_the_share_above_is_within_its_budget(durations, percentile):
    samples = [MadeSample(f"{i:032x}", duration=duration) for i, duration in enumerate(durations)]
    above = sum(duration > 0.8 for duration in durations)
    within = above * 1000 <= round((100 - percentile) * 10) * len(durations)
    assert (quantile(samples, percentile) <= 0.8) == within
