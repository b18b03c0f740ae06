"""The load generator is under test too: whatever is wrong with it, a real k6 made to do it, the answer is exit 5 with a reason."""

import pytest

from loadtests import find_k6
from tests.goshop.plain import GET, answers, goshop_gate, rate, run_all, script, write_specification
from tests.loadtests.stand_in import StandIn, served
from tests.loadtests.test_k6 import executable

pytestmark = pytest.mark.timeout(180)

SLEEP = "import { sleep } from 'k6';"
EXECUTION = "import exec from 'k6/execution';"
ORDERS = "    - name: orders\n      sloRef: gateway-availability\n      endpoint: GET /orders\n"
BRIEF = rate(2)
GOOD = script("/good", options=BRIEF)
# k6 itself, and what happens to it then.
WRAPPED = '#!/bin/sh\nif [ "$1" != run ]; then exec {k6} "$@"; fi\n{k6} "$@"\n{after}\n'
# For the summary: what follows --summary-export.
WITHOUT_SUMMARY = 'while [ "$1" != --summary-export ]; do shift; done; rm "$2"; exit 0'

# Name: the script, and what must be said.
RUNS = {
    "late": (
        script("/good", options=rate(2, users=4), more=SLEEP, function=f"{GET} sleep(1);"),
        "planned iterations although users were free",
    ),
    "starved": (
        script("/good", options="vus: 4, duration: '3s'", function=f"{GET} for (let i = 0; i < 1e6; i += 1);"),
        "of the CPU time that there was",
    ),
    "throwing": (script("/good", options=BRIEF, function="throw new Error('no luck');"), "the script threw"),
    "silent": (script("/good", options=BRIEF, function=""), "no request was sent"),
    "elsewhere": (
        script("", options=BRIEF, function="http.get('http://127.0.0.1:1/x');"),
        "no request went to http://127.0.0.1:",
    ),
    "broken": ("this is no JavaScript", "k6 cannot run it: "),
    "unplanned": (
        script("/good", options="vus: 1, iterations: 3"),
        "scenario 'default' is shared-iterations, whose judged time is not planned: take one of constant-",
    ),
    "warming": (
        script("/good", options="scenarios: {a: {executor: 'constant-vus', duration: '1s', tags: {phase: 'warmup'}}}"),
        "every scenario is tagged phase: warmup",
    ),
    "setup": (
        script(
            "/good", options=f"{BRIEF}, setupTimeout: '1s'", more=f"{SLEEP} export function setup() {{ sleep(3); }}"
        ),
        "the script's setup took too long (exit 100",
    ),
    "aborted": (
        script("/good", options=BRIEF, more=EXECUTION, function=f"{GET} exec.test.abort('enough');"),
        "the script aborted the run (exit 108",
    ),
    "unlooked": (
        script("/good", options=f"{BRIEF}, thresholds: {{'http_req_duration{{name:nowhere}}': ['p(95)<500']}}"),
        "the script's threshold http_req_duration{name:nowhere}: p(95)<500 looked at nothing",
    ),
    "toothless": (
        script("/good", options=f"{BRIEF}, thresholds: {{http_req_failed: ['rate<=1']}}"),
        "the script's threshold http_req_failed: rate<=1 can't fail",
    ),
    "unasked": (GOOD, "orders: the load sent no request to GET /orders; it sent to GET /good"),
    "summary": (GOOD, "k6 left no summary to count its requests by"),
    "code": (GOOD, "k6 did not run to its end: its cloud run failed (exit 97"),
}
AFTER = {"summary": WITHOUT_SUMMARY, "code": "exit 97"}
# One CPU is enough to be busy with, and leaves the other runs theirs.
PREFIX = {"starved": ("taskset", "--cpu-list", "0")}


@pytest.fixture(scope="module")
def runs(tmp_path_factory):
    """Run the command once for each of RUNS."""
    folder = tmp_path_factory.mktemp("runs")
    plain = write_specification(folder / "gate.yaml")
    asking = write_specification(folder / "asking.yaml", ORDERS)
    k6 = find_k6()
    wrapped = {
        name: executable(folder / f"{name}-k6" / "k6", WRAPPED.format(k6=k6, after=after))
        for name, after in AFTER.items()
    }

    def one(name, path, out):
        return goshop_gate(
            *(asking if name == "unasked" else plain, "--url", service.url, "--script", path),
            *("--dir", folder / name, "--out", out),
            prefix=PREFIX.get(name, ()),
            K6=str(wrapped.get(name, k6)),
        )

    with served(StandIn(answers)) as service:
        yield run_all({name: text for name, (text, _) in RUNS.items()}, one, folder)


@pytest.mark.parametrize("name", RUNS)
def test_a_load_that_cannot_be_trusted_is_exit_5_with_its_reason(runs, name):
    done, verdict = runs[name]
    assert (done.returncode, verdict.verdict) == (5, "error"), done.stdout + done.stderr
    assert any(RUNS[name][1] in problem for problem in verdict.load.problems), verdict.load.problems
    assert RUNS[name][1] in done.stdout + done.stderr
