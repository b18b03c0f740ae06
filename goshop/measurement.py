"""What every way of measuring a release has in common: what can go wrong with it, and what the load was in the judge's words."""

from functools import partial

import click

from loadtests import Arrivals, LoadRun, Profile, Scripted
from slo.load import LoadFacts


class MeasurementFailed(Exception):
    """No verdict could be reached; the message says what to do."""


class WrongRequest(ValueError):
    """What was asked for cannot be: no such profile, a profile that cannot reach its target, options that do not fit."""


def load_facts(load: LoadRun, profile: Profile) -> LoadFacts:
    """Say what the load generator did in the words of the judge."""
    begin = load.window[0]
    facts = partial(
        LoadFacts,
        begin=begin,
        seconds=profile.seconds,
        interrupted=load.interrupted,
        problems=load.problems,
        doubts=load.doubts,
        cpu_wait=load.cpu_wait / len(load.samples) if load.cpu_wait is not None and load.samples else None,
    )
    dropped = sum(drop.count for drop in load.drops if drop.at >= begin)
    if isinstance(profile.load, Arrivals):
        return facts(model="open", planned=profile.load.rate * profile.seconds, dropped=dropped)
    if isinstance(profile.load, Scripted) and profile.load.open:
        each = requests_per_iteration(load)
        planned = sum(scenario.iterations or 0 for scenario in profile.load.judged)
        return facts(model="open", planned=planned * each, dropped=round(dropped * each))
    return facts(model="closed", users=load.users, dropped=dropped)


def requests_per_iteration(load: LoadRun) -> float:
    """Return how many requests an iteration sent on average; 1 where none ended."""
    sent = sum(bool(sample.scenario) for sample in load.samples)
    return sent / load.iterations if load.iterations else 1.0


def say(message: str) -> None:
    """Tell people what happens now."""
    click.echo(f"goshop: {message} ...", err=True)
