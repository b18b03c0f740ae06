"""What a pool of recorded runs cannot show, in words: a reader of the tables should not have to find it out."""

from collections.abc import Iterator, Sequence
from typing import Final, Protocol

from benchmarks.gate.findings import Point, Row
from benchmarks.gate.limits import Limit
from benchmarks.gate.order import Order
from slo.pairs import POWER

# What a quiet machine stays below; with more, pairs find little.
QUIET: Final = 0.15
BY_CHANCE: Final = 0.01
# Found rarer than stated by so much, the statement misleads.
FAR: Final = 0.1
WRONG_AT_MOST: Final = 0.05


class Figure(Protocol):
    """A figure of runs, by name, and what their order says."""

    @property
    def name(self) -> str:
        """What it is, and its unit after a comma."""

    @property
    def order(self) -> Order:
        """What the order of the runs says of it."""


def caveats(
    figures: Sequence[Figure], rows: Sequence[Row], powers: Sequence[Point], limits: Sequence[Limit]
) -> Iterator[str]:
    """Yield a sentence for each thing that the pool cannot show; nothing for runs that are quiet and alike."""
    p99 = figures[1].order
    if p99.noise > QUIET:
        yield _noise(p99, powers)
    if any(figure.order.trend_p < BY_CHANCE for figure in figures):
        yield _trend(figures)
    yield from (_overstated(row) for row in rows if row.slow_stated - row.slow > FAR)
    yield from (_judged_alone(limit) for limit in limits if limit.wrong > WRONG_AT_MOST * limit.runs)


def chance(p: float) -> str:
    """Write a p, of which none is 0."""
    return "< 0.001" if p < 0.001 else f"{p:.2f}" if p >= BY_CHANCE else f"{p:.3f}"  # noqa: PLR2004 - as it is written


def _noise(p99: Order, powers: Sequence[Point]) -> str:
    least = ", ".join(f"{point.increase:.0%} with {point.design}" for point in powers)
    return (
        f"Noisy: the P99 of two runs differs by {p99.noise:.0%}. Pairs of such runs find in {POWER:.0%} of the comparisons "
        f"nothing smaller than an increase of {least}; that 10 % are hardly ever found says nothing against the comparison, "
        "and nothing for it."
    )


def _trend(figures: Sequence[Figure]) -> str:
    changed = ", ".join(
        f"{figure.name.split(',')[0]} {figure.order.trend:+.0%}"
        for figure in figures
        if figure.order.trend_p < BY_CHANCE
    )
    return (
        f"With a trend, from the first run to the last: {changed}. The runs are of one release but not of one state of the "
        "shop and the machine, and a part of the noise is that trend. Pairs of neighbours, which are what the gate compares, "
        "see less of it."
    )


def _overstated(row: Row) -> str:
    return (
        f"{row.change}; {row.pairing}; {row.design}: the slow share finds {row.slow:.1%}, though {row.slow_stated:.1%} are "
        "stated. Counts of a few slow requests are not log-normal, and a single run with many of them can raise the limit above "
        "which a request is slow."
    )


def _judged_alone(limit: Limit) -> str:
    return (
        f"Judged by itself, with {limit.share:.1%} of the pool's requests too slow: {limit.wrong} of {limit.runs} runs get "
        "the wrong verdict for the pool. Where slow requests come in some runs only, the others did keep their budget: a run is "
        "judged for what it was, and one run does not stand for a release whose runs differ so much."
    )
