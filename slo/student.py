"""Student's t distribution in plain `math`: what a bound on a mean needs, and the power of a test that uses one.

P(|T| > t) = I_x(f/2, 1/2) at x = f / (f + t**2) for f degrees of freedom: https://dlmf.nist.gov/8.17 and Abramowitz &
Stegun 26.7.1. The non-central distribution is that of (Z + shift) / S with Z standard normal and S = sqrt(chi2_f / f),
integrated over S by Simpson's rule: Johnson, Kotz & Balakrishnan (1995), Continuous Univariate Distributions 2, ch. 31.
"""

import math
from functools import cache
from statistics import NormalDist
from typing import Final

from slo.beta import beta_quantile

_NORMAL: Final = NormalDist()
# Simpson's rule over S: 10 standard deviations, about 1 / sqrt(2 f), to either side of 1.
_INTERVALS: Final = 800
_REACH: Final = 10.0
FEWEST_DEGREES: Final = 2


@cache
def quantile(p: float, degrees: int) -> float:
    """Return the t that is exceeded with probability 1 - `p`, for 0.5 < `p` < 1."""
    x = beta_quantile(2 * (1 - p), degrees / 2, 0.5)
    return math.sqrt(degrees * (1 - x) / x)


def exceedance(t: float, degrees: int, shift: float) -> float:
    """Return P(T > `t`) of the non-central t distribution: the power of a one-sided test whose critical value is `t`.

    `shift` is the true mean in standard errors of the mean. The absolute error is below 1e-9 from
    `FEWEST_DEGREES` on; fewer raise `ValueError`: the density then begins with its largest value, which steps miss.
    """
    if degrees < FEWEST_DEGREES:
        raise ValueError(f"expected at least {FEWEST_DEGREES} degrees of freedom, got {degrees}")
    spread = _REACH / math.sqrt(2 * degrees)
    low, high = max(0.0, 1 - spread), 1 + spread
    step = (high - low) / _INTERVALS
    weights = [1.0, *([4.0, 2.0] * (_INTERVALS // 2))[:-1], 1.0]
    points = [low + step * index for index in range(_INTERVALS + 1)]
    values = (
        weight * _density(s, degrees) * _NORMAL.cdf(shift - t * s) for weight, s in zip(weights, points, strict=True)
    )
    return math.fsum(values) * step / 3


def _density(s: float, degrees: int) -> float:
    """Return the density of sqrt(chi2_f / f) at `s`."""
    if s <= 0:
        return 0.0
    half = degrees / 2
    return math.exp(
        math.log(2) + half * math.log(half) - math.lgamma(half) + (degrees - 1) * math.log(s) - half * s * s
    )
