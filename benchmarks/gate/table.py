"""The table: simulated releases in every cell of true share x pattern x length of the run, before the three rules."""

from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Final

from benchmarks.gate.rules import BUDGET, RULES, Judged, Verdict, simulate
from benchmarks.gate.streams import PATTERNS, Pattern

SHARES: Final = (0.002, 0.009, 0.011, 0.03)
FAR: Final = (SHARES[0], SHARES[-1])
SECONDS: Final = (30, 60, 200, 300, 600)
# A run this many times as long as the correlation time or the gap between bursts can be held to the promise.
MEMORIES: Final = 10
WRONG_AT_MOST: Final = 0.05
RIGHT_AT_LEAST: Final = 0.95
# The run length at which far cells are decided: as long as each pattern needs.
STATED_SECONDS: Final = {"independent": 30, "correlated": 60, "bursty": 600}
# So many verdicts are kept one by one, for a test to make again.
KEPT: Final = 20


@dataclass(frozen=True, slots=True)
class Cell:
    """What one rule said of the releases of one true share and pattern after a run of one length.

    Shares of the releases: `passed`, `failed`, `inconclusive`; `requests` is their mean number. `first` holds the
    verdicts of the first releases as letters (p, f, i).
    """

    rule: str
    pattern: str
    share: float
    seconds: int
    releases: int
    passed: float
    failed: float
    inconclusive: float
    requests: float
    first: str

    @property
    def wrong(self) -> float:
        """Share of wrong verdicts: passes of a bad release, failures of a good one."""
        return self.passed if self.share > BUDGET else self.failed

    @property
    def right(self) -> float:
        """Share of right verdicts."""
        return self.failed if self.share > BUDGET else self.passed


@dataclass(frozen=True, slots=True)
class Criterion:
    """Something the rule must show, and where it did not."""

    words: str
    exceptions: tuple[str, ...]


def cells(releases: int, patterns: Sequence[Pattern] = PATTERNS, shares: Sequence[float] = SHARES) -> Iterator[Cell]:
    """Simulate, and judge every prefix of every release by every rule."""
    for pattern in patterns:
        for share in shares:
            made = [simulate(pattern, share, number, SECONDS[-1]) for number in range(releases)]
            for seconds in SECONDS:
                for name, rule in RULES.items():
                    yield _cell(name, pattern, share, seconds, [rule(each, seconds) for each in made])


def _cell(rule: str, pattern: Pattern, share: float, seconds: int, judged: Sequence[Judged]) -> Cell:
    counted = Counter[Verdict](each.verdict for each in judged)
    count = len(judged)
    return Cell(
        rule=rule,
        pattern=pattern.name,
        share=share,
        seconds=seconds,
        releases=count,
        passed=counted["pass"] / count,
        failed=counted["fail"] / count,
        inconclusive=counted["inconclusive"] / count,
        requests=sum(each.requests for each in judged) / count,
        first="".join(each.verdict[0] for each in judged[:KEPT]),
    )


def is_promised(cell: Cell) -> bool:
    """Tell whether the run is 10 times as long as what it must average over."""
    memory = next(pattern.memory for pattern in PATTERNS if pattern.name == cell.pattern)
    return cell.seconds >= MEMORIES * memory


def criteria(made: Sequence[Cell]) -> tuple[Criterion, ...]:
    """Return what the table must show, with the cells that do not."""
    own = [cell for cell in made if cell.rule == "ours"]
    others = {_place(cell, cell.rule): cell for cell in made}
    worse = [
        f"{_where(cell)}: {cell.wrong:.1%} against {others[_place(cell, rule)].wrong:.1%} of {rule}"
        for cell in own
        for rule in RULES
        if rule != "ours" and cell.wrong > others[_place(cell, rule)].wrong
    ]
    wrong = [cell for cell in own if is_promised(cell) and cell.wrong > WRONG_AT_MOST]
    far = [cell for cell in own if cell.share in FAR and cell.seconds >= STATED_SECONDS[cell.pattern]]
    undecided = [cell for cell in far if cell.right < RIGHT_AT_LEAST]
    return (
        Criterion(
            f"wrong verdicts <= {WRONG_AT_MOST:.0%} wherever the run is at least {MEMORIES} times the gap or the "
            "correlation time",
            tuple(f"{_where(cell)}: {cell.wrong:.1%}" for cell in wrong),
        ),
        Criterion(
            f"far cells decided rightly in >= {RIGHT_AT_LEAST:.0%} from the stated run length on ("
            + ", ".join(f"{name} {seconds} s" for name, seconds in STATED_SECONDS.items())
            + ")",
            tuple(f"{_where(cell)}: {cell.right:.1%}" for cell in undecided),
        ),
        Criterion("nowhere more wrong verdicts than either of k6's rules", tuple(worse)),
    )


def _place(cell: Cell, rule: str) -> tuple[str, str, float, int]:
    return rule, cell.pattern, cell.share, cell.seconds


def _where(cell: Cell) -> str:
    return f"{cell.pattern}, {cell.share:.1%}, {cell.seconds} s"
