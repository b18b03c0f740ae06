"""Links hold the time of the run, and lead where they say."""

import json
from dataclasses import replace
from html import escape
from urllib.parse import parse_qs, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from slo.gate import evaluate, write_reports
from slo.links import run_links
from slo.verdict import Traces
from tests.slo.synthetic import BEGIN, delayed

GRAFANA = "https://grafana.example.org/team/"
TRACES = Traces(slowest=("a" * 32, "b" * 32), failed=("c" * 32,))
SPAN = {"from": str(int(BEGIN - 30) * 1000), "to": str(int(BEGIN + 66) * 1000)}


def links(gate, traces=TRACES, grafana=GRAFANA):
    return run_links(grafana, gate, traces, started=BEGIN, ended=BEGIN + 36)


def pane(link):
    query = parse_qs(urlsplit(link.url).query)
    return json.loads(query["panes"][0])["run"]


def test_a_dashboard_is_shown_at_the_time_of_the_run_with_what_its_link_says_already(gate):
    found, *_ = [link for link in links(gate) if link.kind == "dashboard"]
    address = urlsplit(found.url)
    assert (address.netloc, address.path) == ("grafana.example.org", "/team/d/goshop-service")
    assert parse_qs(address.query) == {"var-service": ["gateway"]} | {key: [value] for key, value in SPAN.items()}


def test_an_absolute_dashboard_stays_where_it_is(gate):
    elsewhere = replace(gate, dashboards=("https://other.example.org/d/x",))
    assert links(elsewhere)[0].url.startswith("https://other.example.org/d/x?from=")


def test_the_shop_s_dashboards_come_together(gate):
    found = [urlsplit(link.url) for link in links(gate) if link.kind == "dashboard"]
    assert [address.path.rpartition("/")[2] for address in found] == ["goshop-service", "goshop-slo", "goshop-gates"]
    assert {parse_qs(address.query)["var-service"][0] for address in found} == {"gateway"}


def test_traces_are_the_slow_ones_and_each_that_the_report_names_within_the_run(gate):
    panes = [pane(link) for link in links(gate) if link.kind == "traces"]
    queries = [found["queries"][0]["query"] for found in panes]
    assert queries == ["{ trace:duration > 800ms }", "c" * 32, "a" * 32, "b" * 32]
    assert all(found["range"] == SPAN and found["datasource"] == "tempo" for found in panes)
    assert {json.dumps(found["queries"][0]["datasource"]) for found in panes} == {'{"type": "tempo", "uid": "tempo"}'}


def test_logs_are_the_errors_of_the_run_and_the_lines_of_each_trace(gate):
    panes = [pane(link) for link in links(gate) if link.kind == "logs"]
    assert [found["queries"][0]["expr"] for found in panes] == [
        '{job="backend-app", level=~"(?i)error|critical"}',
        *(f'{{job="backend-app"}} | trace_id="{letter * 32}"' for letter in "cab"),
    ]
    assert {(found["datasource"], found["queries"][0]["datasource"]["type"]) for found in panes} == {("loki", "loki")}
    assert all(found["range"] == SPAN for found in panes)


def test_what_a_script_says_in_the_place_of_an_id_is_part_of_no_query(gate):
    found = links(gate, Traces(slowest=('ab" or "x', "A" * 32, "a" * 33), failed=("c" * 32, "")))
    assert {link.trace_id for link in found} == {"", "c" * 32}
    assert not any("%20or%20" in link.url or "A" * 32 in link.url for link in found)


@pytest.mark.parametrize(
    ("dashboard", "title"),
    [
        ("/d/goshop-service?var-service=gateway", "dashboard goshop-service of gateway"),
        ("/d/goshop-slo", "dashboard goshop-slo"),
        ("https://g.example.org/team/d/abc/my-page?orgId=1&var-service=a%20b#x", "dashboard abc of a b"),
        ("https://g.example.org/dashboards", "dashboard dashboards"),
    ],
)
def test_a_dashboard_is_called_by_its_uid_and_the_service_that_it_shows(gate, dashboard, title):
    assert links(replace(gate, dashboards=(dashboard,)))[0].title == title


