"""The command line: the product on stdout, talk on stderr, the exit code is the answer.

Every command imports what it needs when it runs: `--help` is instant, and a service does not load what only the gate needs.
"""

import signal
import sys
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import click

from goshop.run import DEFAULT_ROOT
from goshop.streams import discard, open_closed, reader_may_leave


class Failure(click.ClickException):
    """Ends the command with a sentence on stderr and exit 5: nothing was measured, a part did not start or died."""

    exit_code = 5

    def show(self, file: object = None) -> None:  # noqa: ARG002 - click's signature
        """Print the sentence; where nobody can be told, the exit code alone says it."""
        from slo.report.foreign import spoken  # noqa: PLC0415 - see the module

        try:
            click.echo(spoken(f"goshop: {self.message}"), err=True)
        except OSError:
            discard("stderr")


class Misuse(Failure):
    """Ends the command with a sentence on stderr and exit 2: what was asked for does not fit."""

    exit_code = 2


@contextmanager
def explained() -> Iterator[None]:
    """Turn errors that a person can act on into one sentence, and Ctrl-C, SIGTERM, SIGHUP into 128 + the signal."""
    try:
        with _translated():
            yield
    except KeyboardInterrupt as interrupt:
        sys.exit(128 + getattr(interrupt, "number", signal.SIGINT))


@contextmanager
def _translated() -> Iterator[None]:
    from app.config import ConfigError  # noqa: PLC0415 - see the module
    from goshop.processes import StartError  # noqa: PLC0415 - see the module
    from goshop.run import RunFolderError  # noqa: PLC0415 - see the module

    try:
        yield
    except ConfigError as error:
        raise Misuse(str(error)) from None
    except (StartError, RunFolderError) as error:
        raise Failure(str(error)) from None


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
  goshop serve user --env=dev                one service alone
"""


_root_option = click.option(
    "--dir",
    "root",
    type=click.Path(path_type=Path),
    default=DEFAULT_ROOT,
    show_default=True,
    help="Where runs are kept.",
)
_fault_option = click.option(
    "--fault", "faults", multiple=True, metavar="SPEC", help="Break something on purpose; may be given several times."
)
_prometheus_option = click.option(
    "--prometheus",
    envvar="GOSHOP_PROMETHEUS",
    default="",
    metavar="URL",
    help="The Prometheus that has the SLOs' series [GOSHOP_PROMETHEUS].",
)
_match_option = click.option(
    "--match",
    "matches",
    multiple=True,
    metavar="MATCHER",
    help="Only series with this label, such as 'release=\"canary\"'; may be given several times.",
)


@click.group(epilog=EXAMPLES, context_settings={"help_option_names": ["-h", "--help"]})
def main() -> None:
    """GoShop: an observability-first shop, and the release gate that judges it."""
    open_closed()


@main.command()
@click.option("--port", type=click.IntRange(1, 65535), help="Port of the public API (a free one by default).")
@_fault_option
@_root_option
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


@main.command()
@click.argument("trace_id", metavar="ID")
@click.option(
    "--run", "folder", type=click.Path(path_type=Path), help="Look in this run only (by default: in all, newest first)."
)
@_root_option
@click.option("--json", "as_json", is_flag=True, help="For machines.")
def trace(trace_id: str, folder: Path | None, root: Path, *, as_json: bool) -> None:
    """Draw one request across all services, with its log lines in order of time.

    ID is what answers carry in `x-trace-id`, or the beginning of it.
    """
    with explained():
        from goshop.trace import TraceNotFound, run_trace  # noqa: PLC0415 - see the module

        try:
            run_trace(trace_id, folder=folder, root=root, machine=as_json)
        except TraceNotFound as error:
            raise Misuse(str(error)) from None


GATE_EXAMPLES: Final = """
\b
Examples:
  goshop gate --profile ramp
  goshop gate --fault "product.search=delay:900ms@5%"
  goshop gate --url https://staging.example.org --script load.js my-gate.yaml
  goshop gate --baseline v1.4                is it slower than that revision?
  goshop gate --prometheus https://prometheus.example.org
  goshop gate --source prometheus --window 15m --match 'release="canary"' my-gate.yaml
  goshop gate --json > verdict.json
