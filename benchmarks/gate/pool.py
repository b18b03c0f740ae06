"""Random pairings of a pool of recorded runs of one release: how often a regression is seen where there is none.

And how often where there is one: the same runs 10 % slower, or with a new path that one request in 300 takes. The pool
is a list of latencies for each run; what is recorded on the real shop and what is made up here are treated alike.
"""

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import asdict, dataclass
from random import Random
from statistics import fmean, stdev
from typing import Final

from benchmarks.gate.streams import normal, sampled
from slo.pairs import PERCENTILE, STRICT, WITH_MARGIN, Comparison, Design, Pair, RatioBound, Run, compare, power

DRAWS: Final = 1000
# So many pairings are kept one by one.
KEPT: Final = 20
RUNS: Final = 24
REQUESTS: Final = 4500
SLOWER: Final = 0.1
SLOW_PATH: Final = 1 / 300
SLOW_PATH_SECONDS: Final = 0.5
NOISES: Final = (0.03, 0.06, 0.12)
UNCHANGED: Final = "none"
SLOWED: Final = f"{SLOWER:.0%} slower"
DESIGNS: Final = {"10 pairs at 1 %": STRICT, "6 pairs at 5 %, margin 5 %": WITH_MARGIN}


@dataclass(frozen=True, slots=True)
class Change:
    """A change by its name, the runs with it in the places of the pool's, and the increase of the P99 where it is known."""

    name: str
    increase: float | None
    runs: Sequence[Run]


@dataclass(frozen=True, slots=True, kw_only=True)
class Tally:
    """What pairings by a design said, in shares of the `draws`.

    `latency` and `slow`: a regression of the P99, of the share of slow requests. `either`: of one of them.
    `none`: no regression, with reassurance. `stated`: the power for the P99 that follows from the noise, for a change whose P99
    is known. `first` has what was said of the first pairings, for P99, slow share and both, as letters (y, n, i), for a test
    to make again.
    """

    change: str
    design: str
    draws: int
    latency: float
    stated: float | None
    slow: float
    either: float
    none: float
    first: str


@dataclass(frozen=True, slots=True, kw_only=True)
class SyntheticTally(Tally):
    """What pairings of synthetic runs said; `noise`: standard deviation of the log ratios of P99 as the pool has it."""

    pool: str
    noise: float


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
    for places in drawn_places(len(pool), design, draws, seed):
        yield [Pair(pool[left], candidates[right]) for left, right in places]


def drawn_places(runs: int, design: Design, draws: int, seed: int = 0) -> Iterator[list[tuple[int, int]]]:
    """Draw which of so many runs are paired with which others."""
    dice = Random(seed)  # noqa: S311 - the same pairings every time
    for _ in range(draws):
        drawn = sampled(dice, range(runs), 2 * design.pairs)
        yield list(zip(drawn[: design.pairs], drawn[design.pairs :], strict=True))


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


def changes(pool: Sequence[Run], slow_paths: Sequence[float] = (SLOW_PATH_SECONDS,)) -> list[Change]:
    """Return what a pool is compared with: itself, slower, and with a new path that takes so many seconds longer."""
    dice = Random("slow path")  # noqa: S311 - the same requests every time
    return [
        Change(UNCHANGED, 0.0, pool),
        Change(SLOWED, SLOWER, [slower(run) for run in pool]),
        *(
            Change(slow_path(seconds), None, [with_slow_path(run, dice, SLOW_PATH, seconds) for run in pool])
            for seconds in slow_paths
        ),
    ]


def slow_path(seconds: float) -> str:
    """Return the name of a new path that takes `seconds` longer."""
    return f"1 in 300 slower by {seconds * 1e3:.0f} ms"


def tallies(name: str, pool: Sequence[Run], draws: int = DRAWS) -> Iterator[SyntheticTally]:
    """Compare random pairings of a pool: with itself, slower, and with a slow path; by both designs."""
    noise = math.sqrt(2) * stdev(math.log(run.percentile(PERCENTILE)) for run in pool)
    for design in DESIGNS:
        for change in changes(pool):
            drawn = drawn_pairs(pool, change.runs, DESIGNS[design], draws)
            yield SyntheticTally(pool=name, noise=noise, **asdict(tally(change, design, noise, drawn)))


def tally(change: Change, name: str, noise: float, drawn: Iterable[Sequence[Pair]]) -> Tally:
    """Compare what was drawn for a change by the design of that name; `noise` is that of the log ratios of P99."""
    design = DESIGNS[name]
    found = [compare(pairs, design) for pairs in drawn]
    increase = change.increase
    return Tally(
        change=change.name,
        design=name,
        draws=len(found),
        stated=None if increase is None else power(increase, noise, design.pairs, design.alpha, design.margin),
        first=kept(found),
        **shares(found),
    )


def synthetic_tallies(draws: int = DRAWS) -> Iterator[SyntheticTally]:
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
