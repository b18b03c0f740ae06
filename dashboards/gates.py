"""Release gates: each run of `goshop gate` as an annotation, over what the shop did meanwhile."""

from dashboards import style as s
from dashboards.board import GATE_TAGS, Row, dashboard, environment, one_service, row
from dashboards.limits import Limits
from dashboards.links import to_dashboard, to_traces
from dashboards.panels import events, text, timeseries
from dashboards.promql import calls, quantile, share, summed
from dashboards.sources import over_time
from dashboards.style import Json
from dashboards.traceql import requests
from slo.openslo.known_series import BUCKET, COUNT

HOW = """\
`goshop gate` loads the shop and judges it by `slo/specs`. With `GRAFANA_URL` and `GRAFANA_TOKEN` set it leaves a mark here, from
the run's first request to its last, with **the verdict, the report, and its slowest and failed traces**.

| exit | verdict |
|---|---|
| 0 | every objective met |
| 1 | an objective missed |
| 3 | can't tell: load it longer |
| 4 | worse than the baseline |
| 5 | the measurement failed |
| 6 | error budget spent: no release |

No mark for a run: it ended before it was judged, or could not reach Grafana; its folder says which.
"""


def build(limits: Limits) -> Json:
    """Return the dashboard."""
    return dashboard(
        "gates",
        "Release gates",
        "What did the gates say of which version, and what did the shop do meanwhile?",
        [_runs(), _meanwhile(limits)],
        variables=(environment(), one_service("gateway")),
        shown="now-6h",
    )


def _runs() -> Row:
    return row(
        events(
            "Runs",
            "Which versions were judged, and how? Click a run for the minutes around it; its links are in its mark.",
            GATE_TAGS,
            width=s.HALF,
            height=s.TALL,
        ),
        text("What is marked", HOW, width=s.HALF, height=s.TALL),
    )


def _meanwhile(limits: Limits) -> Row:
    return row(
        timeseries(
            "Offered and served",
            "Was the load what it was meant to be? A dip inside a run is a measurement to doubt.",
            over_time(summed(calls(COUNT)), "calls"),
            unit=s.PER_SECOND,
        ),
        timeseries(
            "P99",
            "Did it hold its limit (dashed) under load? A point is a request: click it for its trace.",
            over_time(quantile(0.99, calls(BUCKET)), "P99", exemplars=True),
            *limits.latency_limit(),
            unit=s.SECONDS,
            links=[
                to_traces("Slow requests", requests(limits.slow())),
                to_dashboard("Which routes are slow", "latency"),
            ],
        ),
        timeseries(
            "Errors",
            "Did it fail under load, and more than the budget (dashed)?",
            over_time(share(summed(calls(COUNT, failed=True)), summed(calls(COUNT))), "errors"),
            *limits.error_limit(),
            unit=s.RATIO,
            links=[to_dashboard("Who fails most", "errors")],
        ),
        title="Meanwhile",
    )
