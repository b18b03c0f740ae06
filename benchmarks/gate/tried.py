"""What was tried to improve on the rule: other numbers of blocks, no design effect, and a floor learned from history."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Final

from benchmarks.gate.rules import BUDGET, Release, Verdict, interval_rule, simulate
from benchmarks.gate.streams import PATTERNS, RATE, Pattern, wandering
from slo.history import design_effect_floor
from slo.statistics import block_count, clopper_pearson, correction, design_effect

# So many verdicts are kept one by one.
KEPT: Final = 5
SHARES: Final = (0.002, 0.009, 0.011, 0.03)
SECONDS: Final = (30, 60, 300, 600)
FORMER_RUNS: Final = 20
# So many different histories are drawn; the releases take turns.
HISTORIES: Final = 10
# Former releases are numbered from here on, so that none of them is judged.
FORMER: Final = 1_000_000
SLOW_MEMORY: Final = 15.0


STREAMS: Final = (
    *PATTERNS,
    Pattern("correlated 15 s", "correlation time 15 s, CV 60 %", SLOW_MEMORY, wandering(SLOW_MEMORY)),
)


@dataclass(frozen=True, slots=True)
class Attempt:
    """What a variant of the rule said in one cell: shares of wrong and of right verdicts.

    `first` holds the verdicts on the first releases as letters (p, f, i), for a test to make again.
    """

    variant: str
    pattern: str
    share: float
    seconds: int
    wrong: float
    right: float
    first: str


Variant = Callable[[Release, Pattern, int, int], Verdict]


def _blocks(count: Callable[[int], int]) -> Variant:
    return lambda made, _pattern, seconds, _number: interval_rule(made, seconds, count(seconds))


def _longest(most: int, block: float) -> Callable[[int], int]:
    """Return the rule's number of blocks with another maximum and another length of the long blocks."""
    return lambda seconds: max(6, min(8, int(seconds / 5)), min(most, int(seconds / block)))


def _without_effect(made: Release, _pattern: Pattern, seconds: int, _number: int) -> Verdict:
    """Judge by Clopper and Pearson's interval, as if requests were independent."""
    return _clopper_pearson_rule(seconds * RATE, made.bad(seconds) / (seconds * RATE))


def _at_budget(made: Release, _pattern: Pattern, seconds: int, _number: int) -> Verdict:
    """Judge by the variance that the blocks would have if the share were the budget.

    Where the share of a run wanders, its variance between blocks goes with the square of the share: the excess of the
    design effect over 1 with the share itself. A run that happened to be good has a variance that is too small.
    """
    blocks = made.blocks(seconds, block_count(seconds))
    total, bad = sum(block.total for block in blocks), sum(block.bad for block in blocks)
    if not bad:
        return interval_rule(made, seconds, len(blocks))
    effect = 1 + (design_effect(blocks) - 1) * BUDGET * total / bad
    return _clopper_pearson_rule(total / (effect * correction(len(blocks))), bad / total)


def _at_budget_above(made: Release, pattern: Pattern, seconds: int, number: int) -> Verdict:
    """Judge so only where the share is above the budget: a failure is shown sooner, a pass is as it was."""
    if made.bad(seconds) > BUDGET * seconds * RATE:
        return _at_budget(made, pattern, seconds, number)
    return interval_rule(made, seconds, block_count(seconds))


def _clopper_pearson_rule(total: float, share: float) -> Verdict:
    low, high = clopper_pearson(total, share * total)
    if high <= BUDGET:
        return "pass"
    return "fail" if low > BUDGET else "inconclusive"


def _with_history(*kept: Verdict) -> Variant:
    """Return the rule with a floor from those of the former runs that ended so, judged without one."""

    def judge(made: Release, pattern: Pattern, seconds: int, number: int) -> Verdict:
        floor = _floor(pattern, seconds, number % HISTORIES, kept)
        return interval_rule(made, seconds, block_count(seconds), floor)

    return judge


@cache
def _floor(pattern: Pattern, seconds: int, history: int, kept: tuple[Verdict, ...]) -> float:
    """Learn a floor from former runs of the same length, of releases at 90 % of the budget."""
    first, count = FORMER + history * FORMER_RUNS, block_count(seconds)
    runs = [simulate(pattern, 0.009, number, seconds) for number in range(first, first + FORMER_RUNS)]
    learned = [run.blocks(seconds, count) for run in runs if interval_rule(run, seconds, count) in kept]
    return design_effect_floor(learned, seconds * RATE)


VARIANTS: Final[dict[str, Variant]] = {
    "no design effect": _without_effect,
    "5 s blocks, however many": _blocks(lambda seconds: max(6, seconds // 5)),
    "6 to 8 blocks (before)": _blocks(_longest(8, 30)),
    "to 16 blocks of 15 s": _blocks(_longest(16, 15)),
    "to 16 blocks of 30 s (ours)": _blocks(block_count),
    "to 32 blocks of 15 s": _blocks(_longest(32, 15)),
    "ours, variance at the budget": _at_budget,
    "ours, the same for failures only": _at_budget_above,
    f"ours, floor from {FORMER_RUNS} former runs": _with_history("pass", "inconclusive", "fail"),
    f"ours, floor from those of {FORMER_RUNS} that did not fail": _with_history("pass", "inconclusive"),
    f"ours, floor from those of {FORMER_RUNS} that passed": _with_history("pass"),
}


def attempts(releases: int) -> Iterator[Attempt]:
    """Judge the same releases by every variant."""
    for pattern in STREAMS:
        for share in SHARES:
            made = [simulate(pattern, share, number, SECONDS[-1]) for number in range(releases)]
            for seconds in SECONDS:
                for name, variant in VARIANTS.items():
                    verdicts = [variant(each, pattern, seconds, number) for number, each in enumerate(made)]
                    yield _attempt(name, pattern, share, seconds, verdicts)


def _attempt(variant: str, pattern: Pattern, share: float, seconds: int, verdicts: Sequence[Verdict]) -> Attempt:
    right: Verdict = "fail" if share > BUDGET else "pass"
    count = len(verdicts)
    rightly, open_ones = verdicts.count(right), verdicts.count("inconclusive")
    wrongly = count - rightly - open_ones
    first = "".join(verdict[0] for verdict in verdicts[:KEPT])
    return Attempt(variant, pattern.name, share, seconds, wrongly / count, rightly / count, first)
