"""What dashboards ask for is there to be asked: names and labels of series, edges of buckets, and units that fit them."""

import re
from pathlib import Path

import pytest

from dashboards import style as s
from dashboards.promql import FOREIGN, HTTP_ERRORS, RPC_ERRORS
from slo.generation.alerts import Sites
from slo.generation.artefacts import groups_of
from slo.generation.model import Record
from slo.openslo.known_series import BUCKET, COUNT, TARGET_LABELS, edge_fault, series, value_fault
from slo.openslo.loading import load_specification
from slo.openslo.promql import Matcher
from telemetry import conventions as c
from tests.dashboards.boards import (
    BOARDS,
    MATCHER,
    SELECTOR,
    STRING,
    Query,
    alerts,
    everything,
    panels,
    queries,
    said,
    variables_in,
)

ROOT = Path(__file__).parents[2]
SPECIFICATION = load_specification([ROOT / "slo" / "specs"])
RECORDS = [
    rule
    for slo in SPECIFICATION.slos
    for group in groups_of(slo, Sites())
    for rule in group.rules
    if isinstance(rule, Record)
]
RECORDED = {record.name: {label for label, _ in record.labels} for record in RECORDS}
LATENCIES = {str(slo.sli.le) for slo in SPECIFICATION.slos if slo.sli.le is not None}
BUDGETS = {str(slo.budget) for slo in SPECIFICATION.slos if slo.sli.kind == "availability"}
# What Prometheus and alerting rules add.
ALERT_LABELS = {"alertname", "alertstate", "severity", "notify", "sloth_id", "sloth_service", "sloth_slo"}
ALL = [query for board in BOARDS.values() for query in everything(board)]
PROMQL = [query for query in ALL if query.language == "promql"]
LOGQL = [query for query in ALL if query.language == "logql"]
TRACEQL = [query for query in ALL if query.language == "traceql"]
GROUPED = re.compile(r"\b(?:by|on)\s*\(([^)]*)\)")
MADE = re.compile(r'label_replace\(.*?, "(\w+)",')
WORDS = {
    *("sum", "count", "min", "max", "topk", "rate", "histogram_quantile", "label_replace", "vector"),
    *("abs", "clamp_min"),
    *("by", "on", "and", "or", "end", "group_left"),
}
# What leads from a slow bucket to a trace (telemetry.metrics).
LEADING = {
    f"{metric}{BUCKET}"
    for metric in (
        *(c.HTTP_REQUEST_DURATION, c.RPC_SERVER_DURATION, c.RPC_CLIENT_DURATION),
        *(c.DB_QUERY_DURATION, c.REDIS_COMMAND_DURATION),
    )
}
# Rules count over all environments, and Promtail does not know whose a line is: who shows them says so.
OF_ALL = "all environments"
# Those who watch are nobody's service.
THE_STACK = 'up{job!="goshop"}'
# What objectives are of.
SLI_METRICS = (c.HTTP_REQUEST_DURATION, c.RPC_SERVER_DURATION)
LOG_LABELS = {"job", c.LOG_SERVICE, c.LOG_LEVEL, c.LOG_TRACE_ID}
SPAN_ATTRIBUTES = {
    value for name, value in vars(c).items() if name.isupper() and isinstance(value, str) and "." in value
}

ids = {"ids": lambda query: query.id}


def labels_of(metric):
    """Return the labels that series of a name have."""
    if metric in RECORDED:
        return RECORDED[metric]
    if metric in FOREIGN:
        return ALERT_LABELS if metric == "ALERTS" else set(TARGET_LABELS)
    return {*series()[metric].labels, *TARGET_LABELS}


@pytest.mark.parametrize("query", PROMQL, **ids)
def test_series_and_their_labels_are_ours_and_recorded_or_prometheus_own(query: Query):
    text = query.filled(dict.fromkeys(("service", "environment", "__rate_interval", "__range"), "1m"))
    selectors = [(each["metric"], each["matchers"]) for each in SELECTOR.finditer(text)]
    assert selectors or text.startswith("vector(")
    for metric, matchers in selectors:
        assert metric in {*RECORDED, *FOREIGN, *series()}
        assert {each["label"] for each in MATCHER.finditer(matchers)} <= labels_of(metric)


@pytest.mark.parametrize("query", PROMQL, **ids)
def test_what_is_grouped_by_are_labels_of_what_is_read(query: Query):
    there = {label for each in SELECTOR.finditer(query.text) if each["metric"] for label in labels_of(each["metric"])}
    made = set(MADE.findall(query.text))
    grouped = {name.strip() for group in GROUPED.findall(query.text) for name in group.split(",") if name.strip()}
    assert grouped <= there | made


@pytest.mark.parametrize("query", PROMQL, **ids)
def test_nothing_is_read_but_by_a_selector_of_the_chosen_services(query: Query):
    bare = STRING.sub('""', SELECTOR.sub(" ", query.text))
    bare = re.sub(r"\[[^\]]*\]", " ", GROUPED.sub("by", bare))
    assert set(re.findall(r"[a-zA-Z_:][\w:]*", bare)) <= WORDS
    for each in SELECTOR.finditer(query.text):
        if each.group() == THE_STACK:
            continue
        labels = {match["label"]: match["value"] for match in MATCHER.finditer(each["matchers"])}
        assert "$service" in {labels.get("service"), labels.get("sloth_service")}


@pytest.mark.parametrize("query", PROMQL, **ids)
def test_an_edge_of_a_bucket_and_a_status_are_ones_that_there_are(query: Query):
    for each in SELECTOR.finditer(query.text):
        for match in MATCHER.finditer(each["matchers"]):
            matcher = Matcher(match["label"], match["operator"], match["value"])
            assert value_fault(matcher) == ""
            if matcher.label == c.BOUND_LABEL:
                assert edge_fault(each["metric"], matcher.value) == ""


