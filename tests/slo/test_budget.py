"""What is left of an error budget, and when it is spent."""

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import assume, given
from hypothesis import strategies as st

from slo.budget import Budgets, Counts, assess, spent_in, unknown
from slo.openslo.loading import load_specification

(SLO,) = [
    slo for slo in load_specification([Path("slo/specs/checkout.yaml")]).slos if slo.name == "gateway-availability"
]
DAY = 86_400.0
MONTH = 30 * DAY


def state(bad, total, *, covered=MONTH, bad_hour=0.0, total_hour=1000.0):
    return assess(SLO, Counts(bad, total, covered, bad_hour, total_hour), "recorded")


def test_a_budget_is_the_share_of_bad_events_that_may_be():
    assert SLO.budget == Decimal("0.01")
    found = state(600, 100_000, bad_hour=5)
    assert (found.state, found.bad_share, found.left) == ("left", 0.006, pytest.approx(0.4))
    assert found.burn_rate == pytest.approx(0.5)
    assert found.spent_in == pytest.approx(0.4 * MONTH / 0.5)


def test_a_budget_is_spent_when_nothing_is_left_and_not_by_a_handful():
    assert (state(1000, 100_000).state, state(999, 100_000).state) == ("spent", "left")
    few = state(4, 100)
    assert (few.state, few.left) == ("left", pytest.approx(-3))
    assert few.reason.endswith("fewer than 5 bad events spend no budget")
    assert state(5, 100).state == "spent"


def test_without_an_event_nothing_is_known():
    assert (state(0, 0).state, state(0, 0).left) == ("unknown", None)


def test_an_hour_without_traffic_has_no_burn_rate():
    found = state(600, 100_000, total_hour=0)
    assert (found.state, found.burn_rate, found.spent_in) == ("left", None, None)


def test_what_is_not_known_comes_before_what_is_spent():
    spent, nobody, fine = state(1000, 1000), unknown(SLO, "gone"), state(0, 1000)
    for slos, code, freezes in (((fine,), 0, False), ((fine, spent), 6, True), ((nobody, spent), 5, True)):
        budgets = Budgets("http://p", "2026-01-01T00:00:00Z", slos)
        assert (budgets.exit_code, budgets.freezes) == (code, freezes)
    assert not Budgets("http://p", "2026-01-01T00:00:00Z", (spent,), "mends the outage").freezes


def test_what_a_whole_window_is_just_enough_for_is_not_spent_in_it():
    assert spent_in(0.5, 0.5, 720, 720) is None
    assert spent_in(0.4999, 0.5, 720, 720) == pytest.approx(719.856)


@given(st.floats(0.01, 1), st.floats(0, 50), st.floats(0.05, 30))
def test_a_budget_is_spent_no_earlier_than_if_all_that_was_bad_is_recent(left, burn, days):
    """Each hour is played: the covered time's bad events all lie at its end, where they leave the window last."""
    assume(abs(burn - 1) > 0.02)
    window, covered, hours = 720, days * 24, 0
    used = (1 - left) * covered
    # Within the window's last hour hours are too coarse to tell.
    assume(abs(used + burn * window - window) > burn)
    while used + burn * hours < min(window, covered + hours) and hours < window:
        hours += 1
    # At the end of a window everything old has left it.
    played = hours if hours < window or burn > 1 else None
    found = spent_in(left, burn, covered, window)
    assert (found is None) is (played is None)
    if found is not None:
        assert found == pytest.approx(played, abs=1.01)
