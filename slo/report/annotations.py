"""The verdict as GitHub's workflow commands: what is wrong stands beside the specification in the change that brought it.

Form and escaping: https://docs.github.com/en/actions/reference/workflows-and-actions/workflow-commands and
https://github.com/actions/toolkit/blob/main/packages/core/src/command.ts. A step shows ten of each level at most.
"""

from collections.abc import Callable, Iterable, Iterator
from typing import Final, Literal

from slo.report import comparison, figures
from slo.report.foreign import plain
from slo.strict_yaml import Fault
from slo.verdict import NOT_A_RELEASE, Baseline, ObjectiveResult, Verdict

Level = Literal["error", "warning", "notice"]

_DATA: Final = {"%": "%25", "\r": "%0D", "\n": "%0A"}
_PROPERTY: Final = {**_DATA, ":": "%3A", ",": "%2C"}


def annotations(verdict: Verdict, file: str) -> Iterator[str]:
    """Yield a workflow command for each thing that a reader must know; `file` is the specification's path."""
    for problem in verdict.load.problems:
        yield _command("error", f"{verdict.gate}: the measurement failed", problem, file=file)
    for warning in figures.budget_warnings(verdict.budget):
        level: Level = "error" if verdict.verdict == "frozen" else "warning"
        yield _command(level, f"{verdict.gate}: error budget", warning, file=file)
    if verdict.load.healthy and verdict.verdict != "frozen":
        for result in verdict.objectives:
            yield from _objective(verdict, result, file)
    if verdict.baseline is not None:
        yield from _comparison(verdict, verdict.baseline, file)
    if verdict.faults:
        yield _command("notice", verdict.gate, f"{NOT_A_RELEASE} ({', '.join(verdict.faults)})")
    if verdict.releases:
        yield _command("notice", f"{verdict.gate}: pass", figures.sentence(verdict))


def _comparison(verdict: Verdict, baseline: Baseline, file: str) -> Iterator[str]:
    levels: dict[str | None, Level] = {"yes": "error", "inconclusive": "warning"}
    if level := levels.get(baseline.regression):
        word = "regression" if level == "error" else "inconclusive"
        yield _command(level, f"{verdict.gate}: {word}", comparison.short(baseline), file=file)


def fault_annotations(faults: Iterable[Fault], locate: Callable[[str], str]) -> Iterator[str]:
    """Yield a workflow command for each fault of a specification, at its place; `locate` says what its file is called."""
    for fault in faults:
        place = {"file": locate(fault.file), "line": str(fault.line), "col": str(fault.column)}
        yield _command("error", "specification", fault.message, **place)


def failure_annotation(message: str) -> str:
    """Return the workflow command for a measurement that came to nothing."""
    return _command("error", "the measurement failed", message)


def _objective(verdict: Verdict, result: ObjectiveResult, file: str) -> Iterator[str]:
    if result.outcome == "met":
        return
    said = f"{figures.actual(verdict, result)}, wanted {figures.target(result)}: {figures.interval(result)}; {result.reason}"
    causes = [cause for cause in verdict.causes if cause.objective == result.name]
    where = "".join(f"\n{cause.share:.0%} in {figures.place(cause)}" for cause in causes)
    level: Level = "error" if result.outcome == "missed" else "warning"
    yield _command(level, f"{verdict.gate}: {figures.title(result)} {result.outcome}", said + where, file=file)


def _command(level: Level, title: str, message: str, **properties: str) -> str:
    """Return one command; each line of the message is made harmless, the line feeds between them are ours."""
    lines = "\n".join(plain(line) for line in message.split("\n"))
    named = {**properties, "title": title}
    listed = ",".join(f"{key}={_escaped(plain(value), _PROPERTY)}" for key, value in named.items())
    return f"::{level} {listed}::{_escaped(lines, _DATA)}"


def _escaped(text: str, escapes: dict[str, str]) -> str:
    return "".join(escapes.get(character, character) for character in text)
