"""The verdict as JUnit XML: one test case for each objective, and one each for the load and the reconciliation.

Form: https://github.com/testmoapp/junitxml. A missed objective is a failure; what could not be measured is an error, and what did not count is skipped.
"""

from collections.abc import Iterator
from datetime import datetime

from slo.report import comparison, figures
from slo.report.foreign import attribute
from slo.report.table import reconciliation_line
from slo.verdict import NOT_A_RELEASE, ObjectiveResult, Verdict


def render_junit(verdict: Verdict) -> str:
    """Return the JUnit XML document."""
    cases = [*_objectives(verdict), *_comparison(verdict), *_budget(verdict), _load(verdict), *_reconciliation(verdict)]
    kinds = ("failure", "error", "skipped")
    failures, errors, skipped = (sum(f"<{kind} message=" in case for case in cases) for kind in kinds)
    seconds = (datetime.fromisoformat(verdict.ended) - datetime.fromisoformat(verdict.started)).total_seconds()
    suite = (
        f'<testsuite name={attribute(f"goshop gate {verdict.gate}")} tests="{len(cases)}" '
        f'failures="{failures}" errors="{errors}" skipped="{skipped}" '
        f'timestamp={attribute(verdict.started)} time="{seconds:.3f}">'
    )
    head = ('<?xml version="1.0" encoding="UTF-8"?>', "<testsuites>", suite, *_properties(verdict))
    return "\n".join((*head, *cases, "</testsuite>", "</testsuites>")) + "\n"


def _properties(verdict: Verdict) -> Iterator[str]:
    found = {"url": verdict.url, "profile": verdict.profile, "verdict": verdict.verdict}
    if verdict.faults:
        found |= {"faults": ", ".join(verdict.faults), "note": NOT_A_RELEASE}
    yield "<properties>"
    for name, value in found.items():
        yield f"<property name={attribute(name)} value={attribute(value)}/>"
    yield "</properties>"


def _objectives(verdict: Verdict) -> Iterator[str]:
    for result in verdict.objectives:
        yield _case(verdict, figures.title(result), _kind(result), _sentence(verdict, result))


def _kind(result: ObjectiveResult) -> str:
    return {"met": "", "missed": "failure", "inconclusive": "error"}[result.outcome]


def _sentence(verdict: Verdict, result: ObjectiveResult) -> str:
    return f"{figures.actual(verdict, result)}, wanted {figures.target(result)}: {figures.interval(result)}; {result.reason}"


def _load(verdict: Verdict) -> str:
    return _case(verdict, "load", "" if verdict.load.healthy else "error", "; ".join(verdict.load.problems))


def _comparison(verdict: Verdict) -> Iterator[str]:
    found = verdict.baseline
    if found is not None:
        # None: a comparison that failed is an error of the load.
        kind = {"yes": "failure", "inconclusive": "error", "no": "", None: "skipped"}[found.regression]
        yield _case(verdict, "baseline", kind, comparison.short(found))


def _budget(verdict: Verdict) -> Iterator[str]:
    if verdict.budget is not None:
        warnings = "; ".join(figures.budget_warnings(verdict.budget))
        # A spent budget that did not count is no test that was passed.
        not_counted = "skipped" if warnings else ""
        yield _case(verdict, "error budget", "failure" if verdict.budget.freezes else not_counted, warnings)


def _reconciliation(verdict: Verdict) -> Iterator[str]:
    if verdict.source is not None or verdict.verdict == "frozen":
        return
    disagree = verdict.reconciliation.agree is False
    yield _case(verdict, "reconciliation", "error" if disagree else "", reconciliation_line(verdict.reconciliation))


def _case(verdict: Verdict, name: str, kind: str, message: str) -> str:
    opening = f"<testcase classname={attribute(f'gate.{verdict.gate}')} name={attribute(name)}"
    return f"{opening}><{kind} message={attribute(message)}/></testcase>" if kind else f"{opening}/>"
