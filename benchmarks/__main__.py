"""`make bench`: the price of telemetry, or another benchmark by its name."""

import sys

import click

from benchmarks import judging, slo_rules
from benchmarks.telemetry import command, inprocess
from benchmarks.telemetry.catalogue import variants


@click.command()
@click.argument("which", type=click.Choice(["telemetry", "judging", "slo"]), default="telemetry")
@click.option("--quick", is_flag=True, help="One short round: to try it, not to quote it.")
@click.option("--json", "as_json", is_flag=True, help="JSON instead of a table.")
@click.option(
    "--only", multiple=True, type=click.Choice([v.name for v in variants()]), help="Some variants; may repeat."
)
@click.option("--inprocess", "alone", is_flag=True, help="The telemetry layer alone, without a server.")
@click.option("--profile", is_flag=True, help="Where the time of the layer alone goes.")
def main(which: str, *, quick: bool, as_json: bool, only: tuple[str, ...], alone: bool, profile: bool) -> None:
    """Measure, side by side in one run; medians with their spread."""
    if which == "judging":
        judging.main()
    elif which == "slo":
        slo_rules.main()
    elif alone or profile:
        inprocess.main(quick=quick, profiled=profile)
    else:
        sys.exit(command.main(quick=quick, as_json=as_json, only=only))


main()
