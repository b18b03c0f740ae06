"""`goshop gate --source prometheus` by what the real Prometheus answered: the exit code is the answer, and nothing is loaded."""

import json
import os
import subprocess
import sys

import pytest
from click.testing import CliRunner

from goshop.cli import main
from goshop.measurement import MeasurementFailed, WrongRequest
from goshop.ports import reserve
from goshop.prometheus import connect
from goshop.series_source import Past, end_of, measure_window, seconds_of
from slo.openslo.loading import load_gate_with_slos
from slo.verdict import Release, read_verdict
from tests.goshop.plain import write_specification
from tests.goshop.replay import prometheus, recorded, replay
from tests.slo.published import assert_published

NOTHING = {"resultType": "matrix", "result": []}
COUNT = "http_request_duration_seconds_count"
BUCKET = "http_request_duration_seconds_bucket"


@pytest.fixture
def judge(tmp_path):
    def run(answers, *more: object, specification=None):
        with prometheus(answers) as url:
            places = ("--dir", tmp_path / "runs", "--out", tmp_path / "out")
            gate = specification or write_specification(tmp_path / "gate.yaml")
            asked = ("gate", gate, "--source", "prometheus", "--prometheus", url, "--window", "10m", *places, *more)
            done = CliRunner().invoke(main, list(map(str, asked)))
        file = tmp_path / "out" / "verdict.json"
        if file.exists():
            assert_published(json.loads(file.read_bytes()))
        return done, read_verdict(file) if file.exists() else None

    return run


def test_the_command_passes_a_healthy_canary_without_a_load(tmp_path):
    gate = write_specification(tmp_path / "gate.yaml")
    with prometheus(replay("canary")) as url:
        command = [sys.executable, "-m", "goshop", "gate", gate, "--source", "prometheus", "--window", "10m", "--json"]
        environ = {**os.environ, "GOSHOP_PROMETHEUS": url, "K6": "/nowhere"}
        done = subprocess.run(
            [*command, "--dir", tmp_path / "runs"], capture_output=True, text=True, check=False, env=environ
        )
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert [(each["name"], each["total"], each["bad"]) for each in found["objectives"]] == [
        ("p99-latency", 30_000, 90),
        ("error-rate", 30_000, 60),
        ("throughput", 30_000, 0),
    ]
    assert (found["source"]["prometheus"], found["reconciliation"]["agree"]) == (url, None)


def test_a_broken_one_is_exit_1_and_the_reports_say_what_was_read(judge, tmp_path):
    done, verdict = judge(replay("broken"), "--release", "2.0", "--grafana", "https://grafana.example.org")
    assert (done.exit_code, verdict.verdict, verdict.release.version) == (1, "fail", "2.0")
    assert "no load was sent; series of 600 s; 1 target, 16 blocks" in done.stdout
    for name in ("report.md", "report.html"):
        assert "o load was sent; series of 600 s; 1 target, 16 blocks" in (tmp_path / "out" / name).read_text()
    assert "reconciliation" not in (tmp_path / "out" / "junit.xml").read_text()
    assert {link.kind for link in verdict.links} == {"dashboard", "traces", "logs"}


def test_what_comes_after_the_verdict_changes_neither_it_nor_the_exit_code(judge, tmp_path, monkeypatch):
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://[::1")
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "no" / "such" / "folder"))
    monkeypatch.setenv("GRAFANA_TOKEN", "t0ken")
    with reserve(1) as (port,):
        done, verdict = judge(replay("canary"), "--annotations", "--grafana", f"http://127.0.0.1:{port}")
    assert (done.exit_code, verdict.verdict) == (0, "pass")
    assert "the job has no summary: FileNotFoundError" in done.stderr
    assert "the run's spans are sent to no collector: OTEL_EXPORTER_OTLP_ENDPOINT=http://[::1" in done.stderr
    assert "the run is not marked in Grafana: nothing answers" in done.stderr


def test_a_series_that_is_missing_is_exit_5_and_never_a_pass(judge):
    for gone, said in ((COUNT, f"there is no series {COUNT}"), (BUCKET, "nobody knows how many were slow")):
        done, verdict = judge(replay("canary", **{gone: NOTHING}))
        assert (done.exit_code, verdict.verdict) == (5, "error")
        assert said in done.stdout


def test_a_prometheus_that_does_not_answer_is_exit_5_with_its_reports(judge):
    done, verdict = judge(lambda *_: (401, b""))
    assert (done.exit_code, verdict.verdict) == (5, "error")
    assert "refuses who asks (401)" in done.stderr
    assert "refuses who asks (401)" in verdict.load.problems[0]


