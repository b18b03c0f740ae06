"""The reports of a gate: an earlier run's are gone, and whatever happens, a run leaves its own."""

import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from goshop.measurement import Job, MeasurementFailed
from goshop.run import RunFolder
from slo.gate import Judgement, RunFacts, evaluate, write_reports
from slo.load import LoadFacts
from slo.report.table import print_verdict

REPORTS: Final = ("verdict.json", "report.md", "report.html", "junit.xml")


@dataclass(frozen=True, slots=True)
class Outcome:
    """A judged run and where its reports are."""

    judgement: Judgement
    reports: tuple[Path, ...]
    run: RunFolder

    @property
    def markdown(self) -> Path:
        """The report that fits a job's summary."""
        return next(path for path in self.reports if path.suffix == ".md")


def show(outcome: Outcome, *, machine: bool) -> None:
    """Print the verdict on stdout: the table for people, verdict.json for machines; the files are named either way."""
    verdict = outcome.judgement.verdict
    if machine:
        sys.stdout.write(outcome.reports[0].read_text())
    else:
        print_verdict(verdict, sys.stdout)
    for path in outcome.reports:
        click.echo(f"  {_short(path)}", err=machine)


def _short(path: Path) -> Path:
    return path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path


def remove_reports(folder: Path) -> None:
    """Remove an earlier run's reports: a run without a verdict must not leave somebody else's."""
    for name in REPORTS:
        (folder / name).unlink(missing_ok=True)


def make_folder(folder: Path | None) -> None:
    """Make the folder that was asked for, None for none; raises `MeasurementFailed`."""
    if folder is not None:
        with _writable(folder):
            folder.mkdir(parents=True, exist_ok=True)


def write_reports_of(folder: Path, judgement: Judgement) -> tuple[Path, ...]:
    """Write the reports and return their paths, verdict.json first; raises `MeasurementFailed`."""
    with _writable(folder):
        return write_reports(folder, judgement.verdict, judgement.evidence)


def report_failure(folder: Path, job: Job, problem: str) -> None:
    """Leave the reports of a run that came to nothing, so that whoever reads only those learns why."""
    now = time.time()
    facts = RunFacts(
        gate=job.gate,
        samples=(),
        load=LoadFacts(model="open", begin=now, seconds=job.profile.seconds, problems=(problem,)),
        url=job.url,
        profile=job.profile.name,
        started=now,
        ended=now,
        faults=job.faults,
        release=job.release,
    )
    leave_reports(folder, evaluate(facts))


def leave_reports(folder: Path, judgement: Judgement) -> None:
    """Write the reports of a run that failed; where that fails too, it is only said."""
    try:
        write_reports_of(folder, judgement)
    except MeasurementFailed as error:
        # What brought us here matters more, and is raised.
        click.echo(f"goshop: {error}", err=True)


@contextmanager
def _writable(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise MeasurementFailed(
            f"{error.filename or folder}: {error.strerror}; the reports could not be written: free the disk, or name another folder with --out"
        ) from None
