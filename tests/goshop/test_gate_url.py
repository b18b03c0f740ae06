"""`goshop gate --url` as people use it: a real k6 with plain scripts against a real server; the exit code is the answer.

The runs are those of `tests.goshop.plain`.
"""

import json
import os
import signal
import subprocess
import sys

import pytest

from goshop.ports import reserve
from goshop.processes import wait_until
from slo.verdict import read_verdict
from tests.goshop.plain import ROOT, SERVICES, goshop_gate, script, write_specification
from tests.loadtests.stand_in import ADMIN, StandIn, served

pytestmark = pytest.mark.timeout(180)


@pytest.fixture
def specification(tmp_path):
    return write_specification(tmp_path / "gate.yaml")


@pytest.mark.parametrize("name", SERVICES)
def test_any_script_against_any_service_leads_to_its_exit_code(plain_runs, name):
    done, verdict = plain_runs.found[name]
    assert done.returncode == SERVICES[name].code == verdict.exit_code, done.stdout + done.stderr
    assert SERVICES[name].said in done.stdout


def test_a_good_service_passes_by_its_requests_alone(plain_runs):
    verdict = plain_runs.found["good"][1]
    assert (verdict.url, verdict.release.version, verdict.profile) == (plain_runs.url, "1.2.3", "good")
    assert (verdict.reconciliation.k6, verdict.reconciliation.agree) == (verdict.load.requests, None)
    assert verdict.load.requests == pytest.approx(1200, abs=5)
    assert all(result.outcome == "met" for result in verdict.objectives)
    assert verdict.releases
    assert 0 < verdict.load.cpu_share < 0.8
    assert 0 <= verdict.load.cpu_wait < 0.1


@pytest.mark.parametrize(
    ("name", "missed"), [("slow", "p99-latency"), ("failing", "error-rate"), ("gross", "p99-latency")]
)
def test_what_is_bad_is_the_objective_that_is_missed(plain_runs, name, missed):
    verdict = plain_runs.found[name][1]
    assert [result.name for result in verdict.objectives if result.outcome == "missed"] == [missed]


def test_a_gross_failure_ends_the_load_long_before_its_time(plain_runs):
    done, verdict = plain_runs.found["gross"]
    assert verdict.load.problems == ()
    assert 15 < verdict.load.stopped_after < 40
    assert "beyond doubt more than 3.00%, three times the budget" in done.stdout
    assert plain_runs.found["slow"][1].load.stopped_after is None, "6 s are too few blocks to stop after"


def test_what_a_run_can_decide_is_told_before_it_starts(plain_runs):
    told = {name: plain_runs.found[name][0].stderr.splitlines()[0] for name in ("good", "slow", "short")}
    assert told["good"].startswith("goshop: 30 s can decide every objective")
    assert told["slow"].startswith('goshop: 6 s cannot pass "error-rate" (30 s, 632 requests at 40/s)')
    assert "loading" in told["short"], "how fast users ask who wait for answers is not known before"


def test_a_request_without_a_name_is_called_by_its_path(plain_runs):
    assert "`GET /good`" in (plain_runs.folder / "short.out" / "report.md").read_text()


def test_trace_ids_are_kept_where_the_script_sets_them(plain_runs):
    slow, failing = (plain_runs.found[name][1].traces for name in ("slow", "failing"))
    assert all(len(trace_id) == 32 for trace_id in slow.slowest)
    assert (len(slow.slowest), failing.failed) == (10, ())


def test_a_job_of_githubs_has_annotations_at_the_specification_and_the_report_as_its_summary(plain_runs):
    done, verdict = plain_runs.found["slow"]
    (annotation,) = [line for line in done.stdout.splitlines() if line.startswith("::error")]
    assert annotation.startswith("::error file=slow.yaml,title=checkout%3A p99-latency missed::")
    summary = (plain_runs.folder / "slow.md").read_text()
    assert summary.startswith("# checkout: fail\n")
    assert all(f"(<{link.url}>)" in summary for link in verdict.links)
    assert {link.kind for link in verdict.links} == {"dashboard", "traces", "logs"}


