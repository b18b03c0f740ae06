"""The vectors of the rule, closed forms of the beta distribution, and properties that must hold for any blocks."""

import math
from fractions import Fraction
from time import perf_counter

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from slo.beta import beta_cdf, beta_quantile
from slo.statistics import (
    Block,
    block_count,
    closed_rate,
    correction,
    cut_blocks,
    decide_rate,
    decide_share,
    fewest_samples,
    share_interval,
    student_quantile,
)

# Bad per block, requests per block, design effect, effective sample size, lower end, upper end: simulated elsewhere.
VECTORS = [
    ([0] * 6, [105] * 6, 1, 366.2468, 0, 0.010022),
    ([0] * 6, [106] * 6, 1, 369.7349, 0, 0.009927),
    ([0] * 6, [750] * 6, 1, 2616.0487, 0, 0.001409),
    ([1, 0, 0, 0, 0, 0], [750] * 6, 1.000222, 2615.4674, 0.000001, 0.001843),
    ([1, 4, 0, 3, 1, 0], [750] * 6, 1.803607, 1450.4537, 0.000398, 0.005930),
    ([7, 8, 6, 9, 7, 8], [750] * 6, 1, 2616.0487, 0.006552, 0.014601),
    ([30, 0, 0, 0, 1, 0], [750] * 6, 28.876345, 90.5949, 0.000025, 0.052863),
    ([12, 24, 9, 15, 30, 11], [700, 800, 760, 740, 755, 745], 3.901106, 670.5916, 0.012629, 0.036719),
    ([2, 11, 4, 12, 3, 6, 13, 10], [1125] * 8, 2.525313, 2448.4951, 0.003924, 0.010890),
    ([20, 61, 33, 58, 25, 49, 60, 52], [3375] * 8, 6.093566, 3044.1369, 0.009505, 0.017987),
    (
        [90, 140, 101, 155, 88, 132, 149, 120],
        [3100, 3400, 3350, 3420, 3290, 3500, 3375, 3565],
        4.817913,
        3850.1416,
        0.030443,
        0.042497,
    ),
    ([750] * 6, [750] * 6, 1, 2616.0487, 0.998591, 1),
]


def blocks_of(bad, total):
    return tuple(map(Block, total, bad))


@pytest.mark.parametrize("vector", VECTORS)
def test_the_interval_is_that_of_the_vectors(vector):
    bad, total, effect, effective, low, high = vector
    found = share_interval(blocks_of(bad, total))
    assert found.design_effect == pytest.approx(effect, abs=6e-7)
    assert found.effective == pytest.approx(effective, abs=6e-5)
    assert (found.low, found.high) == pytest.approx((low, high), abs=6e-7)


def test_the_correction_for_few_blocks_is_that_of_student():
    assert student_quantile(5) == pytest.approx(2.5705818356, rel=1e-10)
    assert student_quantile(7) == pytest.approx(2.3646242516, rel=1e-10)
    assert correction(6) == pytest.approx(1.7202, abs=5e-5)
    assert correction(8) == pytest.approx(1.4556, abs=5e-5)


def test_a_budget_of_one_percent_needs_632_samples_in_six_blocks_and_535_in_eight():
    assert fewest_samples(0.01, 6) == 632
    assert fewest_samples(0.01, 8) == 535


@pytest.mark.parametrize(("total", "outcome"), [(105, "inconclusive"), (106, "met")])
def test_a_run_without_a_bad_request_meets_the_budget_only_with_enough_samples(total, outcome):
    assert decide_share(share_interval(blocks_of([0] * 6, [total] * 6)), 0.01) == outcome


def test_a_share_is_missed_only_when_the_whole_interval_is_above_the_budget():
    interval = share_interval(blocks_of([20, 61, 33, 58, 25, 49, 60, 52], [3375] * 8))
    assert decide_share(interval, 0.0095) == "missed"
    assert decide_share(interval, 0.01) == "inconclusive"
    assert decide_share(interval, 0.018) == "met"


def test_a_known_floor_of_the_design_effect_widens_the_interval():
    blocks = blocks_of([7, 8, 6, 9, 7, 8], [750] * 6)
    assert share_interval(blocks, floor=4).high > share_interval(blocks).high


def test_no_requests_give_no_interval():
    with pytest.raises(ValueError, match="at least one request"):
        share_interval([Block(0, 0)] * 6)


@pytest.mark.parametrize(
    ("seconds", "count"), [(5, 6), (29.99, 6), (30, 6), (39.9, 7), (40, 8), (269, 8), (270, 9), (300, 10), (3600, 16)]
)
def test_there_are_six_to_eight_blocks_of_five_seconds_and_more_only_when_they_last_thirty(seconds, count):
    assert block_count(seconds) == count