"""


@main.command(epilog=GATE_EXAMPLES)
@click.argument("gate", type=click.Path(path_type=Path), required=False)
@click.option("--url", default="", metavar="URL", help="Judge the service that runs there; no shop is started.")
@click.option("--script", type=click.Path(path_type=Path), metavar="FILE.js", help="Load with this k6 script.")
@click.option(
    "--env",
    "variables",
    multiple=True,
    metavar="NAME",
    help="Let the script of --url read this environment variable; may be given several times.",
)
@click.option("--profile", default="", help="smoke, ramp (by default what the ReleaseGate names).")
@click.option("--release", default="", metavar="NAME", help="What is judged, for the reports.")
@_fault_option
@click.option(
    "--baseline",
    metavar="URL|GIT_REV",
    help="Compare with what runs there (beside --url), or with the shop of that revision.",
)
@click.option("--pairs", type=int, metavar="N", help="Of how many pairs of runs (10; from 6 on with a margin of 5 %).")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the reports (by default the run's own).")
@_root_option
@click.option(
    "--grafana",
    envvar="GRAFANA_URL",
    default="",
    metavar="URL",
    help="Link the reports to dashboards, traces and logs there [GRAFANA_URL].",
)
@_prometheus_option
@click.option(
    "--ignore-budget",
    default="",
    metavar="REASON",
    help="Release although an error budget is spent or not known, for instance what mends it; REASON is in every report.",
)
@click.option(
    "--source",
    type=click.Choice(("k6", "prometheus")),
    default="k6",
    help="Send a load (k6, by default), or judge by the series of a window that is over.",
)
@click.option("--window", default="", metavar="TIME", help="With --source prometheus: how long, such as 15m.")
@click.option("--end", default="", metavar="TIME", help="With --source prometheus: until when (now, RFC 3339, unix s).")
@_match_option
@click.option("--early-stop/--no-early-stop", default=True, help="End the load when it fails grossly (by default).")
@click.option(
    "--history",
    default="",
    metavar="FILE",
    help="Learn from former runs in this file, and keep this one there; 'none' for neither (by default in --dir).",
)
@click.option("--annotations/--no-annotations", default=None, help="Print GitHub's (by default where it runs this).")
@click.option("--json", "as_json", is_flag=True, help="Print verdict.json instead of the table.")
def gate(*, as_json: bool, annotations: bool | None, gate: Path | None, **asked: Any) -> None:
    """Bring the shop up, load it with k6 and say whether it may be released.

    With --url the service that runs there, by any k6 script: it takes the address from __ENV.BASE_URL, and the profile's
    load unless it brings its own. GATE is a specification with one ReleaseGate, a file or a folder
    (slo/specs/checkout.yaml by default). Exit code: 0 every objective met, 1 one missed, 2 wrong usage or specification,
    3 inconclusive, 4 a regression against the baseline, 5 the measurement failed, 6 an error budget of --prometheus is spent.
    """
    with judged(), explained():
        from goshop import ci  # noqa: PLC0415 - see the module
        from goshop import gate as gate_module  # noqa: PLC0415 - see the module

        # The options' names are those of the fields.
        options = gate_module.Options(gate=gate or gate_module.DEFAULT_GATE, **asked)
        wanted = ci.is_asked(annotations)
        with ci.refusals_annotated(wanted=wanted, machine=as_json):
            outcome = gate_module.run_gate(options)
        with reader_may_leave():
            gate_module.show(outcome, machine=as_json)
            if wanted:
                ci.annotate(outcome.judgement.verdict, options.gate, machine=as_json)
        if wanted:
            ci.append_summary(outcome.markdown)
    sys.exit(outcome.judgement.verdict.exit_code)


DRILL_EXAMPLES: Final = """
\b
Examples:
  goshop drill                                       everything, about 12 minutes
  goshop drill --only control --only search-delay
  goshop drill --json > drill.json
"""


@main.command(epilog=DRILL_EXAMPLES)
@click.option("--only", "names", multiple=True, metavar="NAME", help="This scenario only; may be given several times.")
@_root_option
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


@main.group(name="slo")
def slo_group() -> None:
    """Service levels as code: what the specification says, and what follows from it."""


SLO_CHECK_EXAMPLES: Final = """
\b
Examples:
  goshop slo check                         what ships with the shop
  goshop slo check slo/specs my-gate.yaml  files and folders, as one specification
  goshop slo check --json | jq '.[].message'
"""


@slo_group.command(epilog=SLO_CHECK_EXAMPLES)
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


SLO_RULES_EXAMPLES: Final = """
\b
Examples:
  goshop slo rules > slo.rules.yaml        for `rule_files` in prometheus.yml
  goshop slo rules --out generated         also the thresholds for k6 and the table
  goshop slo rules my-slos.yaml --dashboards https://grafana.example.org
"""


@slo_group.command(epilog=SLO_RULES_EXAMPLES)
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


SLO_BUDGET_EXAMPLES: Final = """
\b
Examples:
  goshop slo budget --prometheus https://prometheus.example.org
  goshop slo budget my-slos.yaml --match 'cluster="eu"'
  goshop slo budget --json | jq '.slos[] | {slo, left}'
"""


@slo_group.command(epilog=SLO_BUDGET_EXAMPLES)
@click.argument("paths", metavar="[PATH]...", type=click.Path(path_type=Path), nargs=-1)
@_prometheus_option
@_match_option
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


@contextmanager
def judged() -> Iterator[None]:
    """Turn what keeps a gate from judging into one sentence and its exit code."""
    from app.faults import FaultError  # noqa: PLC0415 - see the module
    from goshop.measurement import MeasurementFailed, WrongRequest  # noqa: PLC0415 - see the module
    from goshop.prometheus import PrometheusError  # noqa: PLC0415 - see the module
    from slo.openslo.loading import SpecificationError  # noqa: PLC0415 - see the module

    try:
        yield
    except (FaultError, SpecificationError, WrongRequest) as error:
        raise Misuse(str(error)) from None
    except (MeasurementFailed, PrometheusError, OSError) as error:
        raise Failure(str(error)) from None
    except click.ClickException:
        raise
    except Exception:  # noqa: BLE001 - whatever it is, it must not look like a verdict
        # Exit 1 would say that an objective was missed; a defect of ours says nothing about the release.
        traceback.print_exc()
        raise Failure("the gate itself failed; the lines above belong into a report of this defect") from None
