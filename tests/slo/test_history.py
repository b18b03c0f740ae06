"""The floor of the design effect that former runs teach."""

from random import Random

import pytest

from slo.history import design_effect_floor
from slo.statistics import Block, decide_share, share_interval

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
    runs = [[Block(750, bad)] * 6 for bad in (0, 0, 30, 0, 0, 0, 30, 0)]
    assert design_effect_floor(runs, REQUESTS) > 50


def test_what_shows_within_runs_counts_too():
    runs = [[Block(750, 60), *[Block(750, 0)] * 5]] * 8
    assert design_effect_floor(runs, REQUESTS) > 30


@pytest.mark.parametrize("runs", [[], [[Block(750, 30)] * 6] * 4, [[Block(0, 0)] * 6] * 20, [[Block(750, 0)] * 6] * 20])
def test_too_few_runs_or_runs_without_a_bad_request_know_nothing(runs):
    assert design_effect_floor(runs, REQUESTS) == 1
