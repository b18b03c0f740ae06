"""Student's t, central and not, against tables and closed forms."""

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slo import student


# Abramowitz & Stegun, table 26.10.
@pytest.mark.parametrize(
    ("p", "degrees", "t"),
    [(0.95, 5, 2.015), (0.99, 9, 2.821), (0.95, 9, 1.833), (0.99, 5, 3.365), (0.975, 7, 2.365), (0.995, 30, 2.750)],
)
def test_quantiles_are_those_of_the_tables(p, degrees, t):
    assert student.quantile(p, degrees) == pytest.approx(t, abs=5e-4)


@given(st.sampled_from([0.95, 0.975, 0.99]), st.integers(2, 60))
def test_without_a_shift_a_quantile_is_exceeded_as_often_as_it_says(p, degrees):
    assert student.exceedance(student.quantile(p, degrees), degrees, 0.0) == pytest.approx(1 - p, abs=1e-9)


@given(st.integers(2, 60), st.floats(-5, 5))
def test_zero_is_exceeded_as_often_as_by_the_normal_distribution(degrees, shift):
    expected = 0.5 * math.erfc(-shift / math.sqrt(2))
    assert student.exceedance(0.0, degrees, shift) == pytest.approx(expected, abs=1e-9)


def test_many_degrees_of_freedom_are_a_shifted_normal_distribution():
    assert student.exceedance(1.645, 100_000, 2.0) == pytest.approx(
        0.5 * math.erfc(-(2.0 - 1.645) / math.sqrt(2)), abs=1e-4
    )


@given(st.floats(0, 6), st.floats(0.1, 3))
def test_a_greater_shift_is_seen_more_often(shift, more):
    assert student.exceedance(2.821, 9, shift + more) > student.exceedance(2.821, 9, shift)


def test_the_power_of_two_pairs_is_refused():
    with pytest.raises(ValueError, match="at least 2 degrees of freedom, got 1"):
        student.exceedance(6.31, 1, 0.0)
