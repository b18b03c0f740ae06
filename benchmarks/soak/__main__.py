"""`make soak`."""

import sys
from pathlib import Path

import click
import uvloop

from benchmarks.soak.phase import Plan
from benchmarks.soak.report import Report
from benchmarks.soak.run import one_by_one
from benchmarks.telemetry.machine import busy_share, machine
from benchmarks.telemetry.rounds import OneCpu, share_the_machine

RESULTS = Path(__file__).parents[1] / "results"
OK, NOT_MET, CANNOT_RUN = 0, 1, 2
USUAL = Plan()


def say(line: str) -> None:
    """Tell of the progress."""
    click.echo(line, err=True)


@click.command()
@click.option("--seconds", default=USUAL.steady, show_default=True, help="How long the steady load lasts.")
@click.option("--trouble", default=USUAL.trouble, show_default=True, help="How long each trouble lasts, in seconds.")
@click.option("--distinct", default=USUAL.distinct, show_default=True, help="Distinct requests of each kind.")
@click.option("--rate", default=USUAL.rate, show_default=True, help="Requests a second of the steady load.")
@click.option("--remark", multiple=True, help="A line about this run, for the results; may repeat.")
@click.option(
    "--results", default=RESULTS, type=click.Path(path_type=Path), help="The folder for soak.json and soak.md."
)
def main(*, seconds: float, trouble: float, distinct: int, rate: float, remark: tuple[str, ...], results: Path) -> None:
    """Run the soak; exits with 1 when a criterion is not met, with 2 when it cannot run."""
    before = busy_share()
    try:
        cpu = share_the_machine()
    except OneCpu as error:
        say(str(error))
        sys.exit(CANNOT_RUN)
    plan = Plan(steady=seconds, trouble=trouble, distinct=distinct, rate=rate, cpu=cpu)
    found = uvloop.run(one_by_one(plan, say))
    report = Report(plan, found, machine(), (before, busy_share()), remark)
    click.echo(report.text())
    report.write(results)
    sys.exit(OK if report.met else NOT_MET)


main()
