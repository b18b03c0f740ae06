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
    SERVICE,
    calls,
    greatest,
    over_its_service_s,
    quantile,
    summed,
    tag,
)
from dashboards.sources import buckets_over_time, over_time
from dashboards.style import Json
from dashboards.traceql import requests
from slo.openslo.known_series import BUCKET

# Of a limit.
NEAR = 0.75
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
            "Which endpoint is slow, over the time shown? P95 over the limit of the service's objective: from 75 % on it is amber, at "
            "100 % every twentieth request is too late. The seconds are beside it.",
            _of_limit(limits),
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


def _of_limit(limits: Limits) -> Column:
    """Return P95 over the service's own limit, which differs from service to service; in s where there are no limits."""
    by = (METHOD, ENDPOINT)
    buckets = calls(BUCKET, window=RANGE)
    if not limits.latency:
        return Column("P95", quantile(0.95, buckets, *by), s.SECONDS)
    over = over_its_service_s(quantile(0.95, buckets, SERVICE, *by), limits.latency)
    return Column("P95", greatest(over, *by), s.RATIO, ((NEAR, s.WARN), (1.0, s.BAD)))


def _details(limits: Limits) -> Row:
    return row(
        timeseries(
            "P99 by route",
            "Who breaks the objective's limit (dashed)? A point is a request: click it for its trace.",
            over_time(quantile(0.99, calls(BUCKET), METHOD, ENDPOINT), ROUTE, exemplars=True),
            *limits.latency_limit(),
            unit=s.SECONDS,
            width=s.HALF,
            height=s.TALL,
            links=[to_dashboard("The service", "service"), to_traces("Slow requests", requests(limits.slow()))],
        ),
        heatmap(
            "All durations",
            "Are all requests slower, or some? A second band above the first is a time-out, a retry or a lock.",
            buckets_over_time(summed(calls(BUCKET), BOUND)),
            unit=s.PER_SECOND,
            rows=False,
        ),
    )
