"""Baseline against candidate: bounds, power and refusals on made-up runs."""

import math
from random import Random
from statistics import fmean

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo.pairs import (
    STRICT,
    WITH_MARGIN,
    Pair,
    Run,
    TooFewPairsError,
    bound,
    compare,
    detectable,
    pooled_percentile,
    power,
    slow_log_ratios,
)


def made_run(dice: Random, factor: float = 1.0, *, noise: float = 0.04, slow: float = 0.0, count: int = 4500) -> Run:
    """Exponential latencies around 10 ms, a factor of the run's own, and a share of requests that take 0.5 s longer."""
    scale = 0.01 * factor * math.exp(dice.gauss(0, noise))
    return Run.of(0.005 + dice.expovariate(1 / scale) + 0.5 * (dice.random() < slow) for _ in range(count))


def made_pairs(count: int, factor: float = 1.0, *, slow: float = 0.0, seed: int = 1) -> list[Pair]:
    dice = Random(seed)  # noqa: S311 - the same runs every time
    return [Pair(made_run(dice), made_run(dice, factor, slow=slow)) for _ in range(count)]


def test_the_same_release_is_no_regression():
    found = compare(made_pairs(10))
    assert found.regression == "no"
    assert found.latency is not None
    assert found.latency.low < 1 < found.latency.high


def test_a_candidate_that_is_a_third_slower_is_a_regression_and_the_reason_says_by_how_much():
    found = compare(made_pairs(10, 1.33))
    assert found.regression == "yes"
    assert found.latency is not None
    assert found.latency.ratio == pytest.approx(1.3, abs=0.06)
    assert found.reason.startswith(f"P99: {found.latency.ratio - 1:+.1%}, between")


def test_a_new_slow_path_of_one_request_in_three_hundred_is_found_above_the_p99_5():
    found = compare(made_pairs(10, slow=1 / 300))
    assert found.regression == "yes"
    assert found.slow is not None
    assert found.slow.regression == "yes"


def crowded_run(dice: Random, *, noise: float = 0.06, slow: float = 0.0, extra: float = 0.5) -> Run:
    """The shop's mix: one request in fifty is a login, 36 ms and nearly always the same; the P99.5 is among them."""
    factor = math.exp(dice.gauss(0, noise))
    logins = (0.036 * math.exp(0.12 * dice.gauss(0, 1)) for _ in range(75))
    others = (0.004 * math.exp(0.5 * dice.gauss(0, 1)) for _ in range(3675))
    return Run.of(factor * latency + extra * (dice.random() < slow) for latency in (*logins, *others))


@pytest.mark.parametrize(("design", "extra"), [(STRICT, 0.5), (STRICT, 0.1), (WITH_MARGIN, 0.5), (WITH_MARGIN, 0.1)])
def test_a_rare_slow_path_is_found_where_ordinary_requests_crowd_at_the_p99_5(design, extra):
    dice = Random(5)  # noqa: S311 - the same runs every time
    pairs = [Pair(crowded_run(dice), crowded_run(dice, slow=1 / 300, extra=extra)) for _ in range(design.pairs)]
    found = compare(pairs, design)
    assert found.slow is not None
    assert found.slow.regression == "yes"
    assert found.slow_above == pytest.approx(1.25 * pooled_percentile([pair.baseline for pair in pairs], 99.5))


def test_at_the_p99_5_itself_the_noise_of_the_runs_hides_most_slow_paths():
    dice = Random(6)  # noqa: S311 - the same runs every time
    found = []
    for _ in range(20):
        pairs = [Pair(crowded_run(dice), crowded_run(dice, slow=1 / 300)) for _ in range(WITH_MARGIN.pairs)]
        above = pooled_percentile([pair.baseline for pair in pairs], 99.5)
        found.append(bound(slow_log_ratios(pairs, above), 0.01, 0.0, 0.5).regression == "yes")
    assert sum(found) <= 10


def test_a_few_more_slow_requests_are_tolerated_and_one_in_three_hundred_is_not():
    rare = Run.of([0.01] * 2994 + [0.1] * 6)
    found = compare([Pair(rare, rare)] * 10).slow
    assert found is not None
    # 2 in 1,000 are slow, with the half: 2.5 more in 1,000 are tolerated.
    assert found.tolerated == pytest.approx(0.0025 / (6.5 / 3001))
    assert found.regression == "no"


def test_a_baseline_without_any_slow_request_is_compared_all_the_same():
    even, slow = Run.of([0.01] * 3000), Run.of([0.01] * 2990 + [0.5] * 10)
    assert compare([Pair(even, even)] * 10).regression == "no"
    assert compare([Pair(even, slow)] * 10).regression == "yes"


def test_a_faster_candidate_is_no_regression():
    assert compare(made_pairs(10, 0.8)).regression == "no"


def test_pairs_too_noisy_for_either_answer_say_what_they_would_find():
    dice = Random(4)  # noqa: S311 - the same runs every time
    found = compare([Pair(made_run(dice, noise=0.4), made_run(dice, noise=0.4)) for _ in range(10)])
    assert found.regression == "inconclusive"
    assert "so many pairs find an increase of" in found.reason


