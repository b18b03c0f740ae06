"""Links hold the time of the run, and lead where they say."""

import json
from dataclasses import replace
from urllib.parse import parse_qs, urlsplit

from slo.gate import evaluate, write_reports
from slo.links import run_links
from slo.verdict import Traces
from tests.slo.synthetic import BEGIN

GRAFANA = "https://grafana.example.org/team/"
TRACES = Traces(slowest=("a" * 32, "b" * 32), failed=("c" * 32,))
SPAN = {"from": str(int(BEGIN - 30) * 1000), "to": str(int(BEGIN + 66) * 1000)}


def links(gate, traces=TRACES, grafana=GRAFANA):
    return run_links(grafana, gate, traces, started=BEGIN, ended=BEGIN + 36)


def pane(link):
    query = parse_qs(urlsplit(link.url).query)
    return json.loads(query["panes"][0])["run"]


def test_a_dashboard_is_shown_at_the_time_of_the_run_with_what_its_link_says_already(gate):
    (found,) = [link for link in links(gate) if link.kind == "dashboard"]
    address = urlsplit(found.url)
    assert (address.netloc, address.path) == ("grafana.example.org", "/team/d/goshop-service")
    assert parse_qs(address.query) == {"var-service": ["gateway"]} | {key: [value] for key, value in SPAN.items()}


def test_an_absolute_dashboard_stays_where_it_is(gate):
    elsewhere = replace(gate, dashboards=("https://other.example.org/d/x",))
    assert links(elsewhere)[0].url.startswith("https://other.example.org/d/x?from=")


def test_traces_are_the_slow_ones_the_slowest_and_a_failed_one_within_the_run(gate):
    panes = [pane(link) for link in links(gate) if link.kind == "traces"]
    assert [found["queries"][0]["query"] for found in panes] == ["{ trace:duration > 800ms }", "a" * 32, "c" * 32]
    assert all(found["range"] == SPAN and found["datasource"] == "tempo" for found in panes)


def test_logs_are_those_of_the_run(gate):
    (found,) = [pane(link) for link in links(gate) if link.kind == "logs"]
    assert (found["datasource"], found["range"]) == ("loki", SPAN)


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
