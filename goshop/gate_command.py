"""`goshop gate` on the command line; what it imports when it runs is slow, as in `goshop.cli`."""

import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import click

from goshop.exit_codes import explained, judged
from goshop.options import fault_option, match_option, prometheus_option, root_option
from goshop.streams import reader_may_leave

EXAMPLES: Final = """
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


@click.command(epilog=EXAMPLES)
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
@fault_option
@click.option(
    "--baseline",
    metavar="URL|GIT_REV",
    help="Compare with what runs there (beside --url), or with the shop of that revision.",
)
@click.option("--pairs", type=int, metavar="N", help="Of how many pairs of runs (10; from 6 on with a margin of 5 %).")
@click.option("--out", type=click.Path(path_type=Path), help="Folder for the reports (by default the run's own).")
@root_option
@click.option(
    "--grafana",
    envvar="GRAFANA_URL",
    default="",
    metavar="URL",
    help="Link the reports to dashboards, traces and logs there [GRAFANA_URL], and mark the run where GRAFANA_TOKEN is set.",
)
@prometheus_option
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
@match_option
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
        from goshop.forwarding import forward  # noqa: PLC0415 - see the module
        from goshop.gate import run_gate  # noqa: PLC0415 - see the module
        from goshop.gate_options import DEFAULT_GATE, Options  # noqa: PLC0415 - see the module
        from goshop.grafana import annotate  # noqa: PLC0415 - see the module
        from goshop.reporting import show  # noqa: PLC0415 - see the module

        # The options' names are those of the fields.
        options = Options(gate=gate or DEFAULT_GATE, **asked)
        wanted = ci.is_asked(annotations)
        with ci.refusals_annotated(wanted=wanted, machine=as_json):
            outcome = run_gate(options)
        with reader_may_leave():
            show(outcome, machine=as_json)
            if wanted:
                ci.annotate(outcome.judgement.verdict, options.gate, machine=as_json)
        verdict = outcome.judgement.verdict
        if wanted:
            _only_told("the job has no summary", lambda: ci.append_summary(outcome.markdown))
        _only_told("the run's spans are sent to no collector", lambda: forward(outcome.run.spans))
        _only_told("the run is not marked in Grafana", lambda: annotate(options.grafana, verdict))
    sys.exit(outcome.judgement.verdict.exit_code)


def _only_told(problem: str, step: Callable[[], object]) -> None:
    """Do what comes after the verdict: where it fails that is told, and changes neither the verdict nor the exit code."""
    from goshop.measurement import tell  # noqa: PLC0415 - see the module

    try:
        step()
    except Exception as error:  # noqa: BLE001 - the verdict is said already, and whatever it is must not become another one
        tell(f"{problem}: {type(error).__name__}: {error}")
