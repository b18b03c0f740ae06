"""The verdict as one page of HTML: nothing is loaded from elsewhere, no script runs, foreign text is escaped."""

from importlib.resources import files
from typing import Final

from jinja2 import Environment, StrictUndefined

from slo.evidence import Evidence
from slo.report import budgets, charts, comparison, figures, pairs_chart
from slo.report.foreign import address, plain
from slo.report.table import provenance
from slo.verdict import NOT_A_RELEASE, Reconciliation, Verdict

_TEMPLATE: Final = "report.html.j2"

# The classes of a difference and what each means, in the order of the table.
DIFFERENCES: Final = (
    (
        "never_reached",
        "Never reached",
        "no answer at the client and nothing at the server: refused, or killed on its way",
    ),
    ("interrupted", "Interrupted", "the server answered, the load generator was cut short"),
    ("retried", "Sent again", "the HTTP client repeated a request whose connection had closed early"),
    ("dropped", "Dropped", "the exporter had no room for the span, and counted it"),
    ("lost_with_process", "Lost with a process", "in flight or not yet written when the gateway was killed"),
    ("unexplained", "Unexplained", "nothing explains it: the run is not a measurement"),
)


def render_html(verdict: Verdict, evidence: Evidence) -> str:
    """Return the page."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True)
    environment.filters["plain"] = plain
    environment.filters["address"] = address
    template = environment.from_string(files(__package__).joinpath(_TEMPLATE).read_text(encoding="utf-8"))
    traces = (*evidence.slowest, *evidence.failed)
    services = sorted({row.service for trace in traces for row in trace.rows})
    return template.render(
        verdict=verdict,
        evidence=evidence,
        figures=figures,
        charts=charts,
        comparison=comparison,
        pairs_chart=pairs_chart,
        pairs_charts=pairs_chart.pairs_charts(verdict.baseline) if verdict.baseline else (),
        services=services,
        drawn={trace.trace_id for trace in traces},
        time=charts.time_chart(evidence),
        distribution=charts.distribution(evidence),
        differences=_differences(verdict.reconciliation),
        not_a_release=NOT_A_RELEASE,
        budgets=budgets,
        provenance=provenance(verdict),
    )


def _differences(found: Reconciliation) -> list[tuple[str, str, int | None]]:
    return [(label, meaning, getattr(found, name)) for name, label, meaning in DIFFERENCES]
