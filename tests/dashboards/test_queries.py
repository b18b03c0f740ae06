"""What dashboards ask for is there to be asked: names and labels of series, edges of buckets, and units that fit them."""

import re
from pathlib import Path

import pytest

from dashboards import style as s
from dashboards.promql import FOREIGN, HTTP_ERRORS, RPC_ERRORS
from slo.generation.alerts import Sites
from slo.generation.artefacts import groups_of
from slo.generation.model import Record
from slo.openslo.known_series import TARGET_LABELS, edge_fault, series, value_fault
from slo.openslo.loading import load_specification
from slo.openslo.promql import Matcher
from telemetry import conventions as c
from tests.dashboards.boards import BOARDS, MATCHER, SELECTOR, STRING, Query, alerts, everything, queries

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
    *("by", "on", "and", "or", "end"),
}
# Those who watch are nobody's service.
THE_STACK = 'up{job!="goshop"}'
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
    of_calls = "label_replace" in query.text
    for each in SELECTOR.finditer(query.text):
        for match in MATCHER.finditer(each["matchers"]):
            matcher = Matcher(match["label"], match["operator"], match["value"])
            assert value_fault(matcher) == ""
            if matcher.label == c.BOUND_LABEL and not of_calls:
                assert edge_fault(each["metric"], matcher.value) == ""


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
    if "histogram_quantile" in text or text.startswith("(label_replace(vector") or "scrape_duration_seconds" in text:
        return "seconds"
    if "slo:" in text or text.startswith("vector("):
        return of_budget(text)
    if text.startswith("60 * "):
        return "per minute"
    above, _, below = text.partition("\n/\n")
    if below:
        return "seconds" if "_sum{" in above else "share"
    if "_sum{" in text or "process_cpu_seconds" in text:
        # Seconds a second: how many at once.
        return "number"
    return "per second" if "rate(" in text else "number"


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
