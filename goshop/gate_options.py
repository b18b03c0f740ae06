"""What `goshop gate` was asked for, settled before anybody is asked and anything starts: the load to send, or the window to read."""

import subprocess
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Final, Literal

from app.faults import parse_faults
from goshop.addresses import require_address
from goshop.history import former_runs, history_file
from goshop.measurement import Job, WrongRequest, say
from goshop.prometheus import connect, matchers_of
from goshop.run import DEFAULT_ROOT
from goshop.series_source import Past, end_of, seconds_of
from goshop.target import require_target
from loadtests import PROFILES, Profile
from loadtests.plan import SCRIPT
from slo.gates import Gate
from slo.openslo.loading import load_gate_with_slos
from slo.verdict import Release

DEFAULT_GATE: Final = Path(__file__).parents[1] / "slo" / "specs" / "checkout.yaml"
# Shares of slow requests are compared under an arrival rate, whatever the gate's own profile is.
PAIRED: Final = "smoke"


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


def require_load_options(options: Options) -> None:
    """Make sure that nothing is said about series which nobody reads, and that a reason is one."""
    if options.ignore_budget and not options.ignore_budget.strip():
        raise WrongRequest("--ignore-budget: say why in words: they are in every report")
    # The budgets' series may be narrowed too.
    matches = () if options.prometheus else options.matches
    for name, given in (("--window", options.window), ("--end", options.end), ("--match", matches)):
        if given:
            raise WrongRequest(f"{name} is for --source prometheus: a load has its own time, and its own requests")


def asked_load(options: Options, gate: Gate) -> Job:
    """Settle what is to be measured, before anything starts; raises `WrongRequest` for what cannot be meant."""
    gate = _loadable(options, gate)
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


def _loadable(options: Options, gate: Gate) -> Gate:
    """Return the gate with the script that loads it."""
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


def paired_profile(options: Options) -> Profile:
    """Return what loads both sides of a comparison."""
    return _shortened(PROFILES[PAIRED], options)


def _shortened(profile: Profile, options: Options) -> Profile:
    return profile if options.shorten == 1.0 else profile.shortened(options.shorten)


def release_of(options: Options) -> Release:
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


def asked_window(options: Options) -> Past:
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
    gate, slos = load_gate_with_slos(options.gate)
    return Past(
        gate=gate,
        slos={slo.name: slo for slo in slos},
        prometheus=connect(options.prometheus),
        matchers=matchers_of(options.matches),
        seconds=seconds_of(options.window),
        end=end_of(options.end),
        release=Release(version=options.release),
        grafana=options.grafana,
    )


def _require_site(grafana: str) -> None:
    if grafana:
        instead = "whoever follows a link signs in"
        require_address(grafana, "--grafana", example="https://grafana.example.org", instead=instead)
