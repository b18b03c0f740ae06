"""What the recorded runs said, as JSON, and as the tables and the picture that docs/statistics.md shows."""

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median
from typing import Final

from benchmarks.gate.findings import (
    IN_THE_SHOP,
    RANDOM,
    SLOW,
    TIMES,
    Point,
    Row,
    alarms,
    at_power,
    curve,
    p99_logs,
    percentile_logs,
    rows,
)
from benchmarks.gate.limits import Limit, limits
from benchmarks.gate.order import Order, order
from benchmarks.gate.pool import DESIGNS, DRAWS, UNCHANGED
from benchmarks.gate.recorded import Pool
from benchmarks.gate.recorded_caveats import caveats, chance
from benchmarks.gate.recorded_chart import chart
from benchmarks.gate.report import grid, percent
from benchmarks.gate.table import Criterion
from slo.pairs import PERCENTILE, POWER, Run, log_share, slow_limit

BEGIN: Final = "<!-- made by python -m benchmarks.gate recorded: begin -->\n"
END: Final = "<!-- made by python -m benchmarks.gate recorded: end -->\n"
NAME: Final = "gate_recorded"
FEWEST_RUNS: Final = 24
# By so much pools of normal runs scatter (the columns `low` and `high`): what is within it is "about".
ABOUT_NOMINAL: Final = 0.01
ABOUT_STATED: Final = 0.05
MEDIAN: Final = 50.0
MAIN_DESIGN: Final = next(iter(DESIGNS))


@dataclass(frozen=True, slots=True)
class Figure:
    """One figure of the runs, with its median and range, and what their order says."""

    name: str
    low: float
    middle: float
    high: float
    order: Order


@dataclass(frozen=True, slots=True)
class Recorded:
    """All that was found out about a pool; `draws` pairings a row."""

    about: str
    draws: int
    figures: list[Figure]
    rows: list[Row]
    points: list[Point]
    alarms: list[Point]
    powers: list[Point]
    limits: list[Limit]

    def criteria(self) -> tuple[Criterion, ...]:
        """Return what must be shown, each with where it was not."""
        unchanged = (
            f"unchanged: the share of regressions of the P99 in {TIMES * self.draws:,} pairings is the nominal one"
        )
        slower = f"slower by what is stated to be found in {POWER:.0%} of the comparisons: found by the P99 as often"
        return (
            _as_stated(self.alarms, unchanged, ABOUT_NOMINAL),
            _slow_alarms(self.rows),
            _as_stated(self.powers, slower, ABOUT_STATED),
            _slow_path(self.rows),
        )

    def json(self) -> str:
        """Return the findings as a JSON document."""
        told = asdict(self) | {"criteria": [asdict(each) for each in self.criteria()]}
        return json.dumps(told, indent=1) + "\n"

    def markdown(self, picture: str) -> str:
        """Return the tables; `picture` is where the chart is, as seen from the page."""
        lines = (
            f"- {c.words}: {'**not met**: ' + '; '.join(c.exceptions) if c.exceptions else 'met'}"
            for c in self.criteria()
        )
        parts = (
            f"{self.about}\n",
            f"![P99 of each run, and how often an increase is found]({picture})\n",
            "\n".join(lines) + "\n",
            "\n".join(f"- {words}" for words in caveats(self.figures, self.rows, self.powers, self.limits)) + "\n",
            _figures_part(self.figures),
            _rows_part(self.rows),
            _limits_part(self.limits),
        )
        return "\n".join(parts)


def find(pool: Pool, draws: int = DRAWS) -> Recorded:
    """Find out everything about a pool; the same every time."""
    runs = [run.run() for run in pool.runs]
    changed = [run.run() for run in pool.changed]
    return Recorded(
        about=_about(pool),
        draws=draws,
        figures=figures(runs),
        rows=list(rows(runs, changed, draws)),
        points=list(curve(runs, draws)),
        alarms=list(alarms(runs, draws)),
        powers=list(at_power(runs, draws)),
        limits=list(limits([run.seconds() for run in pool.runs], pool.seconds)),
    )


def read(path: Path) -> Recorded:
    """Return the findings that a JSON document holds."""
    told = json.loads(path.read_text())
    return Recorded(
        told["about"],
        told["draws"],
        [Figure(**{**each, "order": Order(**each["order"])}) for each in told["figures"]],
        [Row(**each) for each in told["rows"]],
        [Point(**each) for each in told["points"]],
        [Point(**each) for each in told["alarms"]],
        [Point(**each) for each in told["powers"]],
        [Limit(**each) for each in told["limits"]],
    )


