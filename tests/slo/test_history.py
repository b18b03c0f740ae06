"""The floor of the design effect that former runs teach, and which runs teach it."""

from dataclasses import replace
from random import Random

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slo.gate import evaluate
from slo.gates import Objective
from slo.history import MOST_RUNS, FormerRun, Past, counted, design_effect_floor, former_run, past_of
from slo.judge import judge
from slo.load import LoadFacts
from slo.openslo.loading import load_gate
from slo.statistics import Block, decide_share, share_interval
from tests.slo.synthetic import BEGIN, CHECKOUT, MadeSample

EACH = 750
REQUESTS = 6 * EACH


def made_runs(count: int, bad_of_block, each: int = EACH) -> list[list[Block]]:
    return [[Block(each, bad_of_block()) for _ in range(6)] for _ in range(count)]


def stalls(seed: int = 1, size: int = 33):
    """33 bad requests in a stall, one block in four has one."""
    dice = Random(seed)  # noqa: S311 - the same runs every time
    return lambda: size * (dice.random() < 0.25)


def independent(seed: int = 4):
    dice = Random(seed)  # noqa: S311 - the same runs every time
    return lambda: sum(dice.random() < 0.01 for _ in range(750))


def test_independent_requests_teach_a_floor_of_about_one():
    assert design_effect_floor(made_runs(40, independent()), REQUESTS) == pytest.approx(1, abs=0.5)


def test_stalls_teach_a_floor_of_about_their_size():
    assert design_effect_floor(made_runs(40, stalls()), REQUESTS) == pytest.approx(33 * 0.75, rel=0.4)


def test_with_the_floor_a_run_that_happened_to_have_no_stall_no_longer_passes():
    lucky = [Block(750, 0)] * 6
    floor = design_effect_floor(made_runs(20, stalls()), REQUESTS)
    assert decide_share(share_interval(lucky), 0.01) == "met"
    assert decide_share(share_interval(lucky, floor), 0.01) == "inconclusive"


