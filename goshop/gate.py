"""`goshop gate`: load the shop, or any service, judge it, explain it, and leave the reports.

The parts are elsewhere: `goshop.own_shop` measures the shop of this checkout, `goshop.target` a service that runs already,
`slo.gate` judges. This module puts them in order.
"""

import shutil
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

import click

import loadtests
from app.faults import parse_faults
from goshop.addresses import parts_of
from goshop.baseline import Opponent, judge_beside, prepare, settle
from goshop.budget import Asked, asked_budgets, slos_of
from goshop.history import former_runs, history_file, remember
from goshop.interrupts import Interrupts
from goshop.measurement import Job, MeasurementFailed, WrongRequest, say
from goshop.own_shop import measure_shop
from goshop.processes import StartError
from goshop.prometheus import connect, matchers_of
from goshop.run import DEFAULT_ROOT, RunFolder
from goshop.series_source import Past, end_of, measure_window, seconds_of, unread
from goshop.target import measure_url, require_target
from loadtests import PROFILES, LoadError, Profile
from loadtests.plan import SCRIPT
from slo.freezing import frozen
from slo.gate import Judgement, RunFacts, evaluate, write_reports
from slo.gates import Gate
from slo.history import former_run
from slo.load import LoadFacts
from slo.openslo.loading import load_gate
from slo.report.table import print_verdict
from slo.series_gate import evaluate_series
from slo.verdict import Release

