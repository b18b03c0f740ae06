"""Throughput under an open model: first whether it was offered, then the share that was not completed."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo.statistics import Block
from slo.throughput import completion_budget, is_offered, judge_open, with_dropped


def judged(bad: int = 0, *, dropped: int = 0, planned: float = 4500, target: float = 100, each: int = 750):
    return judge_open([Block(each, bad)] * 6, dropped=dropped, planned=planned, target=target, seconds=30)


def test_what_was_offered_and_completed_meets_the_target():
    found = judged()
    assert (found.outcome, found.offered, found.completed) == ("met", 150, 150)
    assert found.budget == pytest.approx(1 / 3)


def test_more_missing_than_the_target_allows_is_missed():
    assert judged(400).outcome == "missed"


def test_requests_that_were_never_sent_count_as_not_completed():
    found = judged(dropped=3000, planned=7500, target=200)
    assert (found.outcome, found.offered, found.completed) == ("missed", 250, 150)


def test_an_offer_of_less_than_ninety_nine_percent_of_the_plan_is_no_verdict_on_the_shop():
    assert judged(planned=4546).outcome == "not offered"
    assert judged(planned=4545).outcome == "met"


@pytest.mark.parametrize(("offered", "expected"), [(990, True), (989, False), (2000, True)])
def test_ninety_nine_percent_of_the_plan_are_enough(offered, expected):
    assert is_offered(offered, 1000) is expected


def test_whoever_offers_no_more_than_the_target_has_no_budget():
    assert completion_budget(150, 150) == completion_budget(200, 150) == 0
    assert judged(target=150).outcome != "met"


@given(st.integers(0, 1000), st.integers(1, 16))
def test_dropped_requests_are_spread_evenly_and_none_is_lost(dropped, count):
    spread = with_dropped(tuple([Block(100, 1)] * count), dropped)
    assert sum(block.total for block in spread) == 100 * count + dropped
    assert sum(block.bad for block in spread) == count + dropped
    assert max(block.bad for block in spread) - min(block.bad for block in spread) <= 1


def test_nothing_offered_is_refused():
    with pytest.raises(ValueError, match="at least one request"):
        judge_open([Block(0, 0)] * 6, dropped=0, planned=0, target=1, seconds=30)