def test_a_prometheus_whose_clock_tells_no_time_is_exit_5_with_its_reports(judge):
    done, verdict = judge(replay("canary", **{"time()": {"resultType": "scalar", "result": [1.0, "NaN"]}}))
    assert (done.exit_code, verdict.verdict) == (5, "error")
    assert "has a clock that says nan" in done.stderr


def test_a_percentile_that_cannot_be_had_is_said_and_decides_nothing(judge):
    def answers(query, headers):
        refused = 422, b'{"status": "error", "error": "no such function"}'
        return refused if query.startswith("histogram_quantile") else replay("canary")(query, headers)

    done, verdict = judge(answers)
    assert (done.exit_code, verdict.objectives[0].actual) == (0, None)
    assert any("p99-latency: its percentile is not known" in remark for remark in verdict.source.remarks)
    assert "no answer" not in done.stdout


def test_a_pod_that_never_came_up_is_exit_5_and_asked_for_by_the_matchers_that_its_target_has(judge):
    times = [
        at for at, _ in recorded("canary")["answers"]['up{instance=~"a:1",job="shop"}[900s]']["result"][0]["values"]
    ]
    target = {"job": "shop", "release": "canary"}
    ever = [
        {"metric": target | {"instance": name}, "value": [1, value]} for name, value in (("a:1", "1"), ("c.1", "0"))
    ]
    ups = [
        {"metric": target | {"instance": name}, "values": [[at, value] for at in times]}
        for name, value in (("a:1", "1"), ("c.1", "0"))
    ]
    asked = []

    def answers(query, headers):
        asked.append(query)
        plain = query.replace(',release="canary"', "").replace('release="canary",', "")
        changed = {
            "max_over_time(up": {"resultType": "vector", "result": ever},
            "up{": {"resultType": "matrix", "result": ups},
        }
        return replay("canary", **changed)(plain, headers)

    done, verdict = judge(answers, "--match", 'release="canary"')
    assert (done.exit_code, verdict.load.problems) == (5, ("shop c.1 did not answer a single scrape of the window",))
    assert 'max_over_time(up{job="shop",release="canary"}[600s])' in asked
    assert 'up{instance=~"a:1|c\\\\.1",job="shop",release="canary"}[900s]' in asked


PUSHED = """
apiVersion: openslo/v1
kind: DataSource
metadata: {name: load, annotations: {goshop.dev/series: foreign}}
spec: {type: Prometheus}
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: answered}
spec:
  service: articles
  indicator:
    metadata: {name: answered}
    spec:
      ratioMetric:
        counter: true
        bad: {metricSource: {metricSourceRef: load, spec: {query: 'k6_http_reqs_total{expected_response="false"}'}}}
        total: {metricSource: {metricSourceRef: load, spec: {query: k6_http_reqs_total}}}
  timeWindow: [{duration: 30d}]
  budgetingMethod: Occurrences
  objectives: [{target: 0.99}]
---
apiVersion: goshop/v1
kind: ReleaseGate
metadata: {name: articles}
spec:
  script: load.js
  objectives: [{name: errors, sloRef: answered}]
"""


@pytest.fixture
def pushed(tmp_path):
    (tmp_path / "load.js").write_text("export default function () {}")
    path = tmp_path / "pushed.yaml"
    path.write_text(PUSHED)
    return path


NOW = 10_000.0


def soak(query, _headers):
    """Answer as 16 routes of a run that began long ago: each failed 60 times in the first minutes, and once in the window."""
    data = {"resultType": "scalar", "result": [NOW, str(NOW)]}
    failed = [{"__name__": "k6_http_reqs_total", "expected_response": "false", "name": str(each)} for each in range(16)]
    if query.startswith("last_over_time"):
        data = {"resultType": "vector", "result": [{"metric": labels, "value": [9100, "60"]} for labels in failed]}
    elif "false" in query:
        values = [[[NOW - 580 + 36 * index, "61"]] for index in range(16)]
        data = matrix_of(zip(failed, values, strict=True))
    elif query != "time()":
        steady = [[at, str(20 * at)] for at in range(9105, 10_001, 5)]
        data = matrix_of([({"__name__": "k6_http_reqs_total"}, steady)])
    return 200, json.dumps({"status": "success", "data": data}).encode()