def store(found: Recorded, pool: Pool, folder: Path) -> None:
    """Write gate_recorded.json, .md and .svg."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{NAME}.json").write_text(found.json())
    (folder / f"{NAME}.md").write_text(
        f"# The gate's comparison on recorded runs of the shop\n\n{found.markdown(f'{NAME}.svg')}"
    )
    (folder / f"{NAME}.svg").write_text(drawn(found, pool))


def drawn(found: Recorded, pool: Pool) -> str:
    """Return the picture of the findings about a pool."""
    p99 = [[run.run().percentile(PERCENTILE) for run in runs] for runs in (pool.runs, pool.changed)]
    return chart(p99[0], p99[1], found.points)


def _about(pool: Pool) -> str:
    m = pool.machine
    after = f", then {len(pool.changed)} with `{pool.fault}`" if pool.changed else ""
    refused = f"; {len(pool.refused)} more were not kept ({'; '.join(pool.refused)})" if pool.refused else ""
    others = max(run.others for run in (*pool.runs, *pool.changed))
    return (
        f"{len(pool.runs)} runs of {pool.seconds:g} s at {pool.rate:g} requests/s of one running shop{after}{refused}. "
        f"Everything else on the machine used at most {others:.0%} of it during a run. "
        f"{m['cpu']}, {m['cores']} cores, {m['system']}, {m['python']}, k6 {pool.k6}, {m['date']}, commit {pool.commit[:12]}"
        f"{', with changes' if pool.commit.endswith('-dirty') else ''}."
    )


def figures(runs: Sequence[Run]) -> list[Figure]:
    """Return the figures that a comparison looks at, and the median."""
    above = slow_limit(runs)
    p50 = [run.percentile(MEDIAN) * 1e3 for run in runs]
    p99 = [run.percentile(PERCENTILE) * 1e3 for run in runs]
    slow = [100 * run.above(above) / len(run.ranked) for run in runs]
    logs = (percentile_logs(runs, MEDIAN), p99_logs(runs), [log_share(run, above) for run in runs])
    names = ("P50, ms", "P99, ms", f"share above {above * 1e3:.0f} ms, %")
    each = zip(names, (p50, p99, slow), logs, strict=True)
    return [Figure(name, min(values), median(values), max(values), order(of)) for name, values, of in each]


def _slow_alarms(found: Sequence[Row]) -> Criterion:
    same = [row for row in found if row.change == UNCHANGED and row.pairing == RANDOM]
    slow = [row for row in same if abs(row.slow - row.slow_stated) > ABOUT_NOMINAL]
    return Criterion(
        f"unchanged: that of the slow share is the nominal one, within {percent(ABOUT_NOMINAL)} points",
        tuple(f"{row.design}: {row.slow:.1%} for {row.slow_stated:.1%}" for row in slow),
    )


def _as_stated(found: Sequence[Point], words: str, within: float) -> Criterion:
    """Return that the P99 finds increases, or cries wolf, as often as is stated."""
    off = [point for point in found if abs(point.found - point.stated) > within]
    at = ", ".join(f"{point.increase:.1%} with {_stated(point)}" for point in found)
    return Criterion(f"{words}, within {within * 100:g} points ({at})", tuple(map(_stated, off)))


def _stated(point: Point) -> str:
    return f"{point.design}: {point.found:.1%} for {point.stated:.1%}"


def _slow_path(found: Sequence[Row]) -> Criterion:
    missed = [
        row for row in found if row.change in {SLOW, IN_THE_SHOP} and row.design == MAIN_DESIGN and row.slow < POWER
    ]
    return Criterion(
        f"{SLOW}: found by the slow share in at least {POWER:.0%} of the comparisons of {MAIN_DESIGN}",
        tuple(f"{row.change}: {row.slow:.1%}" for row in missed),
    )


def _figures_part(figures: Sequence[Figure]) -> str:
    head = [
        "figure of a run",
        "median",
        "least to most",
        "noise of a pair",
        "of neighbours",
        "trend, p",
        "neighbours alike, p",
        "normal, p",
    ]
    lines = (
        [
            f.name,
            f"{f.middle:.2f}",
            f"{f.low:.2f}-{f.high:.2f}",
            f"{f.order.noise:.1%}",
            f"{f.order.neighbours:.1%}",
            f"{f.order.trend:+.1%}, {chance(f.order.trend_p)}",
            chance(f.order.alike_p),
            chance(f.order.normal_p),
        ]
        for f in figures
    )
    return f"**The runs**\n\n{grid(head, lines)}"


def _rows_part(found: Sequence[Row]) -> str:
    head = [
        "change, pairs, design",
        "P99",
        "stated",
        "normal runs",
        "slow share",
        "stated",
        "at the P99.5",
        "either",
        "reassured",
    ]
    lines = (
        [
            f"{row.change}; {row.pairing}; {row.design}",
            percent(row.latency),
            "" if row.stated is None else percent(row.stated),
            "" if row.low is None or row.high is None else f"{percent(row.low)}-{percent(row.high)}",
            percent(row.slow),
            percent(row.slow_stated),
            percent(row.at_percentile),
            percent(row.either),
            percent(row.none),
        ]
        for row in found
    )
    return f"**Regressions seen, in per cent of {found[0].draws:,} pairings**\n\n{grid(head, lines)}"


def _limits_part(found: Sequence[Limit]) -> str:
    head = [
        "share above the limit",
        "limit, ms",
        "k6: wrong",
        "ours: wrong",
        "ours: open",
        "design effect",
        "floor that they teach",
    ]
    lines = (
        [
            f"{each.share:.1%}",
            f"{each.limit * 1e3:.0f}",
            str(each.k6_wrong),
            str(each.wrong),
            str(each.inconclusive),
            f"{each.effect:.1f}",
            f"{each.floor:.1f}",
        ]
        for each in found
    )
    return f"**Each run by itself, with a budget of 1 %: verdicts on {found[0].runs} runs**\n\n{grid(head, lines)}"
