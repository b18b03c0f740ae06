"""Throughput under an open model: first whether it was offered, then the share that was not completed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo.statistics import Block
from slo.throughput import completion_budget, is_offered, with_dropped


@pytest.mark.parametrize(("offered", "expected"), [(990, True), (989, False), (2000, True)])
def test_ninety_nine_percent_of_the_plan_are_enough(offered, expected):
    assert is_offered(offered, 1000) is expected


def test_a_third_may_be_missing_where_half_as_much_again_is_offered():
    assert completion_budget(100, 150) == pytest.approx(1 / 3)


def test_whoever_offers_no_more_than_the_target_has_no_budget():
    assert completion_budget(150, 150) == completion_budget(200, 150) == 0


@given(st.integers(0, 1000), st.integers(1, 16))
def test_dropped_requests_are_spread_evenly_and_none_is_lost(dropped, count):
    spread = with_dropped(tuple([Block(100, 1)] * count), dropped)
    assert sum(block.total for block in spread) == 100 * count + dropped
    assert sum(block.bad for block in spread) == count + dropped
    assert max(block.bad for block in spread) - min(block.bad for block in spread) <= 1
