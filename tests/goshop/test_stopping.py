"""A load that fails grossly is ended; one that pauses, or is only bad, is not."""

from dataclasses import replace
from typing import Any

import pytest
from msgspec import structs

from goshop.measurement import load_facts
from goshop.stopping import GrossFailure, ended_blocks
from loadtests import SMOKE, Drop, LoadRun, Profile, Sample, Scripted
from loadtests.profiles import Scenario
from slo.gate import evaluate
from slo.openslo.loading import load_gate
from slo.statistics import Block
from tests.slo.synthetic import BEGIN, CHECKOUT, MadeSample, make_run

GATE = load_gate(CHECKOUT)
RATE = 50


class Clock:
    """Unix s, as a test sets them."""

    now = BEGIN

    def __call__(self) -> float:
        return self.now


def requests(seconds, slow=lambda _: False):
    """Return the requests of so many seconds; `slow(t)` says which of them are."""
    times = [index / RATE for index in range(seconds * RATE)]
    return [
        MadeSample(f"{index:032x}", start=BEGIN + t, duration=1.0 if slow(t) else 0.02) for index, t in enumerate(times)
    ]


def watched(samples, seconds, gate=GATE):
    """Look four times a second at what has ended by then; return when the load was ended, and by what."""
    clock = Clock()
    gross = GrossFailure(gate, clock)
    for quarter in range(4 * seconds):
        clock.now = BEGIN + quarter / 4
        if gross([sample for sample in samples if sample.start + sample.duration <= clock.now]):
            return clock.now - BEGIN, gross
    return None, gross


def test_a_load_whose_every_request_is_bad_is_ended_after_three_blocks():
    at, gross = watched(requests(30, lambda _: True), 30)
    assert at == pytest.approx(16.5, abs=0.3)
    assert list(gross.reasons) == ["p99-latency"]
    assert gross.reasons["p99-latency"] == (
        "stopped early: 750 of the 750 requests of the first 15 s are bad, beyond doubt more than 3.00%, three times the budget"
    )
    assert gross.seconds(BEGIN, 30.0) == pytest.approx(at)


@pytest.mark.parametrize(
    "slow",
    [
        lambda _: False,
        # One pause of two seconds: all requests of it.
        lambda t: 10 <= t < 12,
        # Twice the budget: it fails, and takes its time to be told from noise.
        lambda t: int(t * RATE) % 50 == 0,
    ],
    ids=["good", "pause", "bad"],
)
def test_what_is_not_gross_runs_to_its_end(slow):
    at, gross = watched(requests(60, slow), 60)
    assert (at, gross.reasons) == (None, {})
    assert gross.seconds(BEGIN, 60.0) == 60.0


def test_warm_up_is_not_looked_at():
    warm = [replace(sample, warmup=True) for sample in requests(30, lambda _: True)]
    assert watched(warm, 30)[0] is None


def test_an_objective_for_one_route_counts_that_route_alone():
    (latency,) = [objective for objective in GATE.objectives if objective.indicator == "latency"]
    samples = [*requests(10, lambda _: True), *(replace(s, endpoint="/api/orders") for s in requests(10))]
    narrow = replace(latency, endpoint="GET /api/orders")
    assert ended_blocks(narrow, samples, BEGIN, 2) == (Block(250, 0), Block(250, 0))
    assert ended_blocks(latency, samples, BEGIN, 1) == (Block(500, 250),)


def loaded(**changes: Any):
    samples = tuple(
        Sample(f"{i:032x}", "smoke", "GET /x", "GET", 200, 0, 1.0, BEGIN + i / 150, expected=True, warmup=False)
        for i in range(2000)
    )
    return LoadRun(profile=SMOKE, url="http://x", samples=samples, started=BEGIN, ended=BEGIN + 20, **changes)


def test_an_ended_load_is_judged_for_as_long_as_it_lasted_and_is_not_short_of_its_plan():
    _, gross = watched(requests(30, lambda _: True), 30)
    facts = load_facts(loaded(stopped=True, drops=(Drop(BEGIN + 1, "smoke", 7),)), SMOKE, gross)
    assert (facts.seconds, facts.planned, facts.drops) == (gross.seconds(BEGIN, 30.0), None, ((BEGIN + 1, 7.0),))
    assert facts.stopped == gross.reasons


def scenario(name, *, warmup):
    return Scenario(name=name, start=0.0, seconds=30.0, users=9, iterations=4500.0, grace=30.0, warmup=warmup)


def test_what_the_warm_up_did_not_send_is_not_judged_though_it_runs_beside():
    own = Scripted((scenario("warm", warmup=True), scenario("real", warmup=False)))
    profile = Profile(name="own", load=own, seconds=30.0)
    drops = tuple(Drop(BEGIN + at, name, 3) for at, name in [(1, "warm"), (2, "real"), (-1, "real")])
    facts = load_facts(structs.replace(loaded(drops=drops, iterations=1000), profile=profile), profile)
    # 2,000 requests of 1,000 iterations.
    assert facts.drops == ((BEGIN + 2, 6.0),)


def test_a_load_that_ran_to_its_end_is_judged_as_planned_whatever_was_found_in_the_end():
    _, gross = watched(requests(30, lambda _: True), 30)
    facts = load_facts(loaded(), SMOKE, gross)
    assert (facts.seconds, facts.planned, facts.stopped) == (30.0, 4500.0, {})


def test_what_ended_a_load_is_missed_with_its_reason():
    run = make_run(GATE)
    short = replace(run.facts().load, seconds=17.0, planned=None, stopped={"error-rate": "stopped early: everything"})
    verdict = evaluate(run.facts(load=short)).verdict
    assert (verdict.verdict, verdict.load.stopped_after) == ("fail", 17.0)
    (missed,) = [result for result in verdict.objectives if result.outcome == "missed"]
    assert (missed.name, missed.reason) == ("error-rate", "stopped early: everything")
