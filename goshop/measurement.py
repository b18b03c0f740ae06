"""What every way of measuring a release has in common: what can go wrong with it, and what the load was in the judge's words."""

from collections.abc import Iterator
from dataclasses import dataclass
from functools import partial

import click

from goshop.run import RunFolder
from goshop.stopping import GrossFailure
from loadtests import Arrivals, LoadRun, Profile, Scripted
from loadtests.plan import WARMUP
from slo.gates import Gate
from slo.history import FormerRun
from slo.load import LoadFacts
from slo.report.foreign import spoken
from slo.verdict import Release
from telemetry.conventions import LOAD_SERVICE


class MeasurementFailed(Exception):
    """No verdict could be reached; the message says what to do."""


class WrongRequest(ValueError):
    """What was asked for cannot be: no such profile, a profile that cannot reach its target, options that do not fit."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Job:
    """What is to be measured, when everything about it is settled; `url` "" is the shop of this checkout."""

    gate: Gate
    profile: Profile
    release: Release
    url: str = ""
    faults: tuple[str, ...] = ()
    # Names of environment variables that a foreign script may read.
    variables: tuple[str, ...] = ()
    # Whether a gross failure ends the load.
    early_stop: bool = True
    # Former runs of what is judged, the latest last.
    history: tuple[FormerRun, ...] = ()

    def watch(self) -> GrossFailure | None:
        """Return what looks at the load while it runs."""
        return GrossFailure(self.gate) if self.early_stop else None


def load_facts(load: LoadRun, profile: Profile, gross: GrossFailure | None = None) -> LoadFacts:
    """Say what the load generator did in the words of the judge; `gross` is what may have ended it early."""
    begin = load.window[0]
    stopped = gross.reasons if gross and load.stopped else {}
    facts = partial(
        LoadFacts,
        begin=begin,
        seconds=gross.seconds(begin, profile.seconds) if gross and stopped else profile.seconds,
        interrupted=load.interrupted,
        problems=load.problems,
        doubts=load.doubts,
        cpu_share=load.cpu_share,
        cpu_wait=load.cpu_wait / len(load.samples) if load.cpu_wait is not None and load.samples else None,
        stopped=stopped,
    )
    each = requests_per_iteration(load) if isinstance(profile.load, Scripted) else 1.0
    drops = tuple(judged_drops(load, profile, each))
    planned = planned_iterations(profile)
    if planned is None:
        return facts(model="closed", users=load.users, drops=drops)
    # What was ended early was not to be offered in full.
    return facts(model="open", planned=None if stopped else each * planned, drops=drops)


def planned_iterations(profile: Profile) -> float | None:
    """Return how many iterations the judged time of an open model has; None for a closed one."""
    load = profile.load
    if isinstance(load, Arrivals):
        return load.rate * profile.seconds
    if isinstance(load, Scripted) and load.open:
        return sum(scenario.iterations or 0 for scenario in load.judged)
    return None


def judged_drops(load: LoadRun, profile: Profile, each: float) -> Iterator[tuple[float, float]]:
    """Yield when (unix s) how many requests were not sent, `each` an iteration; k6 says when it should have begun.

    The warm-up's are not among them, also where a script warms up one part while another one is judged.
    """
    own = profile.load.scenarios if isinstance(profile.load, Scripted) else None
    warming = {WARMUP} if own is None else {scenario.name for scenario in own if scenario.warmup}
    for drop in load.drops:
        if drop.at >= load.window[0] and drop.scenario not in warming:
            yield drop.at, each * drop.count


def requests_per_iteration(load: LoadRun) -> float:
    """Return how many requests an iteration sent on average; 1 where none ended."""
    sent = sum(bool(sample.scenario) for sample in load.samples)
    return sent / load.iterations if load.iterations else 1.0


def leave_client_spans(load: LoadRun, run: RunFolder) -> None:
    """Write the load's own span of each request beside those of the services; it tells people when it cannot."""
    from loadtests.client_spans import write_client_spans  # noqa: PLC0415 - slow, and not needed to load anything
    from telemetry.span_queue import Unavailable  # noqa: PLC0415 - beside it

    try:
        write_client_spans(load, run.span_file(LOAD_SERVICE), run.path.name)
    except (Unavailable, OSError) as error:
        tell(f"traces begin at the gateway, without the load's own spans: {error}")


def tell(sentence: str) -> None:
    """Tell people something that they may want to act on."""
    click.echo(spoken(f"goshop: {sentence}"), err=True)


def say(message: str) -> None:
    """Tell people what happens now."""
    click.echo(spoken(f"goshop: {message} ..."), err=True)