def test_of_many_traces_some_are_linked_and_none_twice(gate):
    many = tuple(f"{number:032x}" for number in range(20))
    ids = [link.trace_id for link in links(gate, Traces(slowest=many, failed=many[3:])) if link.trace_id]
    assert len(ids) == 2 * len(set(ids))
    assert set(ids) == {*many[:5], *many[3:8]}


SITES = st.sampled_from(["https://g.example.org", "http://127.0.0.1:3000/", "https://example.org/tools/grafana//"])
DASHBOARDS = st.lists(st.from_regex(r"/d/[a-z0-9-]{1,30}(\?var-service=[a-z%+]{1,9})?(#[a-z]{1,5})?", fullmatch=True))
IDS = st.lists(st.from_regex(r"[0-9a-f]{32}", fullmatch=True), max_size=8, unique=True).map(tuple)


@given(
    site=SITES,
    dashboards=DASHBOARDS,
    traces=st.builds(Traces, IDS, IDS),
    time=st.tuples(st.floats(1e9, 4e9), st.floats(0, 1e6)),
)
@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_whatever_is_linked_can_be_read_back(gate, site, dashboards, traces, time):
    began, seconds = time
    asked = replace(gate, dashboards=tuple(dashboards))
    found = run_links(site, asked, traces, started=began, ended=began + seconds)
    for link in found:
        address = urlsplit(link.url)
        assert f"{address.scheme}://{address.netloc}{address.path}".startswith(site.rstrip("/"))
        assert link.url.isascii()
        assert not set(link.url) & set(' "<>\\^`{|}')
        shown = parse_qs(address.query, strict_parsing=True)
        span = {key: shown[key][0] for key in SPAN} if link.kind == "dashboard" else pane(link)["range"]
        assert int(span["from"]) <= (began - 30) * 1000 < int(span["from"]) + 1
        assert int(span["to"]) - 1 < (began + seconds + 30) * 1000 <= int(span["to"])
        if link.trace_id:
            (query,) = pane(link)["queries"]
            assert link.trace_id in {query.get("query"), query.get("expr", "").partition("trace_id=")[2].strip('"')}
    assert {link.trace_id for link in found} - {""} == {*traces.slowest[:5], *traces.failed[:5]}


def test_links_of_a_trace_stand_beside_its_waterfall_and_share_a_line(run, tmp_path):
    run.spoil(0.2, "/api/products", delayed)
    judged = evaluate(run.facts(grafana=GRAFANA))
    write_reports(tmp_path, judged.verdict, judged.evidence)
    traced = [link for link in judged.verdict.links if link.trace_id]
    page, text = (tmp_path / "report.html").read_text(), (tmp_path / "report.md").read_text()
    assert len(traced) >= 10
    for spans, logs in zip(traced[::2], traced[1::2], strict=True):
        place = page.index(f'<details id="{spans.trace_id}"')
        assert place < page.index(escape(spans.url)) < page.index(escape(logs.url)) < page.index("</details>", place)
        assert f"(<{spans.url}>), [its log lines" in text


def test_without_grafana_there_are_no_links(gate, run):
    assert links(gate, grafana="") == ()
    assert evaluate(run.facts()).verdict.links == ()


def test_every_report_that_can_link_does(run, tmp_path):
    judged = evaluate(run.facts(grafana=GRAFANA))
    write_reports(tmp_path, judged.verdict, judged.evidence)
    for link in judged.verdict.links:
        assert f"(<{link.url}>)" in (tmp_path / "report.md").read_text()
        assert link.url.replace("&", "&amp;") in (tmp_path / "report.html").read_text()


def test_an_address_of_another_kind_links_nowhere(run, tmp_path):
    judged = evaluate(run.facts(grafana="javascript:alert(1)//"))
    write_reports(tmp_path, judged.verdict, judged.evidence)
    assert "javascript" not in (tmp_path / "report.md").read_text()
    assert "javascript" not in (tmp_path / "report.html").read_text()
