"""Stops a load test that fails grossly, at any time and as often as one looks, without failing a release that does not.

A threshold that is looked at again and again while the load runs fails good releases: each look is another chance
(of releases at 90 % of the limit k6's `abortOnFail` fails most: docs/statistics.md). This test may be looked at after
every block.

It is the mixture likelihood ratio of Robbins against H0 "the share of bad requests is at most g", g = 3 x budget:

    M = integral over (g, 1) of q**x (1-q)**(n-x) dw(q) / (g**x (1-g)**(n-x)),    w = Beta(1/2, 1/2) truncated to (g, 1)

Under every share p <= g the expectation of M grows no further than 1 (q > g: the likelihood ratio of q against g is
largest in expectation at p = g, where it is 1), so that M is a non-negative supermartingale and, by Ville's inequality,
ever reaches 1/alpha with a probability of at most alpha. With the regularised incomplete beta function I the integral is

    M = B(x + 1/2, n - x + 1/2) (1 - I_g(x + 1/2, n - x + 1/2)) / (B(1/2, 1/2) (1 - I_g(1/2, 1/2))) / (g**x (1-g)**(n-x))

Bad requests come in bursts, for which that promise does not hold. Two guards pay for it: the counts are divided by 5,
and the share must have been above g in three blocks, so that one pause of two seconds stops nothing. Both numbers were
simulated again: docs/statistics.md has the table.

Sources: Robbins (1970), Annals of Mathematical Statistics 41, "Statistical methods related to the law of the iterated
logarithm"; Ville (1939); Howard, Ramdas, McAuliffe & Sekhon (2021), Annals of Statistics 49, on confidence sequences.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from slo.beta import beta_cdf
from slo.statistics import Block

# A share of this many times the budget is a gross failure.
GROSS: Final = 3.0
ALPHA: Final = 0.01
DIVISOR: Final = 5.0
FEWEST_BAD_BLOCKS: Final = 3
_HALF: Final = 0.5


@dataclass(frozen=True, slots=True)
class EarlyStop:
    """What the test says after a block: `stop` ends the load, and the release has failed.

    `evidence` is ln M, to be compared with ln(1/alpha) = 4.6; `bad_blocks` is in how many blocks the share was above
    `gross`, the share of bad requests that is called a gross failure.
    """

    stop: bool
    evidence: float
    bad_blocks: int
    gross: float


def early_stop(
    blocks: Sequence[Block], budget: float, *, divisor: float = DIVISOR, fewest_bad_blocks: int = FEWEST_BAD_BLOCKS
) -> EarlyStop:
    """Tell whether a running load test has failed grossly, from the blocks of 5 s that have ended.

    To be asked whenever a block has ended, as often as there are blocks. `budget` is the share of bad requests that is
    allowed. A budget of a third or more has no gross failure: it never stops. Raises `ValueError` for a budget that is
    no share above 0.
    """
    if not 0 < budget < 1:
        raise ValueError(f"a budget is a share between 0 and 1, not {budget}")
    gross = GROSS * budget
    bad_blocks = sum(block.bad > gross * block.total for block in blocks)
    evidence = log_evidence(sum(b.total for b in blocks) / divisor, sum(b.bad for b in blocks) / divisor, gross)
    stop = bad_blocks >= fewest_bad_blocks and evidence >= -math.log(ALPHA)
    return EarlyStop(stop, evidence, bad_blocks, gross)


def log_evidence(total: float, bad: float, gross: float) -> float:
    """Return ln M for `bad` of `total` (not necessarily whole) against "at most `gross` are bad"; -inf if there is none.

    At a share of no more than `gross` the likelihood of everything above is smaller: what is returned then is a bound.
    """
    if gross >= 1 or bad <= gross * total:
        return -math.inf if gross >= 1 else min(0.0, _log_ratio(total, bad, gross))
    return _log_ratio(total, bad, gross)


def _log_ratio(total: float, bad: float, gross: float) -> float:
    # 1 - I_g(a, b) = I_(1-g)(b, a), which loses no digits where it is small.
    above = beta_cdf(1 - gross, total - bad + _HALF, bad + _HALF)
    if above <= 0:
        return -math.inf
    mixture = _log_beta(bad + _HALF, total - bad + _HALF) + math.log(above)
    prior = _log_beta(_HALF, _HALF) + math.log(beta_cdf(1 - gross, _HALF, _HALF))
    null = bad * math.log(gross) + (total - bad) * math.log1p(-gross)
    return mixture - prior - null


def _log_beta(a: float, b: float) -> float:
    return math.lgamma(a) + math.lgamma(b) - math.lgamma(a + b)
