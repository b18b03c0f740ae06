"""Interleaved pairs of runs on two sides that are both up all the time: one load at a time, A B, B A, ..."""

import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import click

from goshop.measurement import Job, MeasurementFailed, load_facts
from goshop.progress import Stage
from goshop.sides import Side
from loadtests import LoadError, LoadRun, Profile
from loadtests import Progress as LoadProgress
from loadtests.k6 import K6Files
from slo.comparison import Turn, recorded_run, turns
from slo.load import assess_load
from slo.pairs import PERCENTILE, Pair, Run, TooFewPairsError
from slo.report import figures

Sides = Mapping[Turn, Side]

# k6 starts, compiles the script and ends.
AROUND_SECONDS: Final = 2.0
# From here on a time is said in minutes.
_MINUTES_FROM: Final = 90.0


def planned_seconds(pairs: float, profile: Profile) -> float:
    """Return about how long so many pairs take."""
    return 2 * pairs * (profile.total_seconds + AROUND_SECONDS)


def said_time(seconds: float) -> str:
    """Return a time as people plan with it."""
    return f"about {math.ceil(seconds / 60)} min" if seconds > _MINUTES_FROM else f"about {seconds:.0f} s"


@dataclass(frozen=True, slots=True, kw_only=True)
class Pairing:
    """What is to be run: `pairs` pairs of runs of the job's script; k6 writes below `folder`.

    `profile` is the load of a script without one of its own, `planned` what the script makes of it.
    """

    sides: Sides
    job: Job
    profile: Profile
    planned: Profile
    pairs: int
    folder: Path

    def run(self) -> list[Pair]:
        """Run all of them and return what they measured. Main thread only.

        Raises `MeasurementFailed` at the first run that is none: a load that was not offered, a side that died.
        """
        return [self._pair(number) for number in range(self.pairs)]

    def _pair(self, number: int) -> Pair:
        self._refill()
        runs = {turn: self._one(turn, 2 * number + place) for place, turn in enumerate(turns(number))}
        return Pair(runs["baseline"], runs["candidate"])

    def _refill(self) -> None:
        """Fill both sides when the data of one would not last: one that holds more would be searched longer."""
        lasts = planned_seconds(1, self.planned)
        if all(side.lasts(lasts) for side in self.sides.values()):
            return
        for side in self.sides.values():
            with _named(side.turn):
                side.fill()

    def _one(self, turn: Turn, done: int) -> Run:
        """Run one load after `done` others."""
        which = f"pair {done // 2 + 1} of {self.pairs}, {turn}"
        left = said_time(planned_seconds(self.pairs - done / 2, self.planned))
        folder = self.folder / f"{done + 1:02}-{turn}"
        with Stage(f"{which} ({left} left)", every=math.inf) as stage, _named(turn):
            load = self.sides[turn].load(self.job, self.profile, folder, _showing(stage))
        for side in self.sides.values():
            if ended := side.ended():
                raise MeasurementFailed(f"the {side.turn}: {ended}")
        with _named(turn):
            run = trusted(load, self.job)
            # Megabytes for each of up to 200 runs; what is compared is in the verdict.
            K6Files(folder).samples.unlink(missing_ok=True)
        click.echo(f"goshop: {which}: {_found(run)}", err=True)
        return run


def trusted(load: LoadRun, job: Job) -> Run:
    """Return a run whose load was what it should be; raises `MeasurementFailed` for any other."""
    facts = load_facts(load, load.profile)
    health = assess_load(facts, load.samples, None, job.gate.latency_target)
    if not health.healthy:
        raise MeasurementFailed("; ".join(health.problems))
    try:
        return recorded_run(load.samples, facts)
    except TooFewPairsError as error:
        raise MeasurementFailed(f"{error}; load it longer, or with more") from None


@contextmanager
def _named(turn: Turn) -> Iterator[None]:
    """Say whose failure it was."""
    try:
        yield
    except (LoadError, MeasurementFailed, OSError) as error:
        raise MeasurementFailed(f"the {turn}: {error}") from None


def _found(run: Run) -> str:
    p99 = run.percentile(PERCENTILE)
    said = "falls on requests without a good answer" if math.isinf(p99) else figures.seconds(p99)
    return f"{len(run.ranked)} requests, P99 {said}"


def _showing(stage: Stage) -> Callable[[LoadProgress], None]:
    def show(now: LoadProgress) -> None:
        detail = f"s  {now.requests} requests, {now.rate:.0f}/s, {now.failures} failed"
        stage.update(min(now.elapsed, now.planned), now.planned, detail)

    return show
