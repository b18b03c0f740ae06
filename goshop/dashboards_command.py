"""`goshop dashboards` on the command line; what it imports when it runs is slow, as in `goshop.cli`."""

from pathlib import Path
from typing import Final

import click

from goshop.exit_codes import Misuse, explained

EXAMPLES: Final = """
\b
Examples:
  goshop dashboards                         what there is, and which question each answers
  goshop dashboards --out grafana           the files that Grafana provisions, for the shop's objectives
  goshop dashboards my-slos.yaml --out grafana
"""


@click.command(epilog=EXAMPLES)
@click.argument("paths", metavar="[PATH]...", type=click.Path(path_type=Path), nargs=-1)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Write them below this folder.")
def dashboards(paths: tuple[Path, ...], out: Path | None) -> None:
    """Make Grafana's dashboards for a specification: limits, budgets and burn rates are the specification's.

    PATH is as for `goshop slo check`. They ask data sources with the uids prometheus, loki and tempo (compose/grafana
    provisions them). Exit code: 0, or 2 when the specification can't be used or the folder not be written.
    """
    with explained():
        from goshop import dashboards as dashboards_module  # noqa: PLC0415 - see the module
        from slo.openslo.loading import SpecificationError  # noqa: PLC0415 - see the module

        try:
            dashboards_module.run_dashboards(paths, out)
        except (SpecificationError, OSError) as error:
            raise Misuse(str(error)) from None
