"""The comparison with a baseline in words and figures, the same in every rendering."""

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import fmean
from typing import Final

from slo.pairs import MOST_SAID, SLOW_FACTOR, SLOW_PERCENTILE, Regression
from slo.report import figures
from slo.statistics import Outcome
from slo.verdict import Baseline, PairedRun, PairOfRuns, Ratio

HEADER: Final = ("compared", "baseline", "candidate", "change", "between", "regression")
REGRESSED: Final[dict[Regression, str]] = {"yes": "YES", "no": "no", "inconclusive": "undecided"}
# The classes of colour that outcomes of objectives have.
KINDS: Final[dict[Regression, Outcome]] = {"yes": "missed", "no": "met", "inconclusive": "inconclusive"}
_NOT_COMPARED: Final = "not compared"


@dataclass(frozen=True, slots=True)
class Compared:
    """One of the two figures that are compared; `ratio` is None where it falls on requests without a good answer."""

    what: str
    baseline: str
    candidate: str
    ratio: Ratio | None

    @property
    def cells(self) -> tuple[str, ...]:
        """The row of a table below `HEADER`."""
        if self.ratio is None:
            return (self.what, self.baseline, self.candidate, figures.NOTHING, _NOT_COMPARED, REGRESSED["inconclusive"])
        between = f"{change(self.ratio.low)} to {change(self.ratio.high)}"
        regression = REGRESSED[self.ratio.regression]
        return (self.what, self.baseline, self.candidate, change(self.ratio.ratio), between, regression)


def change(ratio: float) -> str:
    """Return a ratio as what was added to the baseline or taken from it."""
    percent = (ratio - 1) * 100
    return f"{percent:+.1f} %" if abs(percent) < 100 else f"{percent:+.0f} %"  # noqa: PLR2004 - three digits are enough


def title(baseline: Baseline) -> str:
    """Return what was compared with."""
    commit = baseline.commit[:12]
    return baseline.name if not commit or baseline.commit.startswith(baseline.name) else f"{baseline.name} ({commit})"


def compared(baseline: Baseline) -> tuple[Compared, ...]:
    """Return the two figures; none where nothing was compared."""
    if baseline.regression is None:
        return ()
    before, after = [pair.baseline for pair in baseline.pairs], [pair.candidate for pair in baseline.pairs]
    above = "-" if baseline.slow_above is None else figures.seconds(baseline.slow_above)
    return (
        Compared("P99", _mean_p99(before), _mean_p99(after), baseline.latency),
        Compared(f"slower than {above}", _share(before), _share(after), baseline.slow),
    )


def sentences(baseline: Baseline) -> Iterator[str]:
    """Yield what must be said beside the figures."""
    if baseline.regression is None:
        yield f"Against {title(baseline)}: {baseline.reason}"
        return
    yield (
        f"Against {title(baseline)}: {len(baseline.pairs)} interleaved pairs of runs ({baseline.profile}). Slower than means "
        f"{SLOW_FACTOR - 1:.0%} above the P{SLOW_PERCENTILE:g} of the baseline's runs together; a failed request is slower than any."
    )
    for each in compared(baseline):
        if each.ratio is None:
            yield f"{each.what}: falls on requests without a good answer, in one run at least; not compared."
        else:
            yield f"{each.what}: {_power(each.ratio, len(baseline.pairs))}."


def short(baseline: Baseline) -> str:
    """Return the comparison as one sentence."""
    return f"against {title(baseline)}: {baseline.reason}"


def p99_ratio(pair: PairOfRuns) -> float | None:
    """Return the ratio of a pair's P99."""
    if not pair.baseline.p99 or not pair.candidate.p99:
        return None
    return pair.candidate.p99 / pair.baseline.p99


def slow_ratio(pair: PairOfRuns) -> float:
    """Return the ratio of a pair's shares of slow requests, as it is compared (`slo.pairs`)."""
    return _slow_share(pair.candidate) / _slow_share(pair.baseline)


def _slow_share(run: PairedRun) -> float:
    return (run.slow + 0.5) / (run.requests + 1)


def _power(ratio: Ratio, pairs: int) -> str:
    margin = f", and a regression is more than {ratio.margin:.0%}" if ratio.margin else ""
    found = (
        f"{change(1 + ratio.detectable)} or more" if ratio.detectable < MOST_SAID else "nothing below ten times as much"
    )
    return (
        f"{ratio.noise * 100:.1f} % of noise from pair to pair; {pairs} pairs find {found} "
        f"in 80 % of the cases, a false alarm is one in {1 / ratio.alpha:.0f}{margin}"
    )


def _mean_p99(runs: list[PairedRun]) -> str:
    """Return the geometric mean, which is what the ratio is one of."""
    values = [run.p99 for run in runs if run.p99]
    if len(values) < len(runs):
        return "no answer"
    return figures.seconds(math.exp(fmean(map(math.log, values))))


def _share(runs: list[PairedRun]) -> str:
    return figures.percent(sum(run.slow for run in runs) / sum(run.requests for run in runs))