def environment_is_chosen(query):
    """Tell whether everything that a query reads is of the environment that is chosen."""
    if query.language != "promql":
        return "environment" in variables_in(query.text)
    return all(
        "$environment" in each["matchers"] or each.group() == THE_STACK for each in SELECTOR.finditer(query.text)
    )


@pytest.mark.parametrize("query", ALL, **ids)
def test_the_environment_that_is_chosen_is_asked_or_it_is_said_that_it_is_not(query: Query):
    of_one_trace = query.language == "logql" and c.LOG_TRACE_ID in query.text
    assert environment_is_chosen(query) or of_one_trace or OF_ALL in query.said.lower()


@pytest.mark.parametrize("query", TRACEQL, **ids)
def test_traces_are_those_of_the_chosen_services(query: Query):
    assert variables_in(query.text) == {"service", "environment"}


def read(text):
    return {each["metric"] for each in SELECTOR.finditer(text)}


@pytest.mark.parametrize("uid", BOARDS)
def test_where_a_percentile_is_drawn_requests_stand_that_lead_to_traces(uid):
    drawn = [panel for panel in panels(BOARDS[uid]) if panel["type"] == "timeseries"]
    leading = [
        panel
        for panel in drawn
        if any("histogram_quantile" in text and read(text) & LEADING for _, text in map(said, panel["targets"]))
    ]
    assert [panel["title"] for panel in leading if not any(target["exemplar"] for target in panel["targets"])] == []


@pytest.mark.parametrize("query", [query for query in PROMQL if query.exemplars], **ids)
def test_requests_are_asked_for_where_there_are_some(query: Query):
    assert read(query.text) <= LEADING


@pytest.mark.parametrize("query", [query for query in PROMQL if query.colored], **ids)
def test_a_colour_of_errors_or_durations_is_that_of_the_service_s_own_objective(query: Query):
    of_objectives = {f"{metric}{suffix}" for metric in SLI_METRICS for suffix in (BUCKET, COUNT)}
    if read(query.text) & of_objectives:
        assert "label_replace(vector(" in query.text


def test_no_count_is_extrapolated():
    assert [query.id for query in PROMQL if "increase(" in query.text or "[30d" in query.text] == []


def test_errors_are_those_that_the_objectives_count():
    bad = {
        matcher
        for slo in SPECIFICATION.slos
        if slo.sli.kind == "availability"
        for matcher in slo.sli.events.matchers
        if matcher.label != c.LOG_SERVICE
    }
    assert bad == {HTTP_ERRORS, RPC_ERRORS}


@pytest.mark.parametrize("query", LOGQL, **ids)
def test_labels_of_lines_are_those_that_promtail_gives(query: Query):
    text = re.sub(r'"(?:[^"\\]|\\.)*"', '""', query.text)
    assert set(re.findall(r"(\w+)\s*(?:=~|!=|=)", text)) <= LOG_LABELS


@pytest.mark.parametrize("query", TRACEQL, **ids)
def test_attributes_of_spans_are_those_of_the_conventions(query: Query):
    assert set(re.findall(r"(?:span|resource)\.([a-z._]+)", query.text)) <= SPAN_ATTRIBUTES


# --- units ------------------------------------------------------------------------------------------------------------
UNITS = {
    "seconds": {"s"},
    "share": {"percentunit"},
    "times": {s.TIMES},
    "per second": {"reqps", "ops", "suffix:spans/s", "suffix:lines/s"},
    "per minute": {"opm", "short"},
    "number": {"short", "suffix:conn."},
    "days": {"d"},
}


def dimension(expression):
    """Return what the values of an expression are, by what it is made of."""
    text = expression.split("\nand on", 1)[0]
    if text.startswith(("topk(5, ", "(")) and text.endswith(")"):
        text = re.sub(r"^topk\(5, |\)$", "", text)
    if "(label_replace(vector" in text:
        return of_limits(text)
    if "histogram_quantile" in text or "scrape_duration_seconds" in text:
        return "seconds"
    if "slo:" in text or text.startswith("vector("):
        return of_budget(text)
    if text.startswith("60 * "):
        return "per minute"
    above, _, below = text.partition("\n/\n")
    if below:
        return "seconds" if "_sum{" in above else "share"
    # Seconds a second: how many at once.
    of_seconds = "_sum{" in text or "process_cpu_seconds" in text
    return "per second" if "rate(" in text and not of_seconds else "number"


def constants(text):
    return set(re.findall(r"vector\(([^)]*)\)", text))


def of_limits(text):
    """Return what limits are, or a part of each service's own: seconds of seconds are a share, errors of a budget how many times."""
    if "group_left" not in text:
        return "share" if constants(text) <= BUDGETS else "seconds"
    of_durations = "histogram_quantile" in text
    assert constants(text) <= (LATENCIES if of_durations else BUDGETS)
    return "share" if of_durations else "times"


def of_budget(text):
    if "time_period:days" in text:
        return "days"
    if "burn_rate" in text or text.startswith("vector("):
        return "times"
    return "times" if re.search(r"ratio_rate\w+\{[^/]*\n/\nsum", text) else "share"


@pytest.mark.parametrize(
    "query", [q for board in BOARDS.values() for q in queries(board) if q.language == "promql"], **ids
)
def test_a_unit_fits_what_is_shown(query: Query):
    assert query.unit in UNITS[dimension(query.text)]


def test_alerts_are_marked_by_the_series_that_prometheus_writes():
    assert {query.text for board in BOARDS.values() for query in alerts(board)} == {
        'ALERTS{alertstate="firing",sloth_service=~"$service"}'
    }
