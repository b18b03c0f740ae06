"""The benchmarks that share their options: what telemetry costs, and two that have none."""

import sys
from typing import Final

import click

from benchmarks import PROGRAMS, judging, slo_rules
from benchmarks.telemetry import command, inprocess
from benchmarks.telemetry.catalogue import variants

NAMES: Final = ("telemetry", "judging", "slo")


@click.command(epilog=f"Programs with options of their own: {', '.join(PROGRAMS)}; NAME --help lists them.")
@click.argument("which", metavar="[NAME]", default=NAMES[0])
@click.option("--quick", is_flag=True, help="One short round: to try it, not to quote it.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
@click.option(
    "--only", multiple=True, type=click.Choice([v.name for v in variants()]), help="Some variants; may repeat."
)
@click.option("--inprocess", "alone", is_flag=True, help="The telemetry layer alone, without a server.")
@click.option("--profile", is_flag=True, help="Where the time of the layer alone goes.")
def main(which: str, *, quick: bool, as_json: bool, only: tuple[str, ...], alone: bool, profile: bool) -> None:
    """Measure, side by side in one run; medians with their spread.

    NAME is telemetry (by default), judging, slo, or a program with options of its own.
    """
    if which in PROGRAMS:
        raise click.UsageError(f"{which} comes first, its own options behind it")
    if which not in NAMES:
        raise click.UsageError(f"there is no benchmark {which!r}; there are {', '.join((*NAMES, *PROGRAMS))}")
    if which == "judging":
        judging.main()
    elif which == "slo":
        slo_rules.main()
    elif alone or profile:
        inprocess.main(quick=quick, profiled=profile)
    else:
        sys.exit(command.main(quick=quick, as_json=as_json, only=only))
