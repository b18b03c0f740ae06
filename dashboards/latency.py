"""Latency: which routes are slow, and since when: P95 by endpoint and method."""

from dashboards import style as s
from dashboards.board import Row, dashboard, environment, one_service, row
from dashboards.limits import Limits
from dashboards.links import to_dashboard, to_traces
from dashboards.panels import Column, heatmap, matrix, timeseries
from dashboards.promql import (
    BOUND,
    ENDPOINT,
    METHOD,
    RANGE,
    calls,
    quantile,
    summed,
    tag,
)
from dashboards.sources import buckets_over_time, over_time
from dashboards.style import Json
from slo.openslo.known_series import BUCKET

ROUTE = f"{tag(METHOD)} {tag(ENDPOINT)}"


def build(limits: Limits) -> Json:
    """Return the dashboard."""
    return dashboard(
        "latency",
        "Latency",
        "Which endpoint by which method is slow, since when, and is it all of its requests or some?",
        [_maps(limits), _details(limits)],
        variables=(environment(), one_service("gateway")),
    )


def _maps(limits: Limits) -> Row:
    return row(
        matrix(
            "P95 by endpoint and method",
            "Which endpoint is slow, over the time shown? The colour changes at the limits of the objectives.",
            Column(
                "P95",
                quantile(0.95, calls(BUCKET, window=RANGE), METHOD, ENDPOINT),
                s.SECONDS,
                _steps(limits),
            ),
            rows=ENDPOINT,
            across=METHOD,
        ),
        heatmap(
            "P95 over time",
            "Since when? A bright band is one endpoint: its statement or call. Bright columns are everybody: a deploy, a lock, a neighbour.",
            over_time(quantile(0.95, calls(BUCKET), METHOD, ENDPOINT), ROUTE),
            unit=s.SECONDS,
            rows=True,
        ),
    )


def _steps(limits: Limits) -> tuple[tuple[float, str], ...]:
    """Return amber from the strictest limit on, and red from the most patient one on."""
    edges = limits.seconds
    return ((edges[0], s.WARN), (edges[-1], s.BAD)) if len(edges) > 1 else tuple((edge, s.BAD) for edge in edges)


def _details(limits: Limits) -> Row:
    slow = f'{{ resource.service.name = "goshop-$service" && kind = server && ({limits.slow()}) }}'
    return row(
        timeseries(
            "P99 by route",
            "Who breaks the objective's limit (dashed)? A point is a request: click it for its trace.",
            over_time(quantile(0.99, calls(BUCKET), METHOD, ENDPOINT), ROUTE, exemplars=True),
            *limits.latency_limit(),
            unit=s.SECONDS,
            width=s.HALF,
            height=s.TALL,
            links=[to_dashboard("The service", "service"), to_traces("Slow requests", slow)],
        ),
        heatmap(
            "All durations",
            "Are all requests slower, or some? A second band above the first is a time-out, a retry or a lock.",
            buckets_over_time(summed(calls(BUCKET), BOUND)),
            unit=s.PER_SECOND,
            rows=False,
        ),
    )