@pytest.mark.parametrize(("count", "design"), [(9, STRICT), (5, WITH_MARGIN), (1, STRICT), (0, WITH_MARGIN)])
def test_too_few_pairs_are_refused(count, design):
    with pytest.raises(TooFewPairsError, match=f"{count} pairs are too few .* at least {design.pairs}"):
        compare(made_pairs(count), design)


def test_six_pairs_do_with_a_margin():
    assert compare(made_pairs(6), WITH_MARGIN).regression in {"no", "inconclusive"}
    assert compare(made_pairs(6, 1.5), WITH_MARGIN).regression == "yes"


def test_a_run_without_a_p99_5_is_refused():
    with pytest.raises(TooFewPairsError, match=r"199 requests has no P99\.5"):
        Run.of([0.01] * 199)


def test_percentiles_on_requests_without_an_answer_are_not_compared():
    lost = Run.of([0.01] * 1900 + [math.inf] * 100)
    found = compare([Pair(lost, lost)] * 10)
    assert (found.latency, found.slow, found.regression) == (None, None, "inconclusive")
    assert "without an answer" in found.reason


def test_lost_answers_of_the_candidate_alone_count_as_slow_requests():
    dice = Random(9)  # noqa: S311 - the same runs every time
    pairs = [Pair(made_run(dice), Run((*made_run(dice).ranked[:-250], *[math.inf] * 250))) for _ in range(10)]
    found = compare(pairs)
    assert found.latency is None
    assert found.regression == "yes"


def test_the_pooled_percentile_is_that_of_all_requests_together():
    dice = Random(2)  # noqa: S311 - the same runs every time
    runs = [made_run(dice, count=size) for size in (200, 999, 2000)]
    everything = Run.of(latency for run in runs for latency in run.ranked)
    assert pooled_percentile(runs, 99.5) == everything.percentile(99.5)
    assert pooled_percentile(runs, 50) == everything.percentile(50)


def test_runs_of_different_lengths_have_the_same_share_of_slow_requests():
    short, long = Run.of([0.01] * 990 + [1.0] * 10), Run.of([0.01] * 9900 + [1.0] * 100)
    assert slow_log_ratios([Pair(short, long)], 0.5) == [pytest.approx(math.log(100.5 / 10001 / (10.5 / 1001)))]


def test_the_bound_is_student_s():
    # Mean 0.1, standard deviation 0.1 over 10: the 1 % bound is 0.1 - 2.8214 * 0.1 / sqrt(10).
    values = [0.1 + 0.1 * sign * math.sqrt(0.9) for sign in [1, -1] * 5]
    found = bound(values, 0.01, 0.0, 0.1)
    assert math.log(found.low) == pytest.approx(0.1 - 2.82144 * 0.1 / math.sqrt(10), abs=1e-5)
    assert math.log(found.high) == pytest.approx(0.1 + 1.83311 * 0.1 / math.sqrt(10), abs=1e-5)
    assert found.noise == pytest.approx(0.1)


def test_log_ratios_without_any_noise_are_decided_by_their_value():
    assert bound([0.01] * 10, 0.01, 0.0, 0.1).regression == "yes"
    assert bound([0.0] * 10, 0.01, 0.0, 0.1).regression == "no"
    assert power(0.1, 0.0, 10) == 1


# Power at alpha 5 % and 1 % as simulated with run-to-run noises of 6 and 12 %. The noise of a log ratio holds that of two
# runs and the sampling error of two P99: 9.6 and 18 % explain all of these figures.
@pytest.mark.parametrize(
    ("noise", "pairs", "increase", "at_five", "at_one"),
    [
        (0.096, 6, 0.1, 0.66, 0.29),
        (0.096, 6, 0.2, 0.99, 0.83),
        (0.096, 10, 0.1, 0.88, 0.62),
        (0.096, 10, 0.2, 1.0, 1.0),
        (0.18, 10, 0.1, 0.47, 0.19),
        (0.18, 10, 0.2, 0.91, 0.68),
    ],
)
def test_the_power_is_that_of_the_simulations(noise, pairs, increase, at_five, at_one):
    assert power(increase, noise, pairs, alpha=0.05) == pytest.approx(at_five, abs=0.05)
    assert power(increase, noise, pairs, alpha=0.01) == pytest.approx(at_one, abs=0.05)


@given(st.floats(0.005, 0.5), st.integers(6, 40), st.sampled_from([STRICT, WITH_MARGIN]))
def test_the_smallest_regression_that_is_found_has_the_power_that_was_asked_for(noise, pairs, design):
    smallest = detectable(noise, pairs, design.alpha, design.margin)
    assert smallest > design.margin
    assert power(smallest, noise, pairs, design.alpha, design.margin) == pytest.approx(0.8, abs=1e-6)


def test_without_a_regression_about_one_comparison_in_a_hundred_sees_one():
    dice = Random(11)  # noqa: S311 - the same comparisons every time
    found = fmean(bound([dice.gauss(0, 0.1) for _ in range(10)], 0.01, 0, 0.1).regression == "yes" for _ in range(4000))
    assert found == pytest.approx(0.01, abs=0.005)


def test_with_a_margin_of_five_percent_an_unchanged_release_is_accused_in_less_than_one_percent():
    # A run-to-run noise of 6 %: that of the log ratio is sqrt(2) times as large.
    assert power(0.0, 0.06 * math.sqrt(2), WITH_MARGIN.pairs, WITH_MARGIN.alpha, WITH_MARGIN.margin) < 0.01