def test_a_shop_that_runs_elsewhere_is_filled_by_its_admin_and_loaded_as_our_own(specification, tmp_path):
    email, password = ADMIN
    with served(StandIn()) as shop:
        done = goshop_gate(
            *(specification, "--url", shop.url, "--dir", tmp_path / "runs", "--out", tmp_path / "out"),
            program=("-m", "tests.goshop.shortened", "0.05"),
            GOSHOP_AUTH__ADMIN_EMAIL=email,
            GOSHOP_AUTH__ADMIN_PASSWORD=password,
        )
    verdict = read_verdict(tmp_path / "out" / "verdict.json")
    assert (done.returncode, verdict.load.problems) == (3, ()), done.stdout + done.stderr
    assert (verdict.profile, verdict.reconciliation.agree) == ("smoke", None)
    assert verdict.reconciliation.k6 == verdict.load.requests + verdict.load.warmup_requests > 300
    assert len(verdict.traces.slowest) == 10
    assert left_of_the_state(tmp_path) == []


def left_of_the_state(tmp_path):
    """The shop's tokens, and the passwords of those who got them, are in there."""
    return list((tmp_path / "runs" / "runs").glob("*/state"))


def test_a_load_that_is_ended_by_a_signal_leaves_no_token_behind(specification, tmp_path):
    email, password = ADMIN
    with served(StandIn()) as shop:
        environ = {**os.environ, "GOSHOP_AUTH__ADMIN_EMAIL": email, "GOSHOP_AUTH__ADMIN_PASSWORD": password}
        command = [sys.executable, "-m", "goshop", "gate", specification, "--url", shop.url]
        gate = subprocess.Popen(
            [*command, "--dir", tmp_path / "runs", "--history", "none"], cwd=ROOT, env=environ, stderr=subprocess.PIPE
        )
        loaded = wait_until(lambda: any((tmp_path / "runs" / "runs").glob("*/k6/samples.csv")), 30)
        tokens = list((tmp_path / "runs" / "runs").glob("*/state/seed.json"))
        gate.terminate()
        _, said = gate.communicate(timeout=30)
    assert (loaded, len(tokens)) == (True, 1), said
    assert (gate.returncode, left_of_the_state(tmp_path)) == (128 + signal.SIGTERM, []), said


def test_a_mistake_in_the_specification_is_annotated_at_its_line(specification, tmp_path):
    path = tmp_path / "gate.yaml"
    path.write_text(specification.read_text().replace("target: 0.99\n", "target: ninety-nine\n", 1))
    done = goshop_gate(path, "--dir", tmp_path / "runs", GITHUB_ACTIONS="true", GITHUB_WORKSPACE=str(tmp_path))
    assert done.returncode == 2
    line = path.read_text().splitlines().index("    - displayName: Error rate below 1 %") + 2
    assert done.stdout.startswith(f"::error file=gate.yaml,line={line},col=15,title=specification::")


def test_where_nothing_answers_no_load_is_started(specification, tmp_path):
    path = tmp_path / "plain.js"
    path.write_text(script("/"))
    with reserve(1) as (port,):
        url = f"http://127.0.0.1:{port}"
    places = ("--dir", tmp_path / "runs", "--out", tmp_path / "out")
    done = goshop_gate(specification, "--url", url, "--script", path, *places, "--annotations")
    assert done.returncode == 5
    assert done.stdout.startswith(f"::error title=the measurement failed::nothing answers at {url}: ")
    assert "nothing answers at http://127.0.0.1:" in done.stderr
    assert json.loads((tmp_path / "out" / "verdict.json").read_text())["verdict"] == "error"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--url", "staging"], "expected an address such as https://"),
        (["--url", "http://[::1:80"], "expected an address such as https://"),
        (["--url", "http://127.0.0.1:1"], "fills the shop first: name its admin by GOSHOP_AUTH__ADMIN_EMAIL"),
        (["--url", "http://127.0.0.1:1", "--script", "no.js"], "--script: there is no such file: no.js"),
        (
            ["--url", "http://127.0.0.1:1", "--script", "README.md", "--fault", "payment.charge=error"],
            "leave out --url",
        ),
        (["--url", "http://me:secret@127.0.0.1:1"], "--url holds credentials, and is shown in messages and reports"),
        (["--url", "http://127.0.0.1:1", "--script", "README.md", "--env", "NO_SUCH"], "there is no such variable"),
        (["--url", "http://127.0.0.1:1", "--script", "README.md", "--env", "K6_VUS"], "are k6's options"),
        (["--grafana", "grafana"], "expected an address such as https://grafana.example.org for --grafana"),
        (["--grafana", "https://me:secret@grafana.example.org"], "--grafana holds credentials"),
    ],
)
def test_what_does_not_fit_is_refused_with_one_sentence(arguments, said, tmp_path):
    done = goshop_gate("--dir", tmp_path / "runs", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert said in line
    assert "secret" not in line
    assert not (tmp_path / "runs").exists()
