"""Service: where an alert leads. Rate, errors and duration first, then where it hurts, then requests and lines behind it."""

from collections.abc import Sequence

from dashboards import style as s
from dashboards.board import Row, a_trace, dashboard, environment, one_service, row
from dashboards.limits import Limits
from dashboards.links import to_dashboard, to_lines, to_traces
from dashboards.panels import Column, found_traces, lines, matching, stat, table, timeseries
from dashboards.promql import (
    CHOSEN,
    CPU,
    ENDPOINT,
    INSTANCE,
    METHOD,
    OURS,
    RANGE,
    RATE,
    RPC_STATUS,
    SERVICE,
    STATUS,
    UP,
    calls,
    error_share,
    filled_in,
    greatest,
    over_its_service_s,
    quantile,
    rate,
    recorded,
    summed,
    tag,
    where,
)
from dashboards.sources import log_lines, over_time, traces
from dashboards.style import Json
from dashboards.traceql import FAILED, requests
from slo.links import LOG_STREAM
from slo.openslo.known_series import BUCKET, COUNT
from slo.openslo.promql import Matcher, Selector
from telemetry import conventions as c

# Of 50 lines a second, those that say what went wrong.
PROBLEMS = f'{{{LOG_STREAM}, service=~"$service", {c.LOG_LEVEL}=~"(?i)warning|error|critical"}}'
OF_THE_TRACE = f'{{{LOG_STREAM}}} | {c.LOG_TRACE_ID}="$trace_id" | {c.LOG_TRACE_ID}!=""'


def build(limits: Limits) -> Json:
    """Return the dashboard."""
    return dashboard(
        "service",
        "Service",
        "Is this service well, since when is it not, and which requests show why?",
        [_now(limits), _red(limits), _where(limits), _lines(), _trace(), _process()],
        variables=(environment(), one_service("gateway"), a_trace()),
    )


def _now(limits: Limits) -> Row:
    burn = recorded("slo:current_burn_rate:ratio")
    left = recorded("slo:period_error_budget_remaining:ratio")
    return row(
        stat(
            "Asked",
            "How much is it used right now? Nothing at all is as bad as errors: look in front of the service.",
            over_time(summed(calls(COUNT)), "calls"),
            unit=s.PER_SECOND,
        ),
        stat(
            "Burn rate",
            "How many times too fast does the error budget go, over 5 minutes? From the slowest ticket's rate on it is amber, "
            "from the slowest page's on it is red; alerts look over longer windows. Of all environments.",
            over_time(burn, tag("sloth_slo")),
            unit=s.TIMES,
            steps=limits.burning(),
            links=[to_dashboard("Objectives and budgets", "slo")],
            decimals=1,
        ),
        stat(
            "Budget left",
            "How much of the period's error budget is left? Negative: spent, and releases are frozen. Of all environments.",
            over_time(left, tag("sloth_slo")),
            unit=s.RATIO,
            steps=[(0.0, s.WARN), (0.25, s.FINE)],
            base=s.BAD,
            links=[to_dashboard("Objectives and budgets", "slo")],
            decimals=1,
        ),
        stat(
            "Instances up",
            "How many of its processes answer Prometheus? 0: it is dead, or can't be reached.",
            over_time(f"sum({Selector(UP, tuple(sorted((*CHOSEN, OURS))))})", "up"),
            unit=s.COUNT,
            steps=[(1.0, s.FINE)],
            base=s.BAD,
        ),
    )


def _red(limits: Limits) -> Row:
    # The client left, or the answer could not be sent: that has no status, and a series without labels has no name.
    asked = filled_in(summed(rate(c.HTTP_REQUEST_DURATION, suffix=COUNT), STATUS), STATUS, "no answer")
    called = summed(rate(c.RPC_SERVER_DURATION, suffix=COUNT), RPC_STATUS)
    buckets = calls(BUCKET)
    return row(
        timeseries(
            "Rate by status",
            "Is it asked as usual, and what does it answer? A step in 5xx, UNAVAILABLE or INTERNAL is the beginning of the trouble.",
            over_time(asked, tag(STATUS)),
            over_time(called, tag(RPC_STATUS)),
            unit=s.PER_SECOND,
            stacked=True,
            overrides=[
                matching("^(2..|OK)$", {"color": s.fixed(s.BLUE)}),
                matching("^(5..|INTERNAL|UNKNOWN|UNAVAILABLE|DEADLINE_EXCEEDED)$", {"color": s.fixed(s.VERMILION)}),
            ],
            links=[to_dashboard("Who fails most", "errors")],
        ),
        timeseries(
            "Errors",
            "Which route or method fails, and more than its budget allows (dashed)? One alone: its handler or statement. All: a dependency.",
            over_time(error_share(RATE, METHOD, ENDPOINT), f"{tag(METHOD)} {tag(ENDPOINT)}"),
            *limits.error_limit(),
            unit=s.RATIO,
            links=[to_dashboard("Who fails most", "errors"), to_traces("Failed requests", requests(FAILED))],
        ),
        timeseries(
            "Duration",
            "How long do callers wait? Dashed: the objective's limit. P50 rises with it: everything is slow; P99 alone: some requests, "
            "and a point is one of them: click it for its trace.",
            *(over_time(quantile(part, buckets), name, exemplars=name == SHOWN) for part, name in PARTS),
            *limits.latency_limit(),
            unit=s.SECONDS,
            overrides=[matching(f"^{name}$", {"color": s.fixed(COLORS[name])}) for _, name in PARTS],
            links=[
                to_dashboard("Which routes are slow", "latency"),
                to_traces("Slow requests", requests(limits.slow())),
            ],
        ),
    )


