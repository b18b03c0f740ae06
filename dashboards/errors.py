"""Errors: who fails most, as a share of what is asked now. A counter's lifetime would never recover from one bad night."""

from dataclasses import replace

from dashboards import style as s
from dashboards.board import Row, dashboard, row
from dashboards.limits import Limits
from dashboards.links import of_row, of_service, to_dashboard, to_traces
from dashboards.panels import Column, lines, table, timeseries
from dashboards.promql import (
    ENDPOINT,
    HTTP_ERRORS,
    METHOD,
    RANGE,
    RATE,
    REASON,
    RPC_ERRORS,
    RPC_STATUS,
    SERVICE,
    STATUS,
    calls,
    error_share,
    rate,
    summed,
    tag,
)
from dashboards.service import PROBLEMS, burning
from dashboards.sources import log_lines, over_time
from dashboards.style import Json
from dashboards.traceql import FAILED, requests
from slo.openslo.known_series import COUNT
from slo.openslo.promql import Matcher
from telemetry import conventions as c

MOST = 5
BY = (SERVICE, METHOD, ENDPOINT)
NAMED = f"{tag(SERVICE)}: {tag(METHOD)} {tag(ENDPOINT)}"
LIMITED = Matcher(STATUS, "=", "429")


def build(limits: Limits) -> Json:
    """Return the dashboard."""
    return dashboard(
        "errors",
        "Errors",
        "Which endpoints fail most, with what, and what do they say of it?",
        [_most(limits), _kinds(), _lines()],
    )


def _most(limits: Limits) -> Row:
    now, overall = error_share(RATE, *BY), error_share(RANGE, *BY)
    worst = f"topk({MOST}, {overall})"
    # Chosen once for the whole time shown: topk alone chooses at each point, and draws many more lines than it says.
    once = worst.replace(f"[{RANGE}]", f"[{RANGE}] @ end()")
    of_them = f"\nand on ({', '.join(BY)})\n{worst}"
    return row(
        timeseries(
            "Top 5 endpoints by error rate",
            "Who fails most, and does it go on? Share of errors of the server, of the five with the highest over the time shown.",
            over_time(f"{now}\nand on ({', '.join(BY)})\n{once}", NAMED),
            unit=s.RATIO,
            width=s.HALF,
            height=s.TALL,
            links=[
                to_dashboard("The service", "service", service=of_service("service")),
                to_traces("Failed requests", requests(FAILED)),
            ],
        ),
        table(
            "The same five",
            "How much is it in requests, and of the budget? 100 % of two requests a day is another matter than 2 % of everything; a burn "
            "rate of 1 is what the service's budget allows.",
            {SERVICE: "Service", METHOD: "Method", ENDPOINT: "Endpoint"},
            [
                Column("Errors", worst, s.RATIO, decimals=2),
                *(replace(each, expression=each.expression + of_them) for each in burning(limits, overall, BY)),
                Column("Rate", summed(calls(COUNT, window=RANGE), *BY) + of_them, s.PER_SECOND),
            ],
            width=s.HALF,
            height=s.TALL,
            links=[to_dashboard("The service", "service", service=of_row("Service"))],
        ),
    )


def _kinds() -> Row:
    asked = summed(rate(c.HTTP_REQUEST_DURATION, HTTP_ERRORS, suffix=COUNT), SERVICE, STATUS)
    called = summed(rate(c.RPC_SERVER_DURATION, RPC_ERRORS, suffix=COUNT), SERVICE, RPC_STATUS)
    return row(
        timeseries(
            "What they answer",
            "500, INTERNAL, UNKNOWN: a defect, look at the lines below. 503, UNAVAILABLE: a dependency. 504, DEADLINE_EXCEEDED: slowness.",
            over_time(asked, f"{tag(SERVICE)} {tag(STATUS)}"),
            over_time(called, f"{tag(SERVICE)} {tag(RPC_STATUS)}"),
            unit=s.PER_SECOND,
            width=s.HALF,
            links=[to_dashboard("What they depend on", "dependencies")],
        ),
        timeseries(
            "Turned away",
            "Whom did it not even try to answer? 429: asked for more than the limit allows. malformed, head_too_large, head_too_slow: no "
            "HTTP. crowded: more connections than it takes. Of all but 429 there is no span.",
            over_time(summed(rate(c.HTTP_REQUEST_DURATION, LIMITED, suffix=COUNT), SERVICE), f"{tag(SERVICE)} 429"),
            over_time(summed(rate(c.HTTP_REQUESTS_REFUSED), SERVICE, REASON), f"{tag(SERVICE)} {tag(REASON)}"),
            unit=s.PER_SECOND,
            width=s.HALF,
        ),
        title="With what",
    )


def _lines() -> Row:
    question = "What do they say, in all environments? The exception is in the line, its trace id leads to the trace."
    return row(lines("Warnings and errors", question, log_lines(PROBLEMS)), title="What they say")
