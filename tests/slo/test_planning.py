"""What a planned run can decide, told before it starts."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo.planning import Asked, needed, plan_sentence, samples_to_meet
from slo.statistics import Block, block_count, decide_share, fewest_samples, share_interval


@pytest.mark.parametrize(
    ("rate", "seconds", "samples"), [(150, 30, 632), (15, 39, 573), (3, 179, 535), (2, 268, 535), (0.1, 4350, 435)]
)
def test_a_rarer_request_needs_a_longer_run(rate, seconds, samples):
    found = needed(Asked("orders", 0.01, rate))
    assert (found.seconds, found.samples) == (seconds, samples)


budgets = st.floats(0.0005, 0.2)
rates = st.floats(0.5, 2000)


@given(budgets, rates, st.floats(1, 5))
def test_a_run_as_long_as_needed_without_a_bad_request_meets_its_objective(budget, rate, floor):
    found = needed(Asked("any", budget, rate), floor)
    count = block_count(found.seconds)
    total = int(rate * found.seconds)
    blocks = [Block(total // count + (index < total % count), 0) for index in range(count)]
    assert total >= found.samples
    assert decide_share(share_interval(blocks, floor), budget) == "met"


@given(budgets, rates)
def test_a_run_of_a_second_less_cannot_meet_it(budget, rate):
    found = needed(Asked("any", budget, rate))
    shorter = found.seconds - 1
    assert shorter < 30 or rate * shorter < fewest_samples(budget, block_count(shorter))


@pytest.mark.parametrize(("budget", "rate"), [(0.01, 0), (0, 10), (1, 10), (0.01, -1)])
def test_a_plan_without_requests_or_without_a_budget_is_refused(budget, rate):
    with pytest.raises(ValueError, match="orders: needs a rate above 0"):
        needed(Asked("orders", budget, rate))


def test_the_smallest_sample_without_a_bad_request_is_the_fewest_samples():
    assert samples_to_meet(0.0, 0.01, 6) == fewest_samples(0.01, 6) == 632


def test_the_nearer_the_share_is_to_the_budget_the_more_samples_it_takes():
    assert [samples_to_meet(share, 0.01, 8) for share in (0, 0.002, 0.005, 0.009)] == [535, 850, 2209, 55436]
    assert samples_to_meet(0.01, 0.01, 8) is None
    # Nearer than any load test can tell.
    assert samples_to_meet(0.01 - 1e-9, 0.01, 8) is None


def test_the_sentence_of_a_sufficient_plan_names_the_hungriest_objective():
    needs = [needed(Asked("p99-latency", 0.01, 150)), needed(Asked("orders", 0.01, 15))]
    assert (
        plan_sentence(needs, 60)
        == f'60 s can decide every objective (the hungriest, "orders", needs {needs[1].seconds} s).'
    )


def test_the_sentence_of_a_plan_that_is_too_short_says_what_it_would_take():
    needs = [needed(Asked("login", 0.01, 3)), needed(Asked("orders", 0.01, 15))]
    login, orders = needs
    assert plan_sentence(needs, 30) == (
        f'30 s cannot pass "login" ({login.seconds} s, {login.samples} requests at 3/s), '
        f'"orders" ({orders.seconds} s, {orders.samples} requests at 15/s): they end inconclusive at best.'
    )
    assert plan_sentence(needs[1:], 30).endswith("it ends inconclusive at best.")


def test_a_plan_without_objectives_has_nothing_to_decide():
    assert plan_sentence([], 30) == "30 s: there is no objective to decide."