# The percentile whose requests stand on the panel: one set of exemplars is enough.
SHOWN = "P99"
PARTS = ((0.5, "P50"), (0.95, "P95"), (0.99, "P99"))
COLORS = {"P50": s.SKY, "P95": s.BLUE, "P99": s.ORANGE}


def _where(limits: Limits) -> Row:
    keys = {ENDPOINT: "Endpoint", METHOD: "Method"}
    by = (METHOD, ENDPOINT)
    whole = summed(calls(COUNT, window=RANGE), *by)
    return row(
        table(
            "Routes",
            "Which route or method is it, over the time shown? Errors and P99 together lead to its traces. The burn rate is its errors "
            "over the budget of all routes.",
            keys,
            [
                Column("Errors", error_share(RANGE, *by), s.RATIO, decimals=2),
                *burning(limits, error_share(RANGE, SERVICE, *by), by),
                Column("P99", quantile(0.99, calls(BUCKET, window=RANGE), *by), s.SECONDS),
                Column("Rate", whole, s.PER_SECOND, decimals=2),
            ],
            links=[to_dashboard("Its errors", "errors"), to_dashboard("Its latency", "latency")],
        ),
        found_traces(
            "Failed or slow requests",
            "Which requests show it? Each is a trace: its longest span, or the first that failed, names service and statement.",
            traces(requests(f"{FAILED} || {limits.slow()}")),
            links=[to_lines("Its log lines", f'{{{LOG_STREAM}}} | {c.LOG_TRACE_ID}="${{__data.fields.traceID}}"')],
        ),
        title="Where it hurts",
    )


def burning(limits: Limits, errors: str, by: Sequence[str]) -> list[Column]:
    """Return a column for how many times too fast errors (0 to 1, by service) spend their service's budget; none without budgets."""
    if not limits.budgets:
        return []
    spent = greatest(over_its_service_s(errors, limits.budgets), *by)
    return [Column("Burn rate", spent, s.TIMES, tuple(limits.burning()), decimals=1)]


def _lines() -> Row:
    return row(
        lines(
            "Warnings and errors",
            "What does it say itself? Open a line: its trace id leads to the trace, the exception is in it. Empty is good. "
            "Of all environments: a line does not say whose it is.",
            log_lines(PROBLEMS),
            height=s.HEIGHT,
        ),
        title="What it says",
    )


def _trace() -> Row:
    return row(
        lines(
            "One request, across all services",
            "What was logged for the trace id above (x-trace-id of an answer, or of an error's body)? Empty without one.",
            log_lines(OF_THE_TRACE),
            height=s.HEIGHT,
        )
    )


def _process() -> Row:
    lag = quantile(0.99, rate(c.EVENT_LOOP_LAG, suffix=BUCKET), INSTANCE)
    return row(
        timeseries(
            "Processor",
            "Is the process itself the limit? One process uses one core: near 1 everything queues.",
            over_time(summed(f"rate({where(CPU)}[{RATE}])", INSTANCE), tag(INSTANCE)),
            unit=s.COUNT,
        ),
        timeseries(
            "Event loop lag, P99",
            "Does something block the event loop? Every request is later by this much.",
            over_time(lag, tag(INSTANCE)),
            unit=s.SECONDS,
        ),
        timeseries(
            "In progress",
            "Do requests pile up? A rise without more traffic says that something behind it is slow.",
            over_time(summed(where(c.HTTP_REQUESTS_IN_PROGRESS), METHOD), f"HTTP {tag(METHOD)}"),
            over_time(summed(where(c.DB_POOL_CONNECTIONS, Matcher("state", "=", c.POOL_USED))), "connections in use"),
            unit=s.COUNT,
            links=[to_dashboard("Connection pools", "pools")],
        ),
        title="The process",
    )