DEFAULT_GATE: Final = Path(__file__).parents[1] / "slo" / "specs" / "checkout.yaml"
# Shares of slow requests are compared under an arrival rate, whatever the gate's own profile is.
PAIRED: Final = "smoke"
REPORTS: Final = ("verdict.json", "report.md", "report.html", "junit.xml")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was asked for."""

    gate: Path = DEFAULT_GATE
    # A service that runs already, in place of the shop of this checkout.
    url: str = ""
    # In place of the gate's.
    script: Path | None = None
    profile: str = ""
    # What is judged, where it is not this checkout.
    release: str = ""
    # Where links to dashboards, traces and logs lead to; none without it.
    grafana: str = ""
    # Names of environment variables that a foreign script may read.
    variables: tuple[str, ...] = ()
    # Whether a gross failure ends the load.
    early_stop: bool = True
    # The file of former runs; "" for the gate's own below `root`, "none" for none.
    history: str = ""
    faults: tuple[str, ...] = ()
    root: Path = DEFAULT_ROOT
    out: Path | None = None
    # An address, or a revision of this checkout, to compare with.
    baseline: str | None = None
    # How many pairs of runs; None for as many as a comparison without a margin needs.
    pairs: int | None = None
    # The Prometheus that knows the error budgets, and, as a source, the series of the window.
    prometheus: str = ""
    # Why a spent budget does not count.
    ignore_budget: str = ""
    # Whether a load is sent, or series are read: those that `matches` select, of `window` up to `end`.
    source: Literal["k6", "prometheus"] = "k6"
    window: str = ""
    end: str = ""
    matches: tuple[str, ...] = ()
    # For tests and drills: every planned time of the profile times this.
    shorten: float = 1.0


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


def run_gate(options: Options) -> Outcome:
    """Judge the shop of this checkout, or any service that runs already.

    Raises `SpecificationError` for the specification, `WrongRequest`, `FaultError`, and `MeasurementFailed` or `StartError` when
    nothing could be measured. Main thread only.
    """
    if options.source == "prometheus":
        return _run_source(options)
    # What was asked for wrongly (exit 2) is said before what is missing (5): git's repository, then k6.
    _require_load(options)
    job = _job(options)
    asked = asked_budgets(options.prometheus, options.ignore_budget, slos_of(options.gate), options.matches)
    opponent = settle(options.baseline, options.pairs, options.url, _shortened(PROFILES[PAIRED], options))
    _require_k6()
    job = replace(job, release=_release(options))
    if options.out is not None:
        # Said before a minute of load, not after it.
        with _writable(options.out):
            options.out.mkdir(parents=True, exist_ok=True)
    with _running(options.root) as run:
        return _judge(options, run, job, opponent, asked)


@contextmanager
def _running(root: Path) -> Iterator[RunFolder]:
    """Make the folder of a run; its state, which has tokens of a shop in it, is gone afterwards, on SIGTERM and SIGHUP too."""
    with Interrupts() as interrupts:
        run = RunFolder.create(root)
        try:
            yield run
        finally:
            interrupts.hold()
            shutil.rmtree(run.state, ignore_errors=True)


def _judge(options: Options, run: RunFolder, job: Job, opponent: Opponent | None, asked: Asked | None) -> Outcome:
    _remove_reports(options.out or run.path)
    try:
        budgets = asked.budgets() if asked else None
        if budgets and budgets.freezes:
            judgement = frozen(job.gate, job.release, budgets, url=job.url, profile=job.profile.name)
            if opponent is not None:
                judgement = judge_beside(opponent, run, options.root, job, judgement)
            return Outcome(judgement, _report(options.out or run.path, judgement), run)
        if opponent is not None:
            opponent = prepare(opponent, run, options.root, job)
        facts = measure_url(run, job) if job.url else measure_shop(run, job)
    except (MeasurementFailed, StartError) as error:
        _report_failure(options.out or run.path, job, str(error))
        raise
    judgement = evaluate(replace(facts, grafana=options.grafana, history=job.history, budget=budgets))
    if opponent is not None:
        judgement = judge_beside(opponent, run, options.root, job, judgement)
    remember(
        history_file(options.history, options.root, job.gate.name), former_run(judgement.verdict, job.gate, job.url)
    )
    return Outcome(judgement, _report(options.out or run.path, judgement), run)


def _run_source(options: Options) -> Outcome:
    """Judge a release by what series say of it: no load, nothing to reconcile with, no history to learn from."""
    past = _past(options)
    if options.out is not None:
        with _writable(options.out):
            options.out.mkdir(parents=True, exist_ok=True)
    run = RunFolder.create(options.root)
    folder = options.out or run.path
    _remove_reports(folder)
    try:
        facts = measure_window(past)
    except MeasurementFailed as error:
        _leave(folder, evaluate_series(unread(past, str(error))))
        raise
    judgement = evaluate_series(facts)
    return Outcome(judgement, _report(folder, judgement), run)


def _past(options: Options) -> Past:
    """Settle which series are read, before anybody is asked; raises `WrongRequest`."""
    about_load = {
        "--url": options.url,
        "--script": options.script,
        "--env": options.variables,
        "--profile": options.profile,
        "--fault": options.faults,
        "--baseline": options.baseline,
        "--pairs": options.pairs,
        "--history": options.history,
        "--ignore-budget": options.ignore_budget,
        "--no-early-stop": not options.early_stop,
    }
    for name, given in about_load.items():
        if given:
            raise WrongRequest(f"{name}: --source prometheus sends no load, and asks for no budget; leave it out")
    _require_site(options.grafana)
    return Past(
        gate=load_gate(options.gate),
        slos={slo.name: slo for slo in slos_of(options.gate)},
        prometheus=connect(options.prometheus),
        matchers=matchers_of(options.matches),
        seconds=seconds_of(options.window),
        end=end_of(options.end),
        release=Release(version=options.release),
        grafana=options.grafana,
    )


def _require_load(options: Options) -> None:
    """Make sure that nothing is said about series which nobody reads, and that a reason is one."""
    if options.ignore_budget and not options.ignore_budget.strip():
        raise WrongRequest("--ignore-budget: say why in words: they are in every report")
    # The budgets' series may be narrowed too.
    matches = () if options.prometheus else options.matches
    for name, given in (("--window", options.window), ("--end", options.end), ("--match", matches)):
        if given:
            raise WrongRequest(f"{name} is for --source prometheus: a load has its own time, and its own requests")


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


def _job(options: Options) -> Job:
    """Settle what is to be measured, before anything starts; raises `WrongRequest` for what cannot be meant."""
    gate = _gate(options)
    return Job(
        gate=gate,
        profile=_profile(options, gate),
        release=Release(version=options.release),
        url=options.url,
        faults=options.faults,
        variables=options.variables,
        early_stop=options.early_stop,
        history=former_runs(history_file(options.history, options.root, gate.name), options.url),
    )


def _gate(options: Options) -> Gate:
    gate = load_gate(options.gate)
    if options.script is not None:
        if not options.script.is_file():
            raise WrongRequest(f"--script: there is no such file: {options.script}")
        gate = replace(gate, script=options.script.resolve())
    parse_faults(",".join(options.faults))
    _require_site(options.grafana)
    if options.url or options.variables:
        require_target(options.url, gate, options.variables)
        if options.faults:
            raise WrongRequest("--fault breaks the shop that the gate starts itself: leave it out, or leave out --url")
    return gate


def _require_site(grafana: str) -> None:
    if grafana and parts_of(grafana) is None:
        raise WrongRequest(f"expected an address such as https://grafana.example.org for --grafana, got {grafana!r}")


def _profile(options: Options, gate: Gate) -> Profile:
    name = options.profile or gate.profile
    if name not in PROFILES:
        raise WrongRequest(f"there is no profile {name!r}; there are {', '.join(PROFILES)}")
    profile = PROFILES[name]
    # How many requests an iteration of a foreign script sends is its own.
    foreign = options.url and gate.script != SCRIPT
    if gate.throughput_target is not None and not foreign:
        try:
            profile.require_reach(gate.throughput_target)
        except ValueError as error:
            raise WrongRequest(str(error)) from None
    return _shortened(profile, options)


def _shortened(profile: Profile, options: Options) -> Profile:
    return profile if options.shorten == 1.0 else profile.shortened(options.shorten)


def _require_k6() -> None:
    try:
        loadtests.find_k6()
    except LoadError as error:
        raise MeasurementFailed(str(error)) from None


def _release(options: Options) -> Release:
    """Name what was judged: as said, or version and commit of this checkout, where it is one and git is there."""
    if options.url or options.release:
        return Release(version=options.release)
    return Release(version=_git("describe", "--always", "--dirty", "--tags"), commit=_git("rev-parse", "HEAD"))


def _git(*arguments: str) -> str:
    here = str(Path(__file__).parents[1])
    try:
        done = subprocess.run(["git", "-C", here, *arguments], capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired) as error:
        say(f"the release has no name in the reports: {error}")
        return ""
    return "" if done.returncode else done.stdout.strip()


def _remove_reports(folder: Path) -> None:
    """Remove an earlier run's reports: a run without a verdict must not leave somebody else's."""
    for name in REPORTS:
        (folder / name).unlink(missing_ok=True)


def _report(folder: Path, judgement: Judgement) -> tuple[Path, ...]:
    with _writable(folder):
        return write_reports(folder, judgement.verdict, judgement.evidence)


def _report_failure(folder: Path, job: Job, problem: str) -> None:
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
    _leave(folder, evaluate(facts))


def _leave(folder: Path, judgement: Judgement) -> None:
    try:
        _report(folder, judgement)
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