@given(st.lists(st.tuples(st.floats(-5, 40), st.booleans())))
def test_every_request_belongs_to_exactly_one_block(requests):
    blocks = cut_blocks(requests, 0.0, 30.0)
    assert sum(block.total for block in blocks) == len(requests)
    assert sum(block.bad for block in blocks) == sum(bad for _, bad in requests)


def test_a_request_belongs_to_the_block_of_its_start():
    blocks = cut_blocks([(100.0, True), (104.999, False), (105.0, True)], 100.0, 30.0)
    assert blocks[:2] == (Block(2, 1), Block(1, 1))


counts = st.lists(st.tuples(st.integers(1, 4000), st.floats(0, 1)), min_size=6, max_size=8)


@given(counts)
def test_an_interval_holds_its_share_and_lies_within_zero_and_one(drawn):
    found = share_interval([Block(total, round(total * part)) for total, part in drawn])
    assert 0 <= found.low <= found.share <= found.high <= 1
    assert found.effective <= found.total


@given(counts)
def test_an_interval_does_not_depend_on_the_order_of_the_blocks(drawn):
    blocks = [Block(total, round(total * part)) for total, part in drawn]
    here, there = share_interval(blocks), share_interval(blocks[::-1])
    assert (here.low, here.high) == pytest.approx((there.low, there.high), rel=1e-9)


@given(counts)
def test_good_and_bad_are_mirror_images(drawn):
    bad = share_interval([Block(total, round(total * part)) for total, part in drawn])
    good = share_interval([Block(total, total - round(total * part)) for total, part in drawn])
    assert (bad.low, bad.high) == pytest.approx((1 - good.high, 1 - good.low), abs=1e-9)


def binomial_tail(a: int, b: int, x: Fraction) -> Fraction:
    """I_x(a, b) for whole a and b is P(Binomial(a + b - 1, x) >= a): exact."""
    n = a + b - 1
    return sum((math.comb(n, k) * x**k * (1 - x) ** (n - k) for k in range(a, n + 1)), Fraction(0))


@given(st.integers(1, 60), st.integers(1, 60), st.integers(1, 999))
def test_the_cumulative_distribution_equals_an_exact_binomial_tail(a, b, thousandths):
    x = Fraction(thousandths, 1000)
    assert beta_cdf(float(x), a, b) == pytest.approx(float(binomial_tail(a, b, x)), rel=1e-10, abs=1e-14)


@given(st.sampled_from([0.025, 0.975, 0.5, 0.05]), st.floats(0.01, 1e6))
def test_quantiles_have_the_closed_forms_of_beta_one_b_and_beta_a_one(p, size):
    assert beta_quantile(p, 1, size) == pytest.approx(-math.expm1(math.log1p(-p) / size), rel=1e-9)
    assert beta_quantile(p, size, 1) == pytest.approx(math.exp(math.log(p) / size), rel=1e-9, abs=1e-300)


@given(st.sampled_from([0.025, 0.975]), st.floats(0.01, 1e5), st.floats(0.5, 1e5))
def test_a_quantile_is_where_the_distribution_reaches_its_probability(p, a, b):
    x = beta_quantile(p, a, b)
    assume(1e-300 < x < 1 - 1e-12)
    below, above = beta_cdf(x * (1 - 1e-9), a, b), beta_cdf(min(1.0, x * (1 + 1e-9)), a, b)
    assert below - 1e-9 <= p <= above + 1e-9


def test_a_quantile_takes_less_than_a_few_milliseconds():
    begin = perf_counter()
    for bad in range(1, 101):
        beta_quantile(0.025, bad / 3, 30_000 - bad)
    assert (perf_counter() - begin) / 100 < 0.005


def test_the_closed_model_knows_its_rate_where_block_means_scatter():
    # 192/s at 100 users on average; users ramp from 20 to 180, completions follow them but for a little noise.
    users = [20, 60, 100, 140, 180, 140, 100, 60]
    seconds = [each * 22.5 for each in users]
    noise = [1.01, 0.995, 1.0, 1.004, 0.997, 1.002, 0.999, 1.0]
    done = [round(1.92 * each * wobble) for each, wobble in zip(seconds, noise, strict=True)]
    found = closed_rate(done, seconds, 180.0)
    assert found.low < 192 < found.high
    assert found.high - found.low < 3


def test_the_closed_model_needs_users():
    with pytest.raises(ValueError, match="active users"):
        closed_rate([0] * 6, [0.0] * 6, 30.0)


@pytest.mark.parametrize(("rate", "outcome"), [(120, "met"), (100, "inconclusive"), (60, "missed")])
def test_a_rate_is_met_only_when_its_whole_interval_exceeds_the_target(rate, outcome):
    done = [rate * 5 + wobble for wobble in (-6, 5, -3, 4, -2, 2)]
    assert decide_rate(closed_rate(done, [50.0] * 6, 30.0), 100) == outcome
