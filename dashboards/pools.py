"""Connection pools: is anybody waiting for a connection, and why."""

from dashboards import style as s
from dashboards.board import Row, dashboard, row
from dashboards.limits import Limits
from dashboards.links import of_service, to_dashboard, to_traces
from dashboards.panels import found_traces, timeseries
from dashboards.promql import (
    SERVICE,
    STATE,
    mean,
    quantile,
    rate,
    share,
    summed,
    tag,
    where,
)
from dashboards.sources import over_time, traces
from dashboards.style import Json
from dashboards.traceql import spans
from slo.openslo.known_series import BUCKET
from slo.openslo.promql import Matcher
from telemetry import conventions as c

# Full, of all that there may be.
FULL_POOL = 1.0
WAITS = spans(f'name = "{c.POOL_WAIT_SPAN}"')


def build(_: Limits) -> Json:
    """Return the dashboard."""
    return dashboard(
        "pools",
        "Connection pools",
        "Does anybody wait for a database connection, and is it too few of them or too slow statements?",
        [_waiting(), _held()],
    )


def _waiting() -> Row:
    used = where(c.DB_POOL_CONNECTIONS, Matcher(STATE, "=", c.POOL_USED))
    waits = rate(c.DB_POOL_WAIT, suffix=BUCKET)
    links = [to_traces("Traces that waited", WAITS), to_dashboard("Slow queries", "slow-queries")]
    return row(
        timeseries(
            "In use, of all there may be",
            "Is a pool full? At 100 % everybody else waits. With slow statements: those. Without: a leak, or too small a pool.",
            over_time(share(summed(used, SERVICE), summed(where(c.DB_POOL_CONNECTIONS_MAX), SERVICE)), tag(SERVICE)),
            unit=s.RATIO,
            top=FULL_POOL,
            links=[*links, to_dashboard("The service", "service", service=of_service("service"))],
        ),
        timeseries(
            "Waiting for a connection",
            "How many wait at this moment? More than none for longer than a scrape is a queue.",
            over_time(summed(where(c.DB_POOL_REQUESTS_WAITING), SERVICE), tag(SERVICE)),
            unit=s.COUNT,
            links=links,
        ),
        timeseries(
            "Wait, P99",
            "How much later is a request for it? Below 5 ms a connection was there.",
            over_time(quantile(0.99, waits, SERVICE), tag(SERVICE)),
            unit=s.SECONDS,
            links=links,
        ),
    )


def _held() -> Row:
    return row(
        timeseries(
            "Connections",
            "Is it a leak? In use that only rises, whatever the traffic, is one.",
            over_time(summed(where(c.DB_POOL_CONNECTIONS), SERVICE, STATE), f"{tag(SERVICE)} {tag(STATE)}"),
            over_time(summed(where(c.DB_POOL_CONNECTIONS_MAX), SERVICE), f"{tag(SERVICE)} at most"),
            unit=s.CONNECTIONS,
        ),
        timeseries(
            "Statements, mean",
            "Do statements hold connections for longer? Then it is the database, and more connections would not help.",
            over_time(mean(c.DB_QUERY_DURATION, SERVICE), tag(SERVICE)),
            unit=s.SECONDS,
            links=[to_dashboard("Slow queries", "slow-queries")],
        ),
        found_traces(
            "Traces that waited",
            "Who waits, and who holds the connections meanwhile? Compare with traces of the same moment.",
            traces(WAITS),
            width=s.THIRD,
        ),
        title="Why",
    )
