"""Telemetry: can what the other dashboards show be believed? What was exported, what waits, what was dropped or refused."""

from dashboards import style as s
from dashboards.board import Row, dashboard, row
from dashboards.limits import Limits
from dashboards.links import of_service, to_dashboard
from dashboards.panels import stat, timeseries
from dashboards.promql import (
    CHOSEN,
    INSTANCE,
    JOB,
    OURS,
    REASON,
    SCRAPE_DURATION,
    SERVICE,
    UP,
    quantile,
    rate,
    share,
    summed,
    tag,
    where,
)
from dashboards.sources import lines_over_time, over_time
from dashboards.style import Json
from slo.links import LOG_STREAM
from slo.openslo.known_series import BUCKET
from slo.openslo.promql import Matcher, Selector
from telemetry import conventions as c
from telemetry.span_queue import QueueLimits

TARGETS = tuple(sorted((*CHOSEN, OURS)))
# Whoever else is scraped (compose/prometheus.yaml).
THE_STACK = Matcher(JOB, "!=", OURS.value)
LINES = f'{{{LOG_STREAM}, service=~"$service"}}'


def build(_: Limits) -> Json:
    """Return the dashboard."""
    return dashboard(
        "telemetry",
        "Telemetry",
        "Can what is seen be believed: is everything scraped, exported and written, and what was lost?",
        [_lost(), _spans(), _rest()],
    )


def _lost() -> Row:
    ended, *accounted = (
        summed(where(each), SERVICE, INSTANCE)
        for each in (c.SPANS_ENDED, c.SPANS_EXPORTED, c.SPANS_DROPPED, c.SPANS_QUEUED)
    )
    # Of each process, too many or too few: what one counts twice would make up for what another has lost.
    unaccounted = f"sum(abs({' - '.join((ended, *accounted))}))"
    return row(
        stat(
            "Not scraped",
            "Whom does Prometheus not reach? What a service did meanwhile is missing on every dashboard; of the stack's own (Tempo, Loki, "
            "Promtail, Alertmanager, Grafana) traces, lines or alerts are.",
            over_time(f"count({Selector(UP, TARGETS)} == 0) or vector(0)", "services"),
            over_time(f"count({Selector(UP, (THE_STACK,))} == 0) or vector(0)", "the stack"),
            unit=s.COUNT,
            steps=[(1.0, s.BAD)],
        ),
        stat(
            "Spans lost",
            "Which share of the spans did no collector get? Traces then have holes.",
            over_time(share(summed(rate(c.SPANS_DROPPED)), summed(rate(c.SPANS_ENDED))), "dropped"),
            unit=s.RATIO,
            steps=[(0.0001, s.WARN), (0.01, s.BAD)],
        ),
        stat(
            "Spans unaccounted for",
            "Is every span accounted for? Ended = exported + dropped + queued, in every scrape; anything but 0 is a defect of the telemetry itself.",
            over_time(unaccounted, "difference"),
            unit=s.COUNT,
            steps=[(1.0, s.BAD)],
        ),
        stat(
            "Log lines lost",
            "How many lines a second could not be written? A full disk, or a reader that is gone.",
            over_time(summed(rate(c.LOG_LINES_LOST)), "lost"),
            unit=s.LOG_LINES,
            steps=[(0.001, s.BAD)],
        ),
    )


def _spans() -> Row:
    links = [to_dashboard("The service", "service", service=of_service("service"))]
    return row(
        timeseries(
            "Spans ended and exported",
            "Does everything leave? Exported that stays below ended is a collector that is slow, away, or refuses.",
            over_time(summed(rate(c.SPANS_ENDED), SERVICE), f"{tag(SERVICE)} ended"),
            over_time(summed(rate(c.SPANS_EXPORTED), SERVICE), f"{tag(SERVICE)} exported"),
            unit=s.SPANS,
            links=links,
        ),
        timeseries(
            "Queue",
            f"Does it fill? It holds {QueueLimits().spans:,} spans, at 1,000 a second a minute's outage of the collector; or as many as "
            "OTEL_BSP_MAX_QUEUE_SIZE says, in compose/compose.yaml 32,768 for all but the gateway.",
            over_time(summed(where(c.SPANS_QUEUED), SERVICE), tag(SERVICE)),
            unit=s.COUNT,
            links=links,
        ),
        timeseries(
            "Spans dropped, by reason",
            "full: the collector is away for too long. rejected: it refuses them. shutdown: the process ended before it came back.",
            over_time(summed(rate(c.SPANS_DROPPED), SERVICE, REASON), f"{tag(SERVICE)} {tag(REASON)}"),
            unit=s.SPANS,
            links=links,
        ),
        title="Traces",
    )


def _rest() -> Row:
    lag = quantile(0.99, rate(c.EVENT_LOOP_LAG, suffix=BUCKET), SERVICE)
    return row(
        timeseries(
            "Lines that arrive in Loki",
            "Do the logs come, from all environments? A service that answers and has no line here: Promtail, or its file.",
            lines_over_time(f"sum by (service) (rate({LINES}[$__auto]))", tag(SERVICE)),
            unit=s.LOG_LINES,
        ),
        timeseries(
            "Scrapes",
            "Are the metrics as fresh as they look? A scrape that takes long blocks the process meanwhile.",
            over_time(
                summed(str(Selector(SCRAPE_DURATION, TARGETS)), SERVICE, INSTANCE), f"{tag(SERVICE)} {tag(INSTANCE)}"
            ),
            unit=s.SECONDS,
        ),
        timeseries(
            "Event loop lag, P99",
            "Is a duration the service's or the loop's? All durations of a process are too long by this much.",
            over_time(lag, tag(SERVICE)),
            unit=s.SECONDS,
            links=[to_dashboard("The service", "service", service=of_service("service"))],
        ),
        title="Logs and metrics",
    )
