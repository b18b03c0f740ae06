"""`goshop gate --url` as people use it: a real k6 with plain scripts against a real server; the exit code is the answer.

A pass takes 30 s by the rule of statistics; all other runs happen meanwhile.
"""

import asyncio
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from goshop.ports import reserve
from slo.verdict import read_verdict
from tests.loadtests.stand_in import StandIn, served
from tests.slo.published import assert_published

pytestmark = pytest.mark.timeout(180)

ROOT = Path(__file__).parents[2]
SPEC = ROOT / "slo" / "specs" / "checkout.yaml"
# What the shop's own gate asks for, but for the throughput.
ASKED = "> 20 requests/s"


def script(path, *, options="", function="http.get(`${__ENV.BASE_URL}PATH`);", imports=""):
    return (
        f"import http from 'k6/http';\n{imports}\nexport const options = {{{options}}};\n"
        f"export default function () {{ {function.replace('PATH', path)} }}\n"
    )


def rate(seconds, *, per_second=40, users=40, extra=""):
    scenario = f"executor: 'constant-arrival-rate', rate: {per_second}, duration: '{seconds}s', preAllocatedVUs: {users}{extra}"
    return f"scenarios: {{load: {{{scenario}}}}}"


# Name: the script, and the exit code that it must lead to.
RUNS = {
    "good": (script("/good", options=rate(30)), 0),
    "slow": (script("/slow", options=rate(6)), 1),
    "failing": (script("/failing", options=rate(6)), 1),
    "short": (script("/good", options=rate(6)), 3),
    "crowd": (script("/good", options="vus: 4, duration: '6s'", imports="", function=""), 5),
    "broken": ("this is no JavaScript", 5),
    "unplanned": (script("/good", options="vus: 1, iterations: 3"), 5),
    "elsewhere": (script("/good", options=rate(2), function="http.get('http://127.0.0.1:1/x');"), 5),
}


class Runs(dict):
    """What each run said and the verdict it left, and the folder with everything else."""

    def __init__(self, folder, found) -> None:
        super().__init__(found)
        self.folder = folder


async def answers(request):
    if request == "GET /slow":
        await asyncio.sleep(0.9)
    return (500 if request == "GET /failing" else 200), {}, {}


@pytest.fixture(scope="module")
def service():
    with served(StandIn(answers)) as running:
        yield running


@pytest.fixture(scope="module")
def specification(tmp_path_factory):
    path = tmp_path_factory.mktemp("specification") / "gate.yaml"
    text = SPEC.read_text().replace("../../loadtests/k6/shop.js", str(ROOT / "loadtests" / "k6" / "shop.js"))
    path.write_text(text.replace("> 100 requests/s", ASKED))
    return path


def goshop_gate(*arguments: object, **variables: str):
    command = [sys.executable, "-m", "goshop", "gate", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ, **variables}
    )


@pytest.fixture(scope="module")
def runs(service, specification, tmp_path_factory):
    """Run the command once for each of RUNS, and return what it said, and the verdict it left."""
    folder = tmp_path_factory.mktemp("runs")

    def one(name):
        path, out = folder / f"{name}.js", folder / f"{name}.out"
        path.write_text(RUNS[name][0])
        done = goshop_gate(
            *(specification, "--url", service.url, "--script", path, "--dir", folder / name),
            *("--out", out, "--release", "1.2.3", "--grafana", "https://grafana.example.org"),
            GITHUB_ACTIONS="true",
            GITHUB_WORKSPACE=str(specification.parent),
            GITHUB_STEP_SUMMARY=str(folder / f"{name}.md"),
        )
        assert_published(json.loads((out / "verdict.json").read_bytes()))
        return done, read_verdict(out / "verdict.json")

    # The longest first; as many at once as do not disturb each other.
    with ThreadPoolExecutor(3) as pool:
        return Runs(folder, dict(zip(RUNS, pool.map(one, RUNS), strict=True)))


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


@pytest.mark.parametrize(
    ("name", "said"),
    [
        ("short", "6 s are too short to pass: 30 s are needed"),
        ("crowd", "no request was sent"),
        ("broken", "k6 cannot run it: "),
        (
            "unplanned",
            "scenario 'default' is shared-iterations, whose judged time is not planned: take one of constant-",
        ),
        ("elsewhere", "no request went to http://127.0.0.1:"),
    ],
)
def test_why_there_is_no_verdict_is_said_with_what_to_do(runs, name, said):
    done, verdict = runs[name]
    reasons = [*verdict.load.problems, *(result.reason for result in verdict.objectives)]
    assert any(said in reason for reason in reasons), reasons
    assert said in done.stdout + done.stderr


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
    ],
)
def test_what_does_not_fit_is_refused_with_one_sentence(arguments, said, tmp_path):
    done = goshop_gate("--dir", tmp_path / "runs", *arguments)
    assert (done.returncode, done.stdout) == (2, "")
    (line,) = done.stderr.splitlines()
    assert said in line
    assert not (tmp_path / "runs").exists()
