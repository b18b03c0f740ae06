"""Options that several commands have in common."""

from pathlib import Path

import click

from goshop.run import DEFAULT_ROOT

root_option = click.option(
    "--dir",
    "root",
    type=click.Path(path_type=Path),
    default=DEFAULT_ROOT,
    show_default=True,
    help="Where runs are kept.",
)
fault_option = click.option(
    "--fault", "faults", multiple=True, metavar="SPEC", help="Break something on purpose; may be given several times."
)
prometheus_option = click.option(
    "--prometheus",
    envvar="GOSHOP_PROMETHEUS",
    default="",
    metavar="URL",
    help="The Prometheus that has the SLOs' series [GOSHOP_PROMETHEUS].",
)
match_option = click.option(
    "--match",
    "matches",
    multiple=True,
    metavar="MATCHER",
    help="Only series with this label, such as 'release=\"canary\"'; may be given several times.",
)