def matrix_of(series):
    return {"resultType": "matrix", "result": [{"metric": labels, "values": values} for labels, values in series]}


def test_errors_of_a_soak_tests_first_minutes_are_not_those_of_its_last(judge, pushed):
    done, verdict = judge(soak, specification=pushed)
    assert (done.exit_code, verdict.objectives[0].total, verdict.objectives[0].bad) == (0, 12_000, 16), done.stdout


def test_more_samples_than_memory_should_hold_are_refused(pushed):
    with prometheus(soak) as url:
        gate, slos = load_gate_with_slos(pushed)
        asked = {"prometheus": connect(url, {}), "matchers": (), "seconds": 600, "end": None, "release": Release()}
        past = Past(gate=gate, slos={slo.name: slo for slo in slos}, most_samples=100, **asked)
        with pytest.raises(MeasurementFailed, match="too many samples: ask for less with --match"):
            measure_window(past)


def test_less_than_two_scrapes_for_each_block_never_pass(judge):
    data = json.loads(json.dumps(recorded("canary")["answers"]))
    # One scrape in eight: each 2 minutes.
    thinned = {query: rarely(found) for query, found in data.items() if found["resultType"] == "matrix"}
    done, verdict = judge(replay("canary", **thinned))
    assert (done.exit_code, verdict.verdict) == (3, "inconclusive")
    assert "600 s are too short to pass: 1440 s are needed, two scrapes for each block" in done.stdout


def rarely(data):
    for series in data["result"]:
        series["values"] = series["values"][::-8][::-1]
    return data


def test_an_objective_of_one_route_is_counted_by_its_labels(judge, tmp_path):
    more = "    - name: orders\n      sloRef: gateway-availability\n      endpoint: GET /orders\n"
    specification = write_specification(tmp_path / "orders.yaml", more)
    asked = []

    def answers(query, headers):
        asked.append(query)
        return replay("canary", **{f'{COUNT}{{endpoint="/orders"': NOTHING})(query, headers)

    done, _ = judge(answers, specification=specification)
    assert f'{COUNT}{{endpoint="/orders",method="GET",service="gateway"}}[900s]' in asked
    assert (done.exit_code, f'orders: there is no series {COUNT}{{endpoint="/orders"' in done.stdout) == (5, True)


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--window", "soon"), "--window: expected a time up to 1d such as 15m"),
        (("--window", "2d"), "--window: expected a time up to 1d such as 15m"),
        (("--window", ""), "--window: expected a time up to 1d such as 15m"),
        (("--end", "tomorrow"), "--end: expected a time such as 2026-01-31T12:00:00Z"),
        (("--end", "2026-01-31T12:00:00"), "--end: expected a time such as 2026-01-31T12:00:00Z"),
        (("--end", "4000000000"), "ahead of the clock of http://127.0.0.1:"),
        (("--match", 'le="0.8"'), "--match: le is the edge of a bucket"),
        (("--url", "http://127.0.0.1:1"), "--url: --source prometheus sends no load"),
        (("--profile", "ramp"), "--profile: --source prometheus sends no load"),
        (("--no-early-stop",), "--no-early-stop: --source prometheus sends no load"),
        (("--ignore-budget", "why"), "--ignore-budget: --source prometheus sends no load"),
        (("--grafana", "grafana"), "expected an address such as https://grafana.example.org"),
    ],
)
def test_what_does_not_fit_is_exit_2_with_one_sentence(judge, arguments, said):
    done, verdict = judge(replay("canary"), *arguments)
    assert (done.exit_code, done.stdout, verdict) == (2, "", None)
    assert said in done.stderr
    assert len(done.stderr.splitlines()) == 1


@pytest.mark.parametrize("option", [("--window", "5m"), ("--end", "now"), ("--match", 'a="b"')])
def test_what_is_about_series_says_nothing_of_a_load(option, tmp_path):
    done = CliRunner().invoke(main, ["gate", "--dir", str(tmp_path / "runs"), *option])
    assert (done.exit_code, f"{option[0]} is for --source prometheus" in done.stderr) == (2, True)


def test_times_are_read_as_people_write_them():
    assert (seconds_of("90s"), seconds_of("2h"), seconds_of("1d")) == (90, 7200, 86_400)
    assert end_of("2026-01-31T12:00:00Z") == end_of("2026-01-31T13:00:00+01:00") == end_of("1769860800") == 1769860800
    assert (end_of(""), end_of("now")) == (None, None)
    with pytest.raises(WrongRequest):
        end_of("1769860800000")
