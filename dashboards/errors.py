"""Errors: who fails most, as a share of what is asked now. A counter's lifetime would never recover from one bad night."""

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
    REASON,
    RPC_ERRORS,
    RPC_STATUS,
    SERVICE,
    STATUS,
    calls,
    rate,
    share,
    summed,
    tag,
)
from dashboards.service import PROBLEMS
from dashboards.sources import log_lines, over_time
from dashboards.style import Json
from slo.openslo.known_series import COUNT
from slo.openslo.promql import Matcher
from telemetry import conventions as c

MOST = 5
BY = (SERVICE, METHOD, ENDPOINT)
NAMED = f"{tag(SERVICE)}: {tag(METHOD)} {tag(ENDPOINT)}"
FAILED_SPANS = '{ resource.service.name =~ "goshop-(${service:pipe})" && kind = server && status = error }'
LIMITED = Matcher(STATUS, "=", "429")


def build(_: Limits) -> Json:
    """Return the dashboard."""
    return dashboard(
        "errors",
        "Errors",
        "Which endpoints fail most, with what, and what do they say of it?",
        [_most(), _kinds(), _lines()],
    )


def _error_share(window: str) -> str:
    failed, whole = (summed(calls(COUNT, failed=flag, window=window), *BY) for flag in (True, False))
    return share(failed, whole)


def _most() -> Row:
    now = _error_share("$__rate_interval")
    # Chosen once for the whole time shown: topk alone chooses at each point, and draws many more lines than it says.
    overall = _error_share(RANGE).replace(f"[{RANGE}]", f"[{RANGE}] @ end()")
    worst = f"topk({MOST}, {overall})"
    whole = summed(calls(COUNT, window=RANGE), *BY)
    return row(
        timeseries(
            "Top 5 endpoints by error rate",
            "Who fails most, and does it go on? Share of errors of the server, of the five with the highest over the time shown.",
            over_time(f"{now}\nand on ({', '.join(BY)})\n{worst}", NAMED),
            unit=s.RATIO,
            width=s.HALF,
            height=s.TALL,
            links=[
                to_dashboard("The service", "service", service=of_service("service")),
                to_traces("Failed requests", FAILED_SPANS),
            ],
        ),
        table(
            "The same five",
            "How much is it in requests? 100 % of two requests a day is another matter than 2 % of everything.",
            {SERVICE: "Service", METHOD: "Method", ENDPOINT: "Endpoint"},
            [
                Column("Errors", worst.replace(" @ end()", ""), s.RATIO, ((0.001, s.WARN), (0.01, s.BAD)), decimals=2),
                Column("Rate", f"{whole}\nand on ({', '.join(BY)})\n{worst.replace(' @ end()', '')}", s.PER_SECOND),
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
    question = "What do they say? The exception is in the line, its trace id leads to the trace."
    return row(lines("Warnings and errors", question, log_lines(PROBLEMS)), title="What they say")
