"""`goshop gate`: bring the shop up, load it, judge it, explain it, and leave the reports.

The parts are elsewhere: `goshop.shop` runs the shop, `loadtests` the load, `goshop.witnesses` reads what the shop says of
itself, `slo.gate` judges. This module puts them in order.
"""

import os
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import click

import loadtests
from app.faults import parse_faults
from goshop.processes import StartError, how_it_ended
from goshop.progress import Stage, loading
from goshop.run import DEFAULT_ROOT, RunFolder
from goshop.shop import GATEWAY, Shop
from goshop.witnesses import Reading, Watch
from loadtests import PROFILES, Arrivals, LoadError, LoadRun, Profile
from loadtests.seed import seed_shop
from slo.gate import Judgement, RunFacts, evaluate, write_reports
from slo.gates import Gate
from slo.load import LoadFacts
from slo.openslo.loading import load_gate
from slo.report.table import print_verdict
from slo.verdict import Release

DEFAULT_GATE: Final = Path(__file__).parents[1] / "slo" / "specs" / "checkout.yaml"
REPORTS: Final = ("verdict.json", "report.md", "report.html", "junit.xml")
# Requests that carry an Idempotency-Key: Go's HTTP client sends them again when a reused connection closes.
RESENDABLE: Final = frozenset({"POST /api/orders"})


class MeasurementFailed(Exception):
    """No verdict could be reached; the message says what to do."""


class WrongProfile(ValueError):
    """The profile does not exist, or cannot reach what the gate asks for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was asked for."""

    gate: Path = DEFAULT_GATE
    profile: str = ""
    faults: tuple[str, ...] = ()
    root: Path = DEFAULT_ROOT
    out: Path | None = None
    # For tests and drills: every planned time of the profile times this.
    shorten: float = 1.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """A judged run and where its reports are."""

    judgement: Judgement
    reports: tuple[Path, ...]
    run: RunFolder


def run_gate(options: Options) -> Outcome:
    """Judge the shop of this checkout.

    Raises `SpecificationError` for the specification, `WrongProfile`, `FaultError`, and `MeasurementFailed` or `StartError` when
    nothing could be measured. Main thread only.
    """
    gate = load_gate(options.gate)
    parse_faults(",".join(options.faults))
    profile = _profile(options, gate)
    _require_k6()
    if options.out is not None:
        # Said before a minute of load, not after it.
        with _writable(options.out):
            options.out.mkdir(parents=True, exist_ok=True)
    run = RunFolder.create(options.root)
    _remove_reports(options.out or run.path)
    try:
        facts = _measure(run, gate, profile, options)
    except (MeasurementFailed, StartError) as error:
        _report_failure(options.out or run.path, gate, profile, options, str(error))
        raise
    judgement = evaluate(facts)
    return Outcome(judgement, _report(options.out or run.path, judgement), run)


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


def _profile(options: Options, gate: Gate) -> Profile:
    name = options.profile or gate.profile
    if name not in PROFILES:
        raise WrongProfile(f"there is no profile {name!r}; there are {', '.join(PROFILES)}")
    profile = PROFILES[name]
    if gate.throughput_target is not None:
        try:
            profile.require_reach(gate.throughput_target)
        except ValueError as error:
            raise WrongProfile(str(error)) from None
    return profile if options.shorten == 1.0 else profile.shortened(options.shorten)


def _require_k6() -> None:
    try:
        loadtests.find_k6()
    except LoadError as error:
        raise MeasurementFailed(str(error)) from None


def _measure(run: RunFolder, gate: Gate, profile: Profile, options: Options) -> RunFacts:
    faults = ",".join(options.faults)
    with Shop.start(
        run, faults=faults, armed=False, environ=_without_other_telemetry(os.environ), progress=_say
    ) as shop:
        load, watch, after = _load(shop, gate, profile)
        ended = shop.ended()
    problems = _unplanned(ended, options.faults)
    if after is None and GATEWAY not in ended:
        problems = (*problems, "the gateway did not answer when the load had ended: its counters are lost")
    _say("judging")
    return RunFacts(
        gate=gate,
        samples=load.samples,
        load=load_facts(load, profile),
        url=shop.url,
        profile=profile.name,
        started=load.started,
        ended=load.ended,
        spans=watch.spans(),
        access_lines=watch.access_lines(),
        server_requests=None if after is None else watch.requests(after),
        dropped_spans=0 if after is None else watch.dropped_spans(after),
        kills={name: (at,) for name, at in watch.deaths.items()},
        resendable=RESENDABLE,
        faults=options.faults,
        release=_release(),
        problems=problems,
    )


