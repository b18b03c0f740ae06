"""A release that is judged by series: what was counted decides, and what was not is never a pass."""

import math
from dataclasses import replace

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slo.gates import Gate, Objective
from slo.report.html import render_html
from slo.report.junit import render_junit
from slo.report.markdown import render_markdown
from slo.series import Series
from slo.series_gate import Measured, SeriesFacts, evaluate_series
from slo.verdict import Source

ERRORS = Objective("errors", "errors", "<", 0.01, "ratio", 0.01)
LATENCY = Objective("p99", "latency", "<=", 0.8, "s", 0.01, 99.0)
RATE = Objective("rate", "throughput", ">", 5.0, "requests/s", None)
STEP, SECONDS = 15.0, 600.0
TIMES = [STEP * index for index in range(-20, int(SECONDS / STEP) + 1)]


def counter(per_second, name="total", **labels: str):
    """Return a counter that was there long before the window."""
    values = tuple((at, float(round(per_second * (at + 300)))) for at in TIMES)
    return Series({"__name__": name, "job": "shop", "instance": "a:1", **labels}, values)


def errors(bad=0.02, total=20.0):
    return Measured(ERRORS, (counter(total),), (counter(bad, "bad"),), "bad", None, ("total", "bad"))


def latency(good=19.98, total=20.0, **labels: str):
    bucket = counter(good, le="0.8", **labels)
    return Measured(LATENCY, (counter(total),), (bucket,), "good", 0.4, ("total", "bucket"))


def judge(*measured: Measured, **facts: object):
    gate = Gate("canary", "gate.yaml", None, "", tuple(each.objective for each in measured))
    whole = SeriesFacts(
        gate=gate, measured=measured, up=(), begin=0.0, seconds=SECONDS, source=Source("http://p", SECONDS)
    )
    return evaluate_series(replace(whole, **facts))


def verdict(*measured: Measured, **facts: object):
    return judge(*measured, **facts).verdict


def test_what_is_met_passes_and_says_what_was_read():
    found = verdict(errors(), latency(), Measured(RATE, (counter(20.0),), selectors=("total",)))
    assert (found.verdict, found.load.requests, found.load.rate) == ("pass", 12_000, 20.0)
    assert [(each.total, each.bad) for each in found.objectives] == [(12_000, 12), (12_000, 12), (12_000, 0)]
    assert found.source.remarks == ("1 target, 16 blocks",)
    assert sum(total for total, _ in found.objectives[0].blocks) == 12_000


def test_a_steady_rate_is_known_well_though_blocks_hold_two_or_three_scrapes():
    (found,) = verdict(Measured(RATE, (counter(20.0),), selectors=("total",))).objectives
    assert {total for total, _ in verdict(errors()).objectives[0].blocks} == {600, 900}
    assert found.interval == pytest.approx((20, 20))


def test_a_share_beyond_its_budget_is_missed():
    assert verdict(errors(bad=0.6), latency()).verdict == "fail"
    assert verdict(errors(), latency(good=19.4)).verdict == "fail"


def test_errors_that_nobody_has_seen_are_none_and_a_bucket_that_nobody_has_seen_hides_all():
    without = replace(errors(), events=())
    assert verdict(without).verdict == "pass"
    found = verdict(replace(latency(), events=()))
    assert (found.verdict, found.objectives[0].outcome) == ("error", "inconclusive")
    assert found.load.problems == ("p99: there is no series bucket in the window: nobody knows how many were slow",)


def test_one_target_without_the_bucket_is_enough_to_know_nothing():
    both = replace(latency(), everything=(counter(20.0), counter(5.0, instance="b:1")))
    found = verdict(both)
    assert found.verdict == "error"
    assert 'total{instance="b:1",job="shop"} has no bucket up to the limit' in found.load.problems[0]


def test_good_events_are_what_is_left_of_all():
    good = replace(errors(), events=(counter(19.0, "good"),), events_are="good")
    assert verdict(good).objectives[0].bad == 600


def test_more_of_a_part_than_of_all_is_no_measurement():
    found = verdict(errors(bad=30.0))
    assert (found.verdict, found.objectives[0].outcome) == ("error", "inconclusive")


def test_a_total_outage_is_a_failure_though_its_two_counters_are_not_read_at_one_moment():
    ahead = counter(20.0, "bad")
    skewed = replace(ahead, samples=tuple((at, value + (2 if at >= 300 else 0)) for at, value in ahead.samples))
    found = verdict(replace(errors(), events=(skewed,)))
    assert (found.verdict, found.objectives[0].bad) == ("fail", 12_000)
    assert all(bad <= total for total, bad in found.objectives[0].blocks)


def test_what_one_block_has_too_many_of_is_its_neighbours():
    ahead = counter(20.0, "bad")
    late = replace(ahead, samples=tuple((at, value - (50 if 250 < at < 320 else 0)) for at, value in ahead.samples))
    assert verdict(replace(errors(), events=(late,))).objectives[0].bad == 12_000


