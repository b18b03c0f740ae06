"""The anytime-valid early stop: its closed form, its guarantee, and what its two guards are for."""

import math
from random import Random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo.early_stop import ALPHA, FEWEST_BAD_BLOCKS, early_stop, log_evidence
from slo.statistics import Block

EACH = 750


def blocks(*bad: int) -> list[Block]:
    return [Block(EACH, each) for each in bad]


def integrated(total: float, bad: float, gross: float) -> float:
    """M by the midpoint rule over q = sin(u)**2, which takes the ends of Beta(1/2, 1/2) away: dw = du, not normalised."""
    low, count = math.asin(math.sqrt(gross)), 20_000
    width = (math.pi / 2 - low) / count
    points = (math.sin(low + (index + 0.5) * width) ** 2 for index in range(count))
    ratios = (math.exp(bad * math.log(q / gross) + (total - bad) * math.log((1 - q) / (1 - gross))) for q in points)
    return math.fsum(ratios) / count


@pytest.mark.parametrize(("total", "bad"), [(10, 0), (10, 1), (150, 30), (150.4, 7.2), (900, 60), (30, 30)])
def test_the_evidence_is_the_integral_over_all_gross_shares(total, bad):
    assert log_evidence(total, bad, 0.03) == pytest.approx(math.log(integrated(total, bad, 0.03)), abs=1e-6)


@given(st.integers(1, 2000), st.floats(0, 1), st.floats(0.003, 0.9))
def test_a_share_that_is_not_above_the_gross_one_is_no_evidence(total, part, gross):
    assert log_evidence(total, min(part, gross) * total, gross) <= 0


def test_one_look_has_an_expectation_of_exactly_one_at_the_gross_share():
    total, gross = 40, 0.03
    terms = (
        math.comb(total, bad) * gross**bad * (1 - gross) ** (total - bad) * math.exp(log_evidence(total, bad, gross))
        for bad in range(total + 1)
    )
    assert math.fsum(terms) == pytest.approx(1, rel=1e-9)


def test_looking_a_hundred_times_at_the_gross_share_stops_no_more_than_one_run_in_a_hundred():
    # Undivided, without the guard of three blocks and with independent requests: what Ville's inequality is about.
    dice, runs, stopped = Random(5), 400, 0  # noqa: S311 - the same runs every time
    for _ in range(runs):
        bad = 0
        for look in range(1, 101):
            bad += sum(dice.random() < 0.03 for _ in range(20))
            if log_evidence(20 * look, bad, 0.03) >= -math.log(ALPHA):
                stopped += 1
                break
    assert stopped / runs <= ALPHA


@pytest.mark.parametrize("bad", [750, 150])
def test_an_outage_stops_after_three_blocks(bad):
    assert [early_stop(blocks(*[bad] * count), 0.01).stop for count in (1, 2, 3)] == [False, False, True]


def test_five_percent_bad_stop_after_fifty_seconds():
    found = [early_stop(blocks(*[38] * count), 0.01).stop for count in range(1, 15)]
    assert found.index(True) + 1 == pytest.approx(10, abs=2)


def test_one_pause_of_two_seconds_never_stops_a_run_however_strong_its_evidence():
    found = early_stop(blocks(300, 7, 6), 0.01)
    assert found.evidence > -math.log(ALPHA)
    assert (found.bad_blocks, found.stop) == (1, False)
    assert found.bad_blocks < FEWEST_BAD_BLOCKS


def test_three_percent_of_a_budget_of_one_are_not_yet_gross():
    assert not early_stop(blocks(*[22] * 100), 0.01).stop


def test_a_budget_of_a_third_has_no_gross_failure():
    found = early_stop(blocks(750, 750, 750, 750), 0.34)
    assert (found.stop, found.evidence) == (False, -math.inf)


@pytest.mark.parametrize("budget", [0, 1, -0.1])
def test_a_budget_that_is_no_share_is_refused(budget):
    with pytest.raises(ValueError, match="between 0 and 1"):
        early_stop(blocks(1), budget)


@given(st.lists(st.tuples(st.integers(0, 5000), st.floats(0, 1)), max_size=130), st.floats(1e-6, 0.999))
def test_any_blocks_and_any_budget_are_answered(drawn, budget):
    found = early_stop([Block(total, round(total * part)) for total, part in drawn], budget)
    assert not math.isnan(found.evidence)
