"""Dependencies: rate, errors and duration of what a service waits for: SQL, Redis, other services by gRPC."""

from dashboards import style as s
from dashboards.board import Row, dashboard, row
from dashboards.limits import Limits
from dashboards.links import of_service, to_dashboard, to_traces
from dashboards.panels import timeseries
from dashboards.promql import (
    COMMAND,
    ERROR,
    OPERATION,
    OUTCOME,
    RPC_ERRORS,
    RPC_METHOD,
    RPC_SERVICE,
    SERVICE,
    SLOW_IN_WORDS,
    TABLE,
    quantile,
    rate,
    share,
    summed,
    tag,
)
from dashboards.slow_queries import SLOW_STATEMENTS
from dashboards.sources import over_time
from dashboards.style import Json
from dashboards.traceql import FAILED, GRPC_CALL, REDIS, SQL, spans
from slo.openslo.known_series import BUCKET, COUNT
from slo.openslo.promql import Matcher
from telemetry import conventions as c

STATEMENT = f"{tag(SERVICE)}: {tag(OPERATION)} {tag(TABLE)}"
COMMANDS = f"{tag(SERVICE)}: {tag(COMMAND)}"
CALL = f"{tag(SERVICE)} → {tag(RPC_SERVICE)}/{tag(RPC_METHOD)}"
NOT_DONE = Matcher(OUTCOME, "=", c.OUTCOME_ERROR)


def build(_: Limits) -> Json:
    """Return the dashboard."""
    return dashboard(
        "dependencies",
        "Dependencies",
        "Is it the service, or what it waits for: its database, Redis, or another service?",
        [_sql(), _redis(), _grpc()],
    )


def _sql() -> Row:
    links = [to_dashboard("Slow queries", "slow-queries"), to_dashboard("Connection pools", "pools")]
    statements = rate(c.DB_QUERY_DURATION, suffix=BUCKET)
    failed = to_traces("Failed statements", spans(SQL, FAILED))
    return row(
        timeseries(
            "SQL: statements",
            "Does it ask as usual? Many more statements for the same traffic is a loop, or a cache that is gone.",
            over_time(summed(rate(c.DB_QUERY_DURATION, suffix=COUNT), SERVICE, OPERATION, TABLE), STATEMENT),
            unit=s.OPERATIONS,
            links=links,
        ),
        timeseries(
            "SQL: errors",
            "Which SQLSTATE? 08…: no connection; 40…: a conflict or deadlock; 55P03, 57014: a lock, a time-out; 53300: too many connections.",
            over_time(
                summed(rate(c.DB_QUERY_ERRORS), SERVICE, OPERATION, ERROR),
                f"{tag(SERVICE)}: {tag(OPERATION)} {tag(ERROR)}",
            ),
            unit=s.OPERATIONS,
            links=[failed, *links],
        ),
        timeseries(
            "SQL: P99",
            f"Which statement is slow? Above {SLOW_IN_WORDS} it counts as a slow query. A point is a statement: click it for its trace.",
            over_time(quantile(0.99, statements, SERVICE, OPERATION, TABLE), STATEMENT, exemplars=True),
            unit=s.SECONDS,
            links=[to_traces("Slow statements", SLOW_STATEMENTS), *links],
        ),
        title="SQL",
    )


def _redis() -> Row:
    commands = rate(c.REDIS_COMMAND_DURATION, suffix=BUCKET)
    failed = summed(rate(c.REDIS_COMMAND_DURATION, NOT_DONE, suffix=COUNT), SERVICE, COMMAND)
    return row(
        timeseries(
            "Redis: commands",
            "Does it ask as usual?",
            over_time(summed(rate(c.REDIS_COMMAND_DURATION, suffix=COUNT), SERVICE, COMMAND), COMMANDS),
            unit=s.OPERATIONS,
        ),
        timeseries(
            "Redis: errors",
            "Is it gone? Searches then go to the database, and rate limits can't be checked.",
            over_time(failed, COMMANDS),
            over_time(summed(rate(c.RATE_LIMIT_UNAVAILABLE), OUTCOME), f"rate limit not checked: {tag('outcome')}"),
            unit=s.OPERATIONS,
            links=[to_traces("Failed commands", spans(REDIS, FAILED))],
        ),
        timeseries(
            "Redis: P99",
            "Is it slow? Far above 5 ms it is: a big key, a slow script, its memory, or the network.",
            over_time(quantile(0.99, commands, SERVICE, COMMAND), COMMANDS, exemplars=True),
            unit=s.SECONDS,
        ),
        title="Redis",
    )


def _grpc() -> Row:
    by = (SERVICE, RPC_SERVICE, RPC_METHOD)
    failed, whole = (
        summed(rate(c.RPC_CLIENT_DURATION, *matchers, suffix=COUNT), *by) for matchers in ((RPC_ERRORS,), ())
    )
    links = [to_dashboard("Who calls", "service", service=of_service("service"))]
    return row(
        timeseries(
            "gRPC: calls",
            "Who calls whom, as usual? Many more calls for the same traffic are retries.",
            over_time(whole, CALL),
            unit=s.OPERATIONS,
            links=links,
        ),
        timeseries(
            "gRPC: errors",
            "Which call fails? UNAVAILABLE and DEADLINE_EXCEEDED also where the other service never saw it.",
            over_time(share(failed, whole), CALL),
            unit=s.RATIO,
            links=[to_traces("Failed calls", spans(GRPC_CALL, FAILED)), *links],
        ),
        timeseries(
            "gRPC: P99",
            "Which call is slow, as its caller sees it? Fast at the other service and slow here: the network, or the caller's event loop.",
            over_time(quantile(0.99, rate(c.RPC_CLIENT_DURATION, suffix=BUCKET), *by), CALL, exemplars=True),
            unit=s.SECONDS,
            links=links,
        ),
        title="gRPC",
    )
