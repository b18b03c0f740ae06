"""`goshop slo budget` and a gate that asks for the budget first, by what the real Prometheus answered (tests/stack/recording.py)."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from goshop.cli import main
from slo.verdict import read_verdict
from tests.goshop.replay import prometheus, replay
from tests.slo.published import assert_published

CHECKOUT = "slo/specs/checkout.yaml"
NOTHING = {"resultType": "vector", "result": []}
# A command that finds no k6 after the budgets has sent no load, and says so.
NO_LOAD = {"K6": "/nowhere/k6"}


def goshop(*arguments: object, **variables: str):
    return CliRunner().invoke(main, list(map(str, arguments)), env=variables)


def budget(url, *more: object):
    return goshop("slo", "budget", CHECKOUT, "--prometheus", url, *more)


def test_the_command_says_what_is_left_and_its_exit_code_is_the_answer():
    for name, code in (("healthy", 0), ("spent", 6)):
        with prometheus(replay(name)) as url:
            command = [sys.executable, "-m", "goshop", "slo", "budget", CHECKOUT, "--json"]
            environ = {**os.environ, "GOSHOP_PROMETHEUS": url}
            done = subprocess.run(command, capture_output=True, text=True, check=False, env=environ)
        assert (done.returncode, done.stderr) == (code, "")
        found = json.loads(done.stdout)
        assert [each["slo"] for each in found["slos"]] == ["gateway-availability", "gateway-latency"]
        assert found["slos"][0]["left"] == pytest.approx({"healthy": 0.8, "spent": -1.0}[name])


def test_the_table_names_every_figure_and_where_it_is_from():
    with prometheus(replay("healthy")) as url:
        said = budget(url).stdout
    row = next(line.split() for line in said.splitlines() if "gateway-availability" in line)
    assert row == [
        "gateway-availability",
        "99",
        "%",
        "30d",
        "0.2",
        "%",
        "80.0",
        "%",
        "0.20",
        "not",
        "at",
        "this",
        "rate",
        "raw",
        "series",
    ]
    assert (
        " events were bad, 5400.0 may be; the rules are not loaded there: computed from the raw series, 3.0 h of 30d are known"
        in said
    )


def test_one_slo_that_nobody_knows_is_exit_5_even_beside_one_that_is_spent():
    with prometheus(
        replay(
            "spent",
            **{
                'count_over_time((sum(increase(http_request_duration_seconds_count{service="gateway"}[5m])) and': NOTHING
            },
        )
    ) as url:
        done = budget(url, "--json")
    assert done.exit_code == 5
    assert [each["state"] for each in json.loads(done.stdout)["slos"]] == ["spent", "unknown"]


def test_rules_that_count_an_slo_twice_are_no_answer():
    twice = {
        "resultType": "vector",
        "result": [{"metric": {"sloth_id": "gateway-availability", "cluster": c}, "value": [1, "3"]} for c in "ab"],
    }
    with prometheus(replay("healthy", count_over_time=twice)) as url:
        done = budget(url)
    assert done.exit_code == 5
    assert "is recorded 2 times there: name one by --match" in done.stderr


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        ((), 2, "name the Prometheus with --prometheus URL"),
        (("--prometheus", "nowhere"), 2, "expected an address"),
        (("--prometheus", "http://127.0.0.1:1", "--match", "x"), 2, "--match 'x'"),
        (("--prometheus", "http://127.0.0.1:1"), 5, "nothing answers at http://127.0.0.1:1"),
    ],
)
def test_wrong_usage_is_exit_2_and_no_answer_exit_5(arguments, code, said):
    done = goshop("slo", "budget", CHECKOUT, *arguments)
    assert (done.exit_code, done.stdout) == (code, "")
    assert said in done.stderr


def test_credentials_that_go_unencrypted_are_said_and_nothing_of_them(monkeypatch):
    monkeypatch.setenv("GOSHOP_PROMETHEUS_TOKEN", "s3cret")
    # Nobody listens there, and it is no loopback address.
    done = goshop("slo", "budget", CHECKOUT, "--prometheus", "http://0.0.0.0:1")
    aloud, failed = done.stderr.splitlines()
    assert aloud.startswith("goshop: the credentials of Prometheus go to http://0.0.0.0:1 unencrypted")
    assert (done.exit_code, failed.startswith("goshop: nothing answers at http://0.0.0.0:1")) == (5, True)
    assert "s3cret" not in done.stderr


@pytest.fixture
def gate(tmp_path):
    """Run a gate that never gets as far as a load: the service is not there."""

    def run(answers, *more: object):
        (tmp_path / "load.js").write_text("export default function () {}")
        with prometheus(answers) as url:
            places = ("--dir", tmp_path / "runs", "--out", tmp_path / "out")
            asked = ("--url", "http://127.0.0.1:1", "--script", tmp_path / "load.js", "--prometheus", url)
            done = goshop("gate", CHECKOUT, *asked, *places, *more)
        file = tmp_path / "out" / "verdict.json"
        if file.exists():
            assert_published(json.loads(file.read_bytes()))
        return done, read_verdict(file) if file.exists() else None

    return run


def test_a_spent_budget_freezes_the_release_and_no_load_is_sent(gate, tmp_path):
    done, verdict = gate(replay("spent"), "--annotations")
    assert (done.exit_code, verdict.verdict, verdict.load.requests, verdict.releases) == (6, "frozen", 0, False)
    assert "FROZEN  The error budget is spent: releases are frozen." in done.stdout
    assert (
        "::error file=slo/specs/checkout.yaml,title=checkout%3A error budget::gateway-availability: the error budget is spent"
        in done.stdout
    )
    assert "| gateway-availability | 99 % | 30d | 2 % | -100.0 % |" in (tmp_path / "out" / "report.md").read_text()
    assert (
        '<testcase classname="gate.checkout" name="error budget"><failure'
        in (tmp_path / "out" / "junit.xml").read_text()
    )
    assert "-100.0 %" in (tmp_path / "out" / "report.html").read_text()


def test_a_frozen_release_needs_no_k6_and_what_is_let_through_does(gate, tmp_path, monkeypatch):
    monkeypatch.setenv("K6", str(tmp_path / "none"))
    done, verdict = gate(replay("spent"))
    assert (done.exit_code, verdict.verdict) == (6, "frozen"), done.stderr
    done, verdict = gate(replay("healthy"))
    assert (done.exit_code, verdict.verdict) == (5, "error")
    assert "k6 is missing" in done.stderr
    assert "k6 is missing" in verdict.load.problems[0]


def test_who_says_why_is_let_through_to_the_measurement(gate):
    done, _ = gate(replay("spent"), "--ignore-budget", "mends the outage")
    assert (done.exit_code, "nothing answers at http://127.0.0.1:1" in done.stderr) == (5, True)


def test_a_budget_that_is_left_lets_the_load_begin(gate):
    done, _ = gate(replay("healthy"))
    assert "nothing answers at http://127.0.0.1:1" in done.stderr


def test_a_prometheus_that_does_not_answer_keeps_the_release_unless_somebody_says_why(gate):
    done, verdict = gate(lambda *_: (503, b""))
    assert (done.exit_code, verdict.verdict) == (5, "error")
    assert "is no Prometheus (503)" in done.stderr
    assert "--ignore-budget REASON releases all the same" in done.stderr
    done, _ = gate(lambda *_: (503, b""), "--ignore-budget", "mends Prometheus")
    assert "nothing answers at http://127.0.0.1:1" in done.stderr


def test_the_budgets_of_a_gate_are_narrowed_where_several_clusters_record_them(gate):
    twice = {
        "resultType": "vector",
        "result": [{"metric": {"sloth_id": "gateway-availability", "cluster": c}, "value": [1, "3"]} for c in "ab"],
    }
    asked = []

    def answers(query, headers):
        asked.append(query)
        if 'cluster="a"' not in query:
            return replay("healthy", count_over_time=twice)(query, headers)
        return replay("healthy")(query.replace('cluster="a",', "").replace('{cluster="a"}', ""), headers)

    done, _ = gate(answers)
    assert "is recorded 2 times there: name one by --match" in done.stderr
    asked.clear()
    done, _ = gate(answers, "--match", 'cluster="a"')
    assert "nothing answers at http://127.0.0.1:1" in done.stderr
    assert all('cluster="a"' in query for query in asked if query != "time()")


def test_a_reason_without_a_prometheus_is_wrong_usage(tmp_path):
    done = goshop("gate", "--dir", tmp_path / "runs", "--ignore-budget", "because")
    assert (done.exit_code, "nobody asks for one without --prometheus" in done.stderr) == (2, True)
    assert not Path(tmp_path / "runs").exists()
