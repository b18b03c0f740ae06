"""`goshop slo` on the command line; what its commands import when they run is slow, as in `goshop.cli`."""

import sys
from pathlib import Path
from typing import Final

import click

from goshop.exit_codes import Misuse, explained, judged
from goshop.options import match_option, prometheus_option


@click.group()
def slo() -> None:
    """Service levels as code: what the specification says, and what follows from it."""


CHECK_EXAMPLES: Final = """
\b
Examples:
  goshop slo check                         what ships with the shop
  goshop slo check slo/specs my-gate.yaml  files and folders, as one specification
  goshop slo check --json | jq '.[].message'
"""


@slo.command(epilog=CHECK_EXAMPLES)
@click.argument("paths", metavar="[PATH]...", type=click.Path(path_type=Path), nargs=-1)
@click.option("--json", "as_json", is_flag=True, help="A list of {file, line, column, message, path}.")
def check(paths: tuple[Path, ...], *, as_json: bool) -> None:
    """Say everything that is wrong with a specification, each fault with file, line, column and what was expected.

    PATH is a YAML file or a folder of them (slo/specs by default); all are read as one. Exit code: 0 nothing to mend,
    2 something is.
    """
    with explained():
        from goshop import slo as slo_module  # noqa: PLC0415 - see the module

        sys.exit(0 if slo_module.run_check(paths, machine=as_json) else 2)


RULES_EXAMPLES: Final = """
\b
Examples:
  goshop slo rules > slo.rules.yaml        for `rule_files` in prometheus.yml
  goshop slo rules --out generated         also the thresholds for k6 and the table
  goshop slo rules my-slos.yaml --dashboards https://grafana.example.org
"""


@slo.command(epilog=RULES_EXAMPLES)
@click.argument("paths", metavar="[PATH]...", type=click.Path(path_type=Path), nargs=-1)
@click.option("--out", type=click.Path(path_type=Path, file_okay=False), help="Write everything below this folder.")
@click.option("--runbooks", default="", metavar="URL", help="In front of links to runbooks that begin with '/'.")
@click.option("--dashboards", default="", metavar="URL", help="In front of links to dashboards that begin with '/'.")
def rules(paths: tuple[Path, ...], out: Path | None, runbooks: str, dashboards: str) -> None:
    """Print Prometheus' recording rules and alerts for a specification, in Sloth's names.

    PATH is as for `goshop slo check`. With --out the rules of each service, k6's thresholds for each release gate and a
    table in Markdown are written, and those that do not follow from PATH any more are removed. Exit code: 0, or 2 when
    the specification can't be used or the folder not be written.
    """
    with explained():
        from goshop import slo as slo_module  # noqa: PLC0415 - see the module
        from slo.generation.alerts import Sites  # noqa: PLC0415 - see the module
        from slo.generation.model import UnsayableError  # noqa: PLC0415 - see the module
        from slo.openslo.loading import SpecificationError  # noqa: PLC0415 - see the module

        try:
            slo_module.run_rules(paths, Sites(runbooks, dashboards), out)
        except (SpecificationError, UnsayableError, OSError) as error:
            raise Misuse(str(error)) from None


BUDGET_EXAMPLES: Final = """
\b
Examples:
  goshop slo budget --prometheus https://prometheus.example.org
  goshop slo budget my-slos.yaml --match 'cluster="eu"'
  goshop slo budget --json | jq '.slos[] | {slo, left}'
"""


@slo.command(epilog=BUDGET_EXAMPLES)
@click.argument("paths", metavar="[PATH]...", type=click.Path(path_type=Path), nargs=-1)
@prometheus_option
@match_option
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def budget(paths: tuple[Path, ...], prometheus: str, matches: tuple[str, ...], *, as_json: bool) -> None:
    """Say what is left of each error budget, how fast it burns, and when it is spent if that goes on.

    PATH is as for `goshop slo check`. Exit code: 0, 6 when a budget is spent, 5 when Prometheus does not answer or does not
    have the series of an SLO (which is never taken for healthy), 2 wrong usage or specification. Credentials:
    GOSHOP_PROMETHEUS_TOKEN, or GOSHOP_PROMETHEUS_USER and GOSHOP_PROMETHEUS_PASSWORD.
    """
    with judged(), explained():
        from goshop import budget as budget_module  # noqa: PLC0415 - see the module
        from goshop.prometheus import connect, matchers_of  # noqa: PLC0415 - see the module
        from goshop.slo import SPECS  # noqa: PLC0415 - see the module
        from slo.openslo.loading import load_specification  # noqa: PLC0415 - see the module

        slos = load_specification(paths or [SPECS]).slos
        found = budget_module.run_budget(slos, connect(prometheus), matchers_of(matches), machine=as_json)
    sys.exit(found.exit_code)