def _load(shop: Shop, gate: Gate, profile: Profile) -> tuple[LoadRun, Watch, Reading | None]:
    data = shop.run.state / "seed.json"
    try:
        with Stage("preparing users, products and orders") as stage:
            seed_shop(shop.url, shop.admin, data, on_progress=lambda p: stage.update(p.done, p.total))
        watch = Watch(shop)
        shop.arm_faults()
        with loading(profile) as show_progress:

            def on_progress(progress: loadtests.Progress) -> None:
                watch.look()
                show_progress(progress)

            load = loadtests.run(profile, shop.url, data, shop.run.k6, script=gate.script, on_progress=on_progress)
    except LoadError as error:
        raise MeasurementFailed(str(error)) from None
    return load, watch, watch.drain()


def load_facts(load: LoadRun, profile: Profile) -> LoadFacts:
    """Say what the load generator did in the words of the judge."""
    begin = load.window[0]
    facts = partial(
        LoadFacts, begin=begin, seconds=profile.seconds, interrupted=load.interrupted, problems=load.problems
    )
    dropped = sum(drop.count for drop in load.drops if drop.at >= begin)
    if isinstance(profile.load, Arrivals):
        return facts(model="open", planned=profile.load.rate * profile.seconds, dropped=dropped)
    return facts(model="closed", users=load.users, dropped=dropped)


def _unplanned(ended: dict[str, int], faults: tuple[str, ...]) -> tuple[str, ...]:
    """Name services that died although no fault was to kill them."""
    planned = {fault.point.partition(".")[0] for fault in parse_faults(",".join(faults)) if fault.kind == "kill"}
    return tuple(f"{name} {how_it_ended(code)} during the load" for name, code in ended.items() if name not in planned)


def _release() -> Release:
    """Name what was judged: version and commit of this checkout, where it is one and git is there."""
    return Release(version=_git("describe", "--always", "--dirty", "--tags"), commit=_git("rev-parse", "HEAD"))


def _git(*arguments: str) -> str:
    here = str(Path(__file__).parents[1])
    try:
        done = subprocess.run(["git", "-C", here, *arguments], capture_output=True, text=True, check=False, timeout=10)
    except (OSError, subprocess.TimeoutExpired) as error:
        _say(f"the release has no name in the reports: {error}")
        return ""
    return "" if done.returncode else done.stdout.strip()


def _without_other_telemetry(environ: Mapping[str, str]) -> dict[str, str]:
    """Leave OpenTelemetry's variables out: the gate counts every span, in files of its own."""
    return {name: value for name, value in environ.items() if not name.startswith("OTEL_")}


def _remove_reports(folder: Path) -> None:
    """Remove an earlier run's reports: a run without a verdict must not leave somebody else's."""
    for name in REPORTS:
        (folder / name).unlink(missing_ok=True)


def _report(folder: Path, judgement: Judgement) -> tuple[Path, ...]:
    with _writable(folder):
        return write_reports(folder, judgement.verdict, judgement.evidence)


def _report_failure(folder: Path, gate: Gate, profile: Profile, options: Options, problem: str) -> None:
    """Leave the reports of a run that came to nothing, so that whoever reads only those learns why."""
    now = time.time()
    facts = RunFacts(
        gate=gate,
        samples=(),
        load=LoadFacts(model="open", begin=now, seconds=profile.seconds, problems=(problem,)),
        url="",
        profile=profile.name,
        started=now,
        ended=now,
        faults=options.faults,
        release=_release(),
    )
    try:
        _report(folder, evaluate(facts))
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


def _say(message: str) -> None:
    click.echo(f"goshop: {message} ...", err=True)
