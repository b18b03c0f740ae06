"""The command line: the product on stdout, talk on stderr, the exit code is the answer.

Every command imports what it needs when it runs: `--help` is instant, and a service does not load what only the gate needs.
"""

import sys
from pathlib import Path
from typing import Any, Final

import click

from goshop.dashboards_command import dashboards
from goshop.exit_codes import Failure, Misuse, explained, judged
from goshop.gate_command import gate
from goshop.options import fault_option, root_option
from goshop.slo_commands import slo
from goshop.streams import open_closed, reader_may_leave
from goshop.trace_command import trace

EXAMPLES: Final = """
\b
Examples:
  goshop up                                  the shop until Ctrl-C
  goshop gate                                load it and judge it
  goshop gate --fault "product.search=delay:900ms@5%"
  goshop drill --only search-delay           does the gate find what is broken?
  goshop trace 4bf92f35                      one request across all services
  goshop slo check                           is the specification sound?
  goshop slo rules                           Prometheus' rules and alerts that follow from it
  goshop slo budget --prometheus URL         what is left of each error budget
  goshop dashboards --out grafana            Grafana's dashboards for it
  goshop serve user --env=dev                one service alone
"""


# What the image of the services has none of.
_LEFT_OUT: Final = frozenset({"dashboards", "loadtests"})


class _Commands(click.Group):
    """Says in a sentence what an installation of services cannot do."""

    def invoke(self, ctx: click.Context) -> Any:
        """Run the command that was asked for; raises `Failure` where its package was left out."""
        try:
            return super().invoke(ctx)
        except ModuleNotFoundError as error:
            if error.name not in _LEFT_OUT:
                raise
            raise Failure(
                f"this installation is for services only: the package {error.name} is not here; "
                f"`goshop {ctx.invoked_subcommand}` needs the whole repository"
            ) from None


@click.group(cls=_Commands, epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """GoShop: an observability-first shop, and the release gate that judges it."""
    open_closed()


@main.command()
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the public API (a free one by default).")
@fault_option
@root_option
def up(port: int | None, faults: tuple[str, ...], root: Path) -> None:
    """Bring the whole shop up and keep it until Ctrl-C.

    PostgreSQL and Valkey come along unless GOSHOP_DB__HOST and GOSHOP_REDIS__URL (or config/dev.yaml) name others. All data
    is gone afterwards; logs and spans stay.
    """
    with explained():
        from goshop.up import run_up  # noqa: PLC0415 - see the module

        run_up(root, port=port, faults=",".join(faults))


@main.command()
@click.argument("name", metavar="SERVICE")
@click.option(
    "--env", "environment", required=True, metavar="ENV", help="dev, staging or prod: which config/ENV.yaml to load."
)
def serve(name: str, environment: str) -> None:
    """Run one service (user, product, order, payment or gateway) until SIGTERM.

    Every setting can be overridden by a variable: GOSHOP_DB__TIMEOUT=2 is `db: {timeout: 2}`.
    """
    with explained():
        from app import config  # noqa: PLC0415 - see the module

        if name not in config.SERVICES:
            raise click.UsageError(f"there is no service {name!r}; there are {', '.join(config.SERVICES)}")
        settings = config.load(environment)

        from app import service  # noqa: PLC0415 - slow; settings that do not fit are said first

        service.run(name, settings)


DRILL_EXAMPLES: Final = """
\b
Examples:
  goshop drill                                       everything, about 12 minutes
  goshop drill --only control --only search-delay
  goshop drill --json > drill.json
"""


@main.command(epilog=DRILL_EXAMPLES)
@click.option("--only", "names", multiple=True, metavar="NAME", help="This scenario only; may be given several times.")
@root_option
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def drill(names: tuple[str, ...], root: Path, *, as_json: bool) -> None:
    """Break the shop in every known way and see whether the gate finds each fault.

    An undisturbed run must pass and name no cause; every other run must fail and name the true place first, with half of the
    harm or more. Exit code: 0 everything found, 1 something not, 2 wrong usage, 5 nothing could be measured.
    """
    with judged(), explained():
        from goshop import drill as drill_module  # noqa: PLC0415 - see the module

        try:
            findings = drill_module.run_drill(names, root)
        except drill_module.UnknownScenario as error:
            raise Misuse(str(error)) from None
        with reader_may_leave():
            drill_module.show(findings, machine=as_json)
    sys.exit(0 if all(finding.found for finding in findings) else 1)


main.add_command(dashboards)
main.add_command(gate)
main.add_command(slo)
main.add_command(trace)
