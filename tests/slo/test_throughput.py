"""Throughput under an open model: first whether it was offered, then the share that was not completed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo.load import LoadFacts
from slo.statistics import Block
from slo.throughput import completion_budget, is_offered, with_dropped


@pytest.mark.parametrize(("offered", "expected"), [(990, True), (989, False), (2000, True)])
def test_ninety_nine_percent_of_the_plan_are_enough(offered, expected):
    assert is_offered(offered, 1000) is expected


def test_a_third_may_be_missing_where_half_as_much_again_is_offered():
    assert completion_budget(100, 150) == pytest.approx(1 / 3)


def test_whoever_offers_no_more_than_the_target_has_no_budget():
    assert completion_budget(150, 150) == completion_budget(200, 150) == 0


def test_what_was_not_sent_counts_in_the_block_in_which_it_should_have_begun():
    drops = [(100.0, 1.0), (104.9, 2.0), (105.0, 4.0), (129.9, 8.0), (131.0, 16.0)]
    found = with_dropped([Block(100, 1)] * 6, drops, 100.0, 30.0)
    assert [block.bad - 1 for block in found] == [3, 4, 0, 0, 0, 24]
    assert all(block.total - block.bad == 99 for block in found)


@given(st.lists(st.tuples(st.integers(-5, 40), st.integers(0, 9).map(lambda n: n / 4))), st.integers(1, 16))
def test_no_request_that_was_not_sent_is_lost_though_an_iteration_stands_for_a_part_of_one(drops, count):
    found = with_dropped([Block(100, 1)] * count, drops, 0.0, 30.0)
    dropped = LoadFacts(model="open", begin=0.0, seconds=30.0, drops=tuple(drops)).dropped
    assert sum(block.total for block in found) == 100 * count + dropped
    assert sum(block.bad for block in found) == count + dropped
