"""How figures are spelled, the same in every rendering."""

from collections.abc import Iterator
from typing import Final

from slo.budget import Budgets
from slo.gates import PER_SECOND, RATIO, SECONDS
from slo.statistics import Outcome
from slo.verdict import NOT_A_RELEASE, Cause, Load, ObjectiveResult, Verdict, Word

NOTHING: Final = "-"

MET: Final[dict[Outcome, str]] = {"met": "yes", "missed": "NO", "inconclusive": "undecided"}
SENTENCES: Final[dict[Word, str]] = {
    "pass": "Every objective is met.",
    "fail": "An objective is missed.",
    "inconclusive": "The run can't decide: an interval spans its target.",
    "regression": "Worse than the baseline.",
    "error": "The measurement failed: this says nothing about the release.",
    "frozen": "The error budget is spent: releases are frozen.",
}


def seconds(value: float | None) -> str:
    """Return a time as milliseconds below a second, as seconds from there on."""
    if value is None:
        return NOTHING
    milliseconds = value * 1000
    if milliseconds < 10:  # noqa: PLR2004 - three digits are enough
        return f"{milliseconds:.2f} ms"
    return f"{milliseconds:.0f} ms" if value < 1 else f"{value:.2f} s"


def percent(value: float | None) -> str:
    """Return a share in per cent, with three digits at most where it is small."""
    if value is None:
        return NOTHING
    digits = 3 if value < 0.1 else 1  # noqa: PLR2004 - a share of 33.333 % is no better known than one of 33.3 %
    return f"{value * 100:.{digits}f}".rstrip("0").rstrip(".") + " %"


def amount(value: float | None, unit: str) -> str:
    """Return a figure with its unit."""
    if value is None:
        return NOTHING
    if unit == SECONDS:
        return seconds(value)
    return percent(value) if unit == RATIO else f"{value:.1f} {unit}"


def actual(verdict: Verdict, result: ObjectiveResult) -> str:
    """Return what was measured; of a load, a percentile that falls on a request without an answer has no figure."""
    unanswered = result.actual is None and result.bad > 0 and verdict.source is None
    return "no answer" if unanswered else amount(result.actual, result.unit)


def target(result: ObjectiveResult) -> str:
    """Return the target as a specification spells it."""
    unit = f" {result.unit}" if result.unit not in {SECONDS, RATIO} else ""
    if result.unit == SECONDS:
        return f"{result.op} {round(result.target * 1000, 3):g} ms"
    if result.unit == RATIO:
        return f"{result.op} {result.target * 100:g} %"
    return f"{result.op} {result.target:g}{unit}"


def interval(result: ObjectiveResult) -> str:
    """Return what was judged: the interval of the bad share against its budget, or of the rate."""
    if result.bad_share_interval is not None:
        low, high = result.bad_share_interval
        bad = "not completed" if result.unit == PER_SECOND else "bad"
        return f"{bad} {percent(low)} to {percent(high)}, budget {percent(result.budget)}{_from_history(result)}"
    if result.interval is not None:
        low, high = result.interval
        return f"{low:.1f} to {high:.1f} {result.unit}"
    return NOTHING


def _from_history(result: ObjectiveResult) -> str:
    """Say where the interval is as wide as former runs make it, and not this one."""
    former = result.former
    if former is None or result.design_effect != former.design_effect_floor:
        return ""
    return f", design effect {result.design_effect:.1f} of the last {former.runs} runs"


def title(result: ObjectiveResult) -> str:
    """Return the objective's name, with its endpoint where it has one."""
    return f"{result.name} {result.endpoint}".rstrip()


def place(cause: Cause) -> str:
    """Return where a cause is, as one phrase."""
    table = f" on {cause.table}" if cause.table else ""
    return f"{cause.service}: {cause.span}{table}"


def generator(load: Load) -> str:
    """Return what is known of the load generator's own part in what it measured."""
    parts = []
    if load.client_minus_server_p99 is not None:
        parts.append(f"client minus server P99 {seconds(load.client_minus_server_p99)}")
    if load.cpu_share is not None:
        parts.append(f"k6 used {percent(load.cpu_share)} of the CPU time")
    if load.cpu_wait is not None:
        parts.append(f"a request waited {seconds(load.cpu_wait)} for a CPU on average")
    return ", ".join(parts) or "nothing is known of k6's own part"


def sentence(verdict: Verdict) -> str:
    """Return the verdict as a sentence."""
    if verdict.baseline is None or verdict.baseline.regression is None:
        return SENTENCES[verdict.verdict]
    if verdict.verdict == "pass":
        return "Every objective is met, and nothing is worse than the baseline."
    undecided = any(result.outcome == "inconclusive" for result in verdict.objectives)
    if verdict.verdict == "inconclusive" and not undecided:
        return "Every objective is met, but the pairs can't decide whether it is worse than the baseline."
    return SENTENCES[verdict.verdict]


def warnings(verdict: Verdict) -> tuple[str, ...]:
    """Return what must be said with every rendering: injected faults, error budgets, and why a measurement failed."""
    injected = (f"{NOT_A_RELEASE} ({', '.join(verdict.faults)})",) if verdict.faults else ()
    return (*injected, *budget_warnings(verdict.budget), *verdict.load.problems)


def budget_warnings(budgets: Budgets | None) -> Iterator[str]:
    """Yield which error budgets are spent or not known, and why they did not count."""
    if budgets is None:
        return
    if budgets.ignored:
        yield f"The error budgets did not count: {budgets.ignored}"
    words = {"spent": "the error budget is spent", "unknown": "nobody knows the error budget"}
    for budget in (*budgets.spent, *budgets.unknown):
        yield f"{budget.slo}: {words[budget.state]}: {budget.reason}"


def source(verdict: Verdict) -> str:
    """Return what was judged without a load, "" where one was sent."""
    if verdict.source is None:
        return ""
    narrowed = f" with {', '.join(verdict.source.matchers)}" if verdict.source.matchers else ""
    remarks = "".join(f"; {remark}" for remark in verdict.source.remarks)
    # First what must not be cut off.
    return f"no load was sent; series of {verdict.source.seconds:g} s{narrowed}{remarks}"
