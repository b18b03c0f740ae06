"""Slow queries: statements above the edge of the slow ones each minute, whose they are, and what they cost."""

from dashboards import style as s
from dashboards.board import Row, dashboard, row
from dashboards.limits import Limits
from dashboards.links import of_row, to_dashboard, to_traces
from dashboards.panels import Column, found_traces, table, timeseries
from dashboards.promql import (
    OPERATION,
    RANGE,
    SERVICE,
    SLOW,
    SLOW_IN_WORDS,
    TABLE,
    mean,
    quantile,
    rate,
    share,
    slower_than,
    summed,
    tag,
)
from dashboards.sources import over_time, traces
from dashboards.style import Json
from dashboards.traceql import SQL, longer_than, spans
from slo.openslo.known_series import BUCKET, COUNT, SUM
from telemetry import conventions as c

MINUTE = 60
STATEMENT = (SERVICE, OPERATION, TABLE)
NAMED = f"{tag(SERVICE)}: {tag(OPERATION)} {tag(TABLE)}"
SLOW_STATEMENTS = spans(SQL, longer_than(f"{SLOW * 1000:g}"))


def build(_: Limits) -> Json:
    """Return the dashboard."""
    return dashboard(
        "slow-queries",
        "Slow queries",
        f"Which statements take longer than {SLOW_IN_WORDS}, how often, and which requests wait for them?",
        [_over_time(), _statements()],
    )


def _over_time() -> Row:
    links = [to_traces("Traces with a slow statement", SLOW_STATEMENTS), to_dashboard("Connection pools", "pools")]
    slow = slower_than(c.DB_QUERY_DURATION, SLOW, *STATEMENT)
    whole = summed(rate(c.DB_QUERY_DURATION, suffix=COUNT), SERVICE)
    return row(
        timeseries(
            "Slow statements per minute",
            "Which statement got slow, and when? One of them: a plan, an index, a lock. All of a service: its database or its pool.",
            over_time(f"{MINUTE} * {slow}", NAMED),
            unit=s.PER_MINUTE,
            height=s.TALL,
            links=links,
        ),
        timeseries(
            "Share of slow statements",
            "Is it the database or just more traffic? A share that stays says traffic.",
            over_time(share(slower_than(c.DB_QUERY_DURATION, SLOW, SERVICE), whole), tag(SERVICE)),
            unit=s.RATIO,
            height=s.TALL,
        ),
        timeseries(
            "P99 by statement",
            "How slow is the slowest, and is it always? A point is a statement: click it for the trace of the request that waited.",
            over_time(quantile(0.99, rate(c.DB_QUERY_DURATION, suffix=BUCKET), *STATEMENT), NAMED, exemplars=True),
            unit=s.SECONDS,
            height=s.TALL,
            links=links,
        ),
    )


def _statements() -> Row:
    slow = slower_than(c.DB_QUERY_DURATION, SLOW, *STATEMENT, window=RANGE)
    spent = summed(rate(c.DB_QUERY_DURATION, suffix=SUM, window=RANGE), *STATEMENT)
    buckets = rate(c.DB_QUERY_DURATION, suffix=BUCKET, window=RANGE)
    return row(
        table(
            "What statements cost",
            "Where does the database's time go, over the time shown? Time is how many of them run at once on average: a cheap "
            "statement that runs often may cost the most.",
            {SERVICE: "Service", OPERATION: "Operation", TABLE: "Table"},
            [
                Column("Slow/min", f"{MINUTE} * {slow}", s.COUNT, ((0.1, s.WARN), (1.0, s.BAD)), decimals=2),
                Column("P99", quantile(0.99, buckets, *STATEMENT), s.SECONDS, ((SLOW, s.WARN),)),
                Column("Mean", mean(c.DB_QUERY_DURATION, *STATEMENT, window=RANGE), s.SECONDS),
                Column("Time", spent, s.COUNT, decimals=3),
            ],
            width=s.HALF,
            links=[to_dashboard("The service", "service", service=of_row("Service"))],
        ),
        found_traces(
            "Traces with a slow statement",
            "Which requests waited? The span's db.query.text is the statement; pool.acquire beside it is a wait for a connection.",
            traces(SLOW_STATEMENTS),
        ),
        title="Whose",
    )