def test_a_floor_learned_at_one_rate_is_one_at_another():
    # The same stalls of 0.22 s, at 150 and at 15 requests/s.
    fast, slow = made_runs(40, stalls()), made_runs(40, stalls(size=3), each=EACH // 10)
    assert design_effect_floor(slow, REQUESTS // 10) == pytest.approx(3 * 0.75, rel=0.4)
    # Too low by no more than the ratio of the rates, 10: bursts of three requests don't show that all of one is bad.
    assert 33 * 0.75 - 10 < design_effect_floor(slow, REQUESTS) < design_effect_floor(fast, REQUESTS)
    assert design_effect_floor(fast, REQUESTS // 10) == pytest.approx(1 + (33 * 0.75 - 1) / 10, rel=0.4)


def test_runs_of_different_rates_teach_one_floor():
    mixed = [*made_runs(20, stalls(2)), *made_runs(20, stalls(3, size=17), each=EACH // 2)]
    assert design_effect_floor(mixed, REQUESTS) == pytest.approx(33 * 0.75, rel=0.4)


def test_what_is_rarer_than_a_run_is_long_shows_between_runs():
    # Within each run all blocks are alike: only the runs differ.
    runs = [[Block(750, bad)] * 6 for bad in (0, 0, 30, 0, 0, 30, 30, 0)]
    assert design_effect_floor(runs, REQUESTS) > 50


def test_what_shows_within_runs_counts_too():
    runs = [[Block(750, 60), *[Block(750, 0)] * 5]] * 8
    assert design_effect_floor(runs, REQUESTS) > 30


def test_what_happened_in_two_runs_of_thirty_is_an_accident_and_no_habit():
    quiet, stalled = [Block(750, 0)] * 6, [Block(750, 100), *[Block(750, 0)] * 5]
    assert design_effect_floor([*[quiet] * 28, stalled, stalled], REQUESTS) == 1
    assert design_effect_floor([*[quiet] * 27, *[stalled] * 3], REQUESTS) > 10


@pytest.mark.parametrize("runs", [[], [[Block(750, 30)] * 6] * 4, [[Block(0, 0)] * 6] * 20, [[Block(750, 0)] * 6] * 20])
def test_too_few_runs_or_runs_without_a_bad_request_know_nothing(runs):
    assert design_effect_floor(runs, REQUESTS) == 1


ERRORS = Objective("errors", "errors", "<", 0.01, "ratio", 0.01)
GATE = load_gate(CHECKOUT)
LOAD = LoadFacts(model="open", begin=BEGIN, seconds=30.0)


def kept(*bad: int, **changes: object) -> FormerRun:
    """Return a kept run of 30 s at 150/s with so many failures in each block."""
    found = {
        "ended": "2026-11-20T10:00:00Z",
        "release": "1",
        "verdict": "pass",
        "profile": "smoke",
        "target": "",
        "seconds": 30.0,
        "counts": {counted(ERRORS): [[EACH, each] for each in bad]},
    }
    return msgspec.convert(found | changes, FormerRun)


def requests(bad: int = 0) -> list[MadeSample]:
    made = [MadeSample(f"{i:032x}", start=BEGIN + i / 150) for i in range(REQUESTS)]
    return [replace(sample, status=500) if i < bad else sample for i, sample in enumerate(made)]


STALLED = [kept(33, 0, 0, 0, 0, 0)] * 3 + [kept(0, 0, 0, 33, 33, 0)] * 3


def test_a_run_that_would_have_passed_is_asked_for_more_requests_where_former_runs_had_bursts():
    alone = judge(ERRORS, requests(), LOAD)
    found = judge(ERRORS, requests(), LOAD, past_of(STALLED, ERRORS, "smoke", 30.0))
    assert (alone.outcome, alone.former, found.outcome) == ("met", None, "inconclusive")
    assert found.design_effect == found.former.design_effect_floor > 10
    assert found.former.runs == 6
    assert f"{found.former.more_requests} more requests are needed to pass" in found.reason
    # So many more, without a bad one among them, do pass.
    whole = found.total + found.former.more_requests
    blocks = [Block(whole // 6 + 1, 0)] * 6
    assert decide_share(share_interval(blocks, found.design_effect), 0.01) == "met"


def test_a_past_of_many_failures_excuses_none():
    found = judge(ERRORS, requests(2000), LOAD, past_of(STALLED, ERRORS, "smoke", 30.0))
    assert (found.outcome, found.former.more_requests) == ("missed", None)


def test_what_a_result_shows_is_all_that_its_interval_is_made_from():
    found = judge(ERRORS, requests(20), LOAD)
    again = share_interval([Block(*block) for block in found.blocks])
    assert found.bad_share_interval == (again.low, again.high)
    assert found.design_effect == again.design_effect


@pytest.mark.parametrize(
    "changes",
    [{"profile": "ramp"}, {"seconds": 60.0}, {"counts": {counted(replace(ERRORS, endpoint="GET /x")): [[750, 1]] * 6}}],
)
def test_only_runs_of_the_same_load_length_and_objective_are_compared(changes):
    assert past_of([kept(1, 2, 3, 4, 5, 6, **changes)] * 6, ERRORS, "smoke", 30.0) == Past()


def test_a_latency_with_another_limit_is_another_objective():
    fast, slow = (Objective("p99", "latency", "<=", limit, "s", 0.01, 99.0) for limit in (0.3, 0.8))
    assert counted(fast) != counted(slow) == counted(replace(slow, name="other", percentile=95.0, budget=0.05))


def test_the_latest_runs_alone_are_learned_from():
    runs = [kept(30, 0, 0, 0, 0, 0)] * 10 + [kept(0, 0, 0, 0, 0, 0)] * MOST_RUNS
    assert past_of(runs, ERRORS, "smoke", 30.0).floor(REQUESTS) == 1


@pytest.fixture(scope="module")
def judged(undisturbed):
    """The verdict on an undisturbed run."""
    return evaluate(undisturbed.facts()).verdict


def test_a_run_is_kept_with_the_blocks_of_every_share_that_it_judged(judged):
    found = former_run(judged, GATE, "https://shop.example.org")
    assert msgspec.json.decode(msgspec.json.encode(found), type=FormerRun) == found
    assert (found.verdict, found.seconds, found.profile) == ("pass", judged.load.seconds, judged.profile)
    shares = [result for result in judged.objectives if result.bad_share_interval]
    assert len(found.counts) == len(shares) > 0
    assert [sum(block.total for block in blocks) for blocks in found.counts.values()] == [each.total for each in shares]


@pytest.mark.parametrize("word", ["fail", "regression", "error", "frozen"])
def test_a_release_that_was_not_kept_teaches_nothing(word, judged):
    assert former_run(msgspec.structs.replace(judged, verdict=word), GATE, "") is None


def test_a_run_that_was_disturbed_on_purpose_or_ended_early_teaches_nothing(judged):
    load = msgspec.structs.replace(judged.load, stopped_after=20.0)
    for changes in ({"faults": ("payment.charge=error",)}, {"load": load}):
        assert former_run(msgspec.structs.replace(judged, **changes), GATE, "") is None


@pytest.mark.parametrize(
    "changes",
    [
        {"counts": {"failed: all requests": [[1, 2]] * 6}},
        {"counts": {"failed: all requests": [[-1, -1]] * 6}},
        {"counts": {"failed: all requests": [[10**12, 0]] * 6}},
        {"counts": {"failed: all requests": [[750, 1]] * 5}},
        {"counts": {"failed: all requests": [[750, 1]] * 17}},
        {"seconds": 0},
        {"verdict": "fail"},
        {"schema": 2},
    ],
)
def test_a_kept_run_that_cannot_be_is_refused(changes):
    with pytest.raises(msgspec.ValidationError):
        kept(**changes)


counts = st.tuples(st.integers(0, 10**9), st.integers(0, 10**9)).map(lambda pair: [max(pair), min(pair)])
histories = st.lists(st.lists(counts | st.just([750, 0]) | st.just([750, 40]), min_size=6, max_size=16), max_size=40)
REQUESTED = {bad: requests(bad) for bad in (0, 10, 30, 45, 60, 100, 2000)}


@settings(deadline=None)
@given(histories, st.sampled_from(sorted(REQUESTED)))
def test_whatever_a_history_holds_it_only_keeps_a_run_from_passing(histories, bad):
    past = past_of([kept(counts={counted(ERRORS): blocks}) for blocks in histories], ERRORS, "smoke", 30.0)
    alone, found = judge(ERRORS, REQUESTED[bad], LOAD), judge(ERRORS, REQUESTED[bad], LOAD, past)
    assert found.outcome == alone.outcome or (alone.outcome, found.outcome) == ("met", "inconclusive")
    low, high = found.bad_share_interval
    assert low == alone.bad_share_interval[0]
    assert high >= alone.bad_share_interval[1] - 1e-9


def test_no_past_turns_a_failure_into_something_undecided():
    stalled = past_of([kept(700, 0, 0, 0, 0, 0), kept(0, 0, 0, 0, 0, 0)] * 5, ERRORS, "smoke", 30.0)
    evenly = [replace(each, status=500) if i % 50 == 0 else each for i, each in enumerate(requests())]
    assert decide_share(share_interval([Block(EACH, 15)] * 6, stalled.floor(REQUESTS)), 0.01) == "missed"
    assert stalled.floor(REQUESTS) > 100
    assert judge(ERRORS, evenly, LOAD).outcome == judge(ERRORS, evenly, LOAD, stalled).outcome == "missed"
