"""`python -m benchmarks telemetry`: run, tell, keep."""

import dataclasses
import sys
from collections.abc import Collection
from pathlib import Path

from benchmarks.telemetry.catalogue import variants
from benchmarks.telemetry.generator import GeneratorMissing, require_wrk
from benchmarks.telemetry.machine import busy_share, machine, versions
from benchmarks.telemetry.report import Report
from benchmarks.telemetry.rounds import FULL, QUICK, OneCpu, Rounds, share_the_machine

RESULTS = Path(__file__).parents[1] / "results"
QUIET = 0.5

OK, NO_FIGURES, CANNOT_RUN = 0, 1, 2


def main(*, quick: bool = False, as_json: bool = False, only: Collection[str] = ()) -> int:
    """Run the benchmark and print the report; returns the exit status: 1 when a turn has no figures, 2 when it cannot run.

    A whole run leaves its results in `benchmarks/results`; a quick one, or one of some variants, leaves none.
    """
    chosen = [variant for variant in variants() if not only or variant.name in only]
    try:
        require_wrk()
        plan = dataclasses.replace(QUICK if quick else FULL, server_cpu=share_the_machine())
    except (GeneratorMissing, OneCpu) as error:
        _say(str(error))
        return CANNOT_RUN
    if busy_share() > QUIET:
        _say(f"others keep {busy_share():.1f} CPUs busy: these figures will say so, too")
    rounds = Rounds(plan, _say)
    rounds.run(chosen)
    report = Report(chosen, plan, rounds.measurements, rounds.failures, machine(), versions())
    print(report.json() if as_json else report.text())
    if not quick and not only:
        report.write(RESULTS)
    return NO_FIGURES if rounds.failures else OK


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)
