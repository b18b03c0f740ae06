"""`goshop gate --url` as people use it: a real k6 with plain scripts against a real server; the exit code is the answer.

A pass takes 30 s by the rule of statistics; the other runs happen meanwhile.
"""

import json
from pathlib import Path

import pytest

from goshop.ports import reserve
from tests.goshop.plain import GET, answers, goshop_gate, rate, run_all, script, write_specification
from tests.loadtests.stand_in import StandIn, served

pytestmark = pytest.mark.timeout(180)

# As Grafana's own tracing library for k6 does it.
TRACING = (
    "import exec from 'k6/execution';"
    "const id = () => [...Array(32)].map(() => Math.floor(Math.random() * 16).toString(16)).join('');"
)
# Name: the script, and the exit code that it must lead to.
RUNS = {
    "good": (script("/good", options=rate(30)), 0),
    "slow": (
        script("/slow", options=rate(6), more=TRACING, function=f"exec.vu.metrics.metadata.trace_id = id(); {GET}"),
        1,
    ),
    "failing": (script("/failing", options=rate(6)), 1),
    "short": (script("/good?page=1", options="vus: 2, duration: '4s'"), 3),
}


@pytest.fixture(scope="module")
def service():
    with served(StandIn(answers)) as running:
        yield running


@pytest.fixture(scope="module")
def specification(tmp_path_factory):
    return write_specification(tmp_path_factory.mktemp("specification") / "gate.yaml")


@pytest.fixture(scope="module")
def runs(service, specification, tmp_path_factory):
    """Run the command once for each of RUNS, in a job of GitHub's."""
    folder = tmp_path_factory.mktemp("runs")

    def one(name, path, out):
        return goshop_gate(
            *(specification, "--url", service.url, "--script", path, "--dir", folder / name),
            *("--out", out, "--release", "1.2.3", "--grafana", "https://grafana.example.org"),
            GITHUB_ACTIONS="true",
            GITHUB_WORKSPACE=str(specification.parent),
            GITHUB_STEP_SUMMARY=str(folder / f"{name}.md"),
        )

    return run_all({name: text for name, (text, _) in RUNS.items()}, one, folder)


@pytest.mark.parametrize("name", RUNS)
def test_any_script_against_any_service_leads_to_its_exit_code(runs, name):
    done, verdict = runs[name]
    assert done.returncode == RUNS[name][1] == verdict.exit_code, done.stdout + done.stderr


def test_a_good_service_passes_by_its_requests_alone(runs, service):
    verdict = runs["good"][1]
    assert (verdict.url, verdict.release.version, verdict.profile) == (service.url, "1.2.3", "good")
    assert (verdict.reconciliation.k6, verdict.reconciliation.agree) == (verdict.load.requests, None)
    assert verdict.load.requests == pytest.approx(1200, abs=5)
    assert all(result.outcome == "met" for result in verdict.objectives)
    assert verdict.releases


@pytest.mark.parametrize(("name", "missed"), [("slow", "p99-latency"), ("failing", "error-rate")])
def test_what_is_bad_is_the_objective_that_is_missed(runs, name, missed):
    assert [result.name for result in runs[name][1].objectives if result.outcome == "missed"] == [missed]


def test_a_request_without_a_name_is_called_by_its_path(runs):
    assert "`GET /good`" in (runs.folder / "short.out" / "report.md").read_text()


def test_what_is_too_short_says_how_long_it_must_be(runs):
    assert "4 s are too short to pass: 30 s are needed" in runs["short"][0].stdout


def test_trace_ids_are_kept_where_the_script_sets_them(runs):
    assert all(len(trace_id) == 32 for trace_id in runs["slow"][1].traces.slowest)
    assert (len(runs["slow"][1].traces.slowest), runs["failing"][1].traces.failed) == (10, ())


def test_a_job_of_githubs_has_annotations_at_the_specification_and_the_report_as_its_summary(runs):
    done, verdict = runs["slow"]
    (annotation,) = [line for line in done.stdout.splitlines() if line.startswith("::error")]
    assert annotation.startswith("::error file=gate.yaml,title=checkout%3A p99-latency missed::")
    summary = Path(runs.folder, "slow.md").read_text()
    assert summary.startswith("# checkout: fail\n")
    assert all(f"(<{link.url}>)" in summary for link in verdict.links)
    assert {link.kind for link in verdict.links} == {"dashboard", "traces", "logs"}


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
    done = goshop_gate(specification, "--url", url, "--script", path, *places)
    assert (done.returncode, done.stdout) == (5, "")
    assert "nothing answers at http://127.0.0.1:" in done.stderr
    assert json.loads((tmp_path / "out" / "verdict.json").read_text())["verdict"] == "error"


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--url", "staging"], "expected an address such as https://"),
        (["--url", "http://127.0.0.1:1"], "fills the shop first: name its admin by GOSHOP_AUTH__ADMIN_EMAIL"),
        (["--url", "http://127.0.0.1:1", "--script", "no.js"], "--script: there is no such file: no.js"),
        (
            ["--url", "http://127.0.0.1:1", "--script", "README.md", "--fault", "payment.charge=error"],
            "leave out --url",
        ),
        (["--grafana", "grafana"], "expected an address such as https://grafana.example.org for --grafana"),
    ],
)
def test_what_does_not_fit_is_refused_with_one_sentence(arguments, said, tmp_path):
    done = goshop_gate("--dir", tmp_path / "runs", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert said in line
    assert not (tmp_path / "runs").exists()