def up(value, instance="a:1", *, begin=-300.0, **labels: str):
    samples = tuple((at, float(value)) for at in TIMES if at >= begin)
    return Series({"__name__": "up", "job": "shop", "instance": instance, **labels}, samples)


def test_a_target_that_never_answered_is_a_problem_where_every_other_of_its_job_has_the_series():
    ups = (up(1), up(0, "c:1"))
    found = verdict(errors(), up=ups)
    said = "shop c:1 did not answer a single scrape of the window"
    assert (found.verdict, found.load.problems) == ("error", (said,))
    found = verdict(errors(), up=ups, strangers=1)
    assert (found.verdict, found.source.remarks[-1]) == ("pass", said)
    assert verdict(errors(), up=(up(1), up(0, "c:1", begin=580))).verdict == "pass", "it has just come"


def test_clusters_with_targets_of_the_same_name_are_told_apart():
    here, away = up(1, cluster="us"), replace(up(1, cluster="eu"), samples=outage(up(1).samples))
    both = replace(
        errors(),
        everything=(
            counter(20.0, cluster="us"),
            replace(counter(20.0, cluster="eu"), samples=counter(20.0).samples[:34]),
        ),
        events=(),
    )
    found = verdict(both, up=(away, here))
    assert found.verdict == "error"
    assert found.load.problems == ("shop a:1 eu did not answer the scrapes of the window's last 405 s",)


def outage(samples):
    return tuple((at, 1.0 if at < 200 else 0.0) for at, _ in samples)


def test_series_that_may_be_of_either_of_two_targets_are_no_measurement():
    found = verdict(errors(), up=(up(1, cluster="us"), up(1, cluster="eu")))
    assert found.load.problems == ("several targets are called shop a:1, they differ in cluster: name one by --match",)


def test_of_many_remarks_some_are_said_and_the_others_counted():
    leaving = [replace(counter(1.0, instance=f"{index}:1"), samples=counter(1.0).samples[:30]) for index in range(20)]
    found = verdict(replace(errors(), everything=(counter(20.0), *leaving)))
    assert found.source.remarks[1:] == (
        "shop 0:1 was gone before the window's end",
        "shop 10:1 was gone before the window's end",
        "shop 11:1 was gone before the window's end",
        "and 17 more like this",
    )


def test_two_scrapes_within_no_time_are_no_traceback():
    assert verdict(replace(errors(), everything=(Series({}, ((0.0, 0.0), (1e-320, 1.0))),))).verdict == "error"


def test_a_release_that_missed_one_objective_failed_though_nothing_counted_for_another():
    nothing = Measured(replace(ERRORS, name="orders"), (counter(0.0),), selectors=("orders",))
    assert verdict(errors(bad=0.6), nothing).verdict == "fail"
    found = verdict(errors(), nothing)
    assert (found.verdict, found.load.problems) == ("error", ("orders: no request was counted",))


def test_series_that_could_not_be_read_leave_every_objective_open():
    found = verdict(errors(), problems=("Prometheus is away",))
    assert (found.verdict, found.load.problems) == ("error", ("Prometheus is away",))
    assert found.objectives[0].reason == "the series could not be read"


SAMPLES = st.lists(st.tuples(st.floats(-400, 700), st.floats(allow_nan=True) | st.integers(0, 10**6)), max_size=30)
HOSTILE = st.builds(
    Series,
    st.dictionaries(st.sampled_from(["__name__", "job", "instance", "le", "x"]), st.text(max_size=3), max_size=3),
    SAMPLES.map(lambda found: tuple(sorted(dict(found).items()))),
)


@settings(max_examples=60, deadline=None)
@given(st.lists(HOSTILE, max_size=3), st.lists(HOSTILE, max_size=3), st.lists(HOSTILE, max_size=2))
def test_whatever_series_there_are_there_is_a_verdict_and_its_reports(everything, events, up):
    measured = replace(latency(), everything=tuple(everything), events=tuple(events))
    found = judge(replace(errors(), everything=tuple(everything), events=tuple(events)), measured, up=tuple(up))
    assert found.verdict.verdict in {"pass", "fail", "inconclusive", "error"}
    if found.verdict.verdict == "pass":
        assert all(each.total >= 632 for each in found.verdict.objectives)
        assert math.isfinite(found.verdict.load.rate)
    assert "o load was sent" in render_markdown(found.verdict, found.evidence)


def test_every_report_says_what_was_read_and_nothing_of_a_reconciliation():
    found = judge(errors(), latency())
    for page in (render_markdown(found.verdict, found.evidence), render_html(found.verdict, found.evidence)):
        assert "o load was sent; series of 600 s; 1 target, 16 blocks" in page
        assert "reconcile" not in page
    assert "reconciliation" not in render_junit(found.verdict)


@pytest.mark.parametrize("seconds", [30.0, 100.0])
def test_too_short_a_window_never_passes(seconds):
    found = verdict(errors(total=200.0), begin=SECONDS - seconds, seconds=seconds)
    assert found.verdict == "inconclusive"
    assert "180 s are needed, two scrapes for each block" in found.objectives[0].reason
