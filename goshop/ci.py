"""What a job of GitHub's is told beside the files: annotations on its log, and the report as its summary."""

import os
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

import click

from goshop.measurement import MeasurementFailed
from goshop.processes import StartError
from slo.openslo.loading import SpecificationError
from slo.report.annotations import annotations, failure_annotation, fault_annotations
from slo.verdict import Verdict

# https://docs.github.com/en/actions/reference/workflows-and-actions/variables
IN_GITHUB: Final = "GITHUB_ACTIONS"
WORKSPACE: Final = "GITHUB_WORKSPACE"
SUMMARY: Final = "GITHUB_STEP_SUMMARY"


def is_asked(flag: bool | None) -> bool:  # noqa: FBT001 - what the command line said, None for nothing
    """Tell whether annotations are wanted: as said, otherwise whenever GitHub runs this."""
    return os.environ.get(IN_GITHUB) == "true" if flag is None else flag


def annotate(verdict: Verdict, specification: Path, *, machine: bool) -> None:
    """Print the annotations of a verdict, on stderr where stdout is for a machine: the runner reads both."""
    _print(annotations(verdict, _in_workspace(specification)), machine=machine)


@contextmanager
def refusals_annotated(*, wanted: bool, machine: bool) -> Iterator[None]:
    """Print the annotations of what keeps a verdict from being reached, and raise it again."""
    try:
        yield
    except SpecificationError as error:
        if wanted:
            _print(fault_annotations(error.faults, _in_workspace), machine=machine)
        raise
    except (MeasurementFailed, StartError) as error:
        if wanted:
            _print([failure_annotation(str(error))], machine=machine)
        raise


def append_summary(report: Path) -> None:
    """Append a report to the job's summary, where there is one; raises OSError."""
    if name := os.environ.get(SUMMARY, ""):
        with Path(name).open("a", encoding="utf-8") as summary:
            summary.write(report.read_text(encoding="utf-8"))


def _print(lines: Iterable[str], *, machine: bool) -> None:
    for line in lines:
        click.echo(line, err=machine)


def _in_workspace(path: Path | str) -> str:
    """Return a path as annotations want it: from the root of the checkout, where it lies in there."""
    whole, root = Path(path).absolute(), Path(os.environ.get(WORKSPACE) or Path.cwd())
    return str(whole.relative_to(root) if whole.is_relative_to(root) else whole)
