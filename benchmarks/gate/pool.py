"""Random pairings of a pool of recorded runs of one release: how often a regression is seen where there is none.

And how often where there is one: the same runs 10 % slower, or with a new path that one request in 300 takes. The pool
is a list of latencies for each run; what is recorded on the real shop and what is made up here are treated alike.
"""

import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from random import Random
from statistics import fmean, stdev
from typing import Final

from benchmarks.gate.streams import normal
from slo.pairs import STRICT, WITH_MARGIN, Comparison, Design, Pair, RatioBound, Run, compare, power

DRAWS: Final = 1000
# So many pairings are kept one by one.
KEPT: Final = 20
RUNS: Final = 24
REQUESTS: Final = 4500
SLOWER: Final = 0.1
SLOW_PATH: Final = 1 / 300
SLOW_PATH_SECONDS: Final = 0.5
NOISES: Final = (0.03, 0.06, 0.12)
DESIGNS: Final = {"10 pairs at 1 %": STRICT, "6 pairs at 5 %, margin 5 %": WITH_MARGIN}


@dataclass(frozen=True, slots=True)
class Tally:
    """What random pairings of a pool said, in shares of the pairings.

    `latency` and `slow`: a regression of the P99, of the share of slow requests. `either`: of one of them.
    `none`: no regression, with reassurance. `noise`: standard deviation of the log ratios of P99 as the pool has it;
    `stated`: the power for the P99 that follows from it, for a change whose P99 is known. `first` has what was said of
    the first pairings, for P99, slow share and both, as letters (y, n, i), for a test to make again.
    """

    pool: str
    change: str
    design: str
    draws: int
    latency: float
    slow: float
    either: float
    none: float
    noise: float
    stated: float | None
    first: str


def pairings(
    pool: Sequence[Run], candidates: Sequence[Run], design: Design, *, draws: int = DRAWS, seed: int = 0
) -> list[Comparison]:
    """Pair runs of the pool at random with others, taken from `candidates` at the same places, and compare.

    In each draw no run is used twice: twice as many runs as the design has pairs are needed, else `ValueError`.
    """
    return [compare(pairs, design) for pairs in drawn_pairs(pool, candidates, design, draws, seed)]


def drawn_pairs(
    pool: Sequence[Run], candidates: Sequence[Run], design: Design, draws: int, seed: int = 0
) -> Iterator[list[Pair]]:
    """Draw the pairs of `pairings`."""
    dice = Random(seed)  # noqa: S311 - the same pairings every time
    for _ in range(draws):
        drawn = dice.sample(range(len(pool)), 2 * design.pairs)
        sides = zip(drawn[: design.pairs], drawn[design.pairs :], strict=True)
        yield [Pair(pool[left], candidates[right]) for left, right in sides]


def slower(run: Run, increase: float = SLOWER) -> Run:
    """Return a run with every latency longer by the same factor."""
    return Run(tuple(latency * (1 + increase) for latency in run.ranked))


def with_slow_path(run: Run, dice: Random, share: float = SLOW_PATH, seconds: float = SLOW_PATH_SECONDS) -> Run:
    """Return a run in which a share of the requests, whichever they are, takes `seconds` longer."""
    return Run.of(latency + seconds * (dice.random() < share) for latency in run.ranked)


def synthetic_pool(noise: float, runs: int = RUNS, requests: int = REQUESTS) -> list[Run]:
    """Make runs of log-normal latencies (median 12 ms) whose common factor differs from run to run by `noise` (CV)."""
    dice = Random(f"pool {noise}")  # noqa: S311 - the same runs every time
    made = []
    for _ in range(runs):
        factor = 0.012 * math.exp(noise * normal(dice))
        made.append(Run.of(factor * math.exp(0.6 * normal(dice)) for _ in range(requests)))
    return made


def changes(pool: Sequence[Run]) -> dict[str, tuple[float | None, list[Run]]]:
    """Return the candidates by name, with the true increase of their P99 where it is known."""
    dice = Random("slow path")  # noqa: S311 - the same requests every time
    return {
        "none": (0.0, list(pool)),
        f"{SLOWER:.0%} slower": (SLOWER, [slower(run) for run in pool]),
        "1 in 300 slow": (None, [with_slow_path(run, dice) for run in pool]),
    }


def tallies(name: str, pool: Sequence[Run], draws: int = DRAWS) -> Iterator[Tally]:
    """Compare random pairings of a pool: with itself, slower, and with a slow path; by both designs."""
    logs = [math.log(run.percentile(99.0)) for run in pool]
    noise = math.sqrt(2) * stdev(logs)
    for design_name, design in DESIGNS.items():
        for change, (increase, candidates) in changes(pool).items():
            found = pairings(pool, candidates, design, draws=draws)
            stated = None if increase is None else power(increase, noise, design.pairs, design.alpha, design.margin)
            yield Tally(
                name, change, design_name, draws, **shares(found), noise=noise, stated=stated, first=kept(found)
            )


def synthetic_tallies(draws: int = DRAWS) -> Iterator[Tally]:
    """Make pools of different noise and compare their pairings."""
    for noise in NOISES:
        yield from tallies(f"noise {noise:.0%}", synthetic_pool(noise), draws)


def kept(found: Sequence[Comparison]) -> str:
    """Return what the first comparisons said, as letters: of the P99, of the slow share, and of both."""
    parts = ((_word(each.latency), _word(each.slow), each.regression) for each in found[:KEPT])
    return " ".join("".join(said[0] for said in part) for part in parts)


def _word(part: RatioBound | None) -> str:
    return part.regression if part else "-"


def shares(found: Sequence[Comparison]) -> dict[str, float]:
    """Return in which share of the comparisons each thing was said."""
    says: dict[str, Callable[[Comparison], bool]] = {
        "latency": lambda each: each.latency is not None and each.latency.regression == "yes",
        "slow": lambda each: each.slow is not None and each.slow.regression == "yes",
        "either": lambda each: each.regression == "yes",
        "none": lambda each: each.regression == "no",
    }
    return {name: fmean(map(said, found)) for name, said in says.items()}
