"""The floor of the design effect that former runs teach."""

from random import Random

import pytest

from slo.history import design_effect_floor
from slo.statistics import Block, decide_share, share_interval


def made_runs(count: int, bad_of_block) -> list[list[Block]]:
    return [[Block(750, bad_of_block()) for _ in range(6)] for _ in range(count)]


def stalls(seed: int = 1):
    """33 bad requests in a stall, one block in four has one."""
    dice = Random(seed)  # noqa: S311 - the same runs every time
    return lambda: 33 * (dice.random() < 0.25)


def independent(seed: int = 4):
    dice = Random(seed)  # noqa: S311 - the same runs every time
    return lambda: sum(dice.random() < 0.01 for _ in range(750))


def test_independent_requests_teach_a_floor_of_about_one():
    assert design_effect_floor(made_runs(40, independent())) == pytest.approx(1, abs=0.5)


def test_stalls_teach_a_floor_of_about_their_size():
    assert design_effect_floor(made_runs(40, stalls())) == pytest.approx(33 * 0.75, rel=0.4)


def test_with_the_floor_a_run_that_happened_to_have_no_stall_no_longer_passes():
    lucky = [Block(750, 0)] * 6
    floor = design_effect_floor(made_runs(20, stalls()))
    assert decide_share(share_interval(lucky), 0.01) == "met"
    assert decide_share(share_interval(lucky, floor), 0.01) == "inconclusive"


def test_what_is_rarer_than_a_run_is_long_shows_between_runs():
    # Within each run all blocks are alike: only the runs differ.
    runs = [[Block(750, bad)] * 6 for bad in (0, 0, 30, 0, 0, 0, 30, 0)]
    assert design_effect_floor(runs) > 50


def test_what_shows_within_runs_counts_too():
    runs = [[Block(750, 60), *[Block(750, 0)] * 5]] * 8
    assert design_effect_floor(runs) > 30


@pytest.mark.parametrize("runs", [[], [[Block(750, 30)] * 6] * 4, [[Block(0, 0)] * 6] * 20, [[Block(750, 0)] * 6] * 20])
def test_too_few_runs_or_runs_without_a_bad_request_know_nothing(runs):
    assert design_effect_floor(runs) == 1
