"""From facts to verdict: one run each of what the gate must tell apart."""

from collections import Counter
from dataclasses import replace

import pytest

from slo.gate import client_minus_server, evaluate
from slo.load import LoadFacts
from slo.verdict import Release
from tests.slo.synthetic import BEGIN, delayed, failing_charge


def verdict_of(run, **changes: object):
    return evaluate(run.facts(**changes)).verdict


def test_an_undisturbed_run_passes_and_all_four_counts_are_equal(run):
    found = verdict_of(run, release=Release("1.2.3", "abc"))
    assert (found.verdict, found.exit_code, found.releases) == ("pass", 0, True)
    counts = found.reconciliation
    assert {counts.k6, counts.server_metrics, counts.server_spans, counts.access_lines} == {5250}
    assert (found.load.requests, found.load.warmup_requests) == (4500, 750)
    assert found.release.version == "1.2.3"
    assert (found.started, found.ended) == ("2027-01-15T08:00:00.000Z", "2027-01-15T08:00:36.000Z")


def test_slow_searches_fail_and_their_traces_are_listed_first(run):
    run.spoil(0.05, "/api/products", delayed)
    found = verdict_of(run)
    assert (found.verdict, found.exit_code) == ("fail", 1)
    assert [result.outcome for result in found.objectives] == ["missed", "met", "met"]
    slowest = {sample.trace_id for sample in run.samples if sample.duration > 0.9 and not sample.warmup}
    assert set(found.traces.slowest) <= slowest


def test_failed_traces_are_of_every_kind_there_is(run):
    run.spoil(0.5, "/api/orders", failing_charge)
    rare = next(sample for sample in run.samples[4000:] if sample.endpoint == "/api/products")
    run.samples[run.samples.index(rare)] = replace(rare, status=500, expected=False)
    assert rare.trace_id in verdict_of(run).traces.failed


def test_a_run_with_faults_is_no_release_verdict_even_if_it_passes(run):
    found = verdict_of(run, faults=("payment.charge=error@0%",))
    assert (found.verdict, found.releases) == ("pass", False)


def test_a_failed_measurement_outweighs_a_missed_objective(run):
    run.spoil(0.3, "/api/products", delayed)
    found = verdict_of(run, problems=("the order service did not start",))
    assert (found.verdict, found.exit_code) == ("error", 5)
    assert found.load.problems == ("the order service did not start",)
    assert not found.load.healthy


def test_an_unaccounted_request_is_a_failed_measurement(run):
    lines = Counter(sample.trace_id for sample in run.samples)
    lines["f" * 32] += 1
    found = verdict_of(run, access_lines=lines)
    assert (found.verdict, found.reconciliation.agree) == ("error", False)


def test_a_server_that_is_not_ours_is_judged_without_reconciliation(run):
    found = verdict_of(run, spans=None, access_lines=None, server_requests=None)
    assert (found.verdict, found.reconciliation.agree, found.load.client_minus_server_p99) == ("pass", None, None)


def test_a_killed_gateway_explains_what_its_last_second_left_undone(run):
    kill = BEGIN + 20.0
    dying = [sample for sample in run.samples if sample.start <= kill <= sample.start + sample.duration]
    lines = Counter(sample.trace_id for sample in run.samples)
    for sample in dying:
        run.samples[run.samples.index(sample)] = replace(sample, status=0, error_code=1212, expected=False)
        del run.spans[sample.trace_id], lines[sample.trace_id]
    found = verdict_of(run, access_lines=lines, server_requests=lines.total(), kills={"gateway": (kill,)})
    assert dying
    assert (found.reconciliation.lost_with_process, found.reconciliation.agree) == (len(dying), True)


def test_requests_of_the_internal_port_are_not_counted(run):
    some = run.samples[0].trace_id
    root = run.spans[some][0]
    health = replace(root, trace_id="e" * 32, attributes={**root.attributes, "url.path": "/health"})
    run.spans["e" * 32] = [health]
    assert verdict_of(run).reconciliation.agree


def test_the_clients_own_waiting_is_measured_at_the_99th_percentile(run):
    assert client_minus_server(run.samples, run.spans) == pytest.approx(0.002, abs=0.0005)


def test_a_starved_client_is_a_failed_measurement(run):
    run.samples = [replace(s, duration=s.duration + 0.3 * (not i % 20)) for i, s in enumerate(run.samples)]
    assert verdict_of(run).verdict == "error"


def test_nothing_at_all_is_a_failed_measurement(run):
    run.samples, run.spans = [], {}
    found = verdict_of(run)
    assert (found.verdict, found.causes, found.traces.slowest) == ("error", (), ())
    assert {result.outcome for result in found.objectives} == {"inconclusive"}


def test_a_closed_model_is_judged_by_users(run):
    load = LoadFacts(model="closed", begin=BEGIN + 5, seconds=30.0, users=((BEGIN, 75), (BEGIN + 36, 75)))
    found = verdict_of(run, load=load)
    assert found.verdict == "pass"
    low, high = found.objectives[2].interval
    assert low > 100
    assert low <= 150 <= high


def test_a_doubt_takes_a_pass_away_and_leaves_a_failure(run):
    load = replace(run.facts().load, doubts=("a threshold looked at nothing",))
    found = verdict_of(run, load=load)
    assert (found.verdict, found.load.problems) == ("error", ("a threshold looked at nothing",))
    run.spoil(0.3, "/api/products", delayed)
    found = verdict_of(run, load=load)
    assert (found.verdict, found.load.problems) == ("fail", ())


def test_an_objective_that_no_request_counts_for_is_a_failed_measurement(run):
    narrow = replace(run.gate.objectives[0], name="refunds", endpoint="POST /api/payments/{id}/refund")
    run.gate = replace(run.gate, objectives=(*run.gate.objectives, narrow))
    found = verdict_of(run)
    assert found.verdict == "error"
    (said,) = found.load.problems
    assert said.startswith("refunds: the load sent no request to POST /api/payments/{id}/refund; it sent to GET /api/")
