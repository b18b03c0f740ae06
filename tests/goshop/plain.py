"""Plain k6 scripts, a small service, and what the command must say of each: the runs of `goshop gate --url`."""

import asyncio
import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

from loadtests import find_k6
from slo.verdict import Verdict, read_verdict
from tests.slo.published import assert_published

ROOT = Path(__file__).parents[2]
SPEC = ROOT / "slo" / "specs" / "checkout.yaml"
# What the shop's own gate asks for, but for the throughput.
ASKED = "> 20 requests/s"
ORDERS = "    - name: orders\n      sloRef: gateway-availability\n      endpoint: GET /orders\n"
GET = "http.get(`${__ENV.BASE_URL}PATH`);"
SLEEP = "import { sleep } from 'k6';"
EXECUTION = "import exec from 'k6/execution';"
# As Grafana's own tracing library for k6 does it.
TRACING = (
    "import exec from 'k6/execution';"
    "const id = () => [...Array(32)].map(() => Math.floor(Math.random() * 16).toString(16)).join('');"
)
# k6 itself, and what happens to it then.
WRAPPED = '#!/bin/sh\nif [ "$1" != run ]; then exec {k6} "$@"; fi\n{k6} "$@"\n{after}\n'
WITHOUT_SUMMARY = 'while [ "$1" != --summary-export ]; do shift; done; rm "$2"; exit 0'


def script(path, *, options="", function=GET, more=""):
    return (
        f"import http from 'k6/http';\n{more}\nexport const options = {{{options}}};\n"
        f"export default function () {{ {function.replace('PATH', path)} }}\n"
    )


def rate(seconds, *, per_second=40, users=40):
    scenario = (
        f"executor: 'constant-arrival-rate', rate: {per_second}, duration: '{seconds}s', preAllocatedVUs: {users}"
    )
    return f"scenarios: {{load: {{{scenario}}}}}"


@dataclass(frozen=True)
class Case:
    """A script, the exit code that it must lead to, and what must be said; `after`: the shell that k6 runs under ends so."""

    script: str
    code: int
    said: str = ""
    more_objectives: str = ""
    prefix: tuple[str, ...] = ()
    after: str = ""


BRIEF = rate(2)
GOOD = script("/good", options=BRIEF)
# The longest first. A pass takes 30 s by the rule of statistics; the other runs happen meanwhile.
SERVICES = {
    "good": Case(script("/good", options=rate(30)), 0),
    "gross": Case(script("/slow", options=rate(120, users=60)), 1, "stopped early: "),
    "slow": Case(
        script("/slow", options=rate(6), more=TRACING, function=f"exec.vu.metrics.metadata.trace_id = id(); {GET}"), 1
    ),
    "failing": Case(script("/failing", options=rate(6)), 1),
    # The script reads the one variable that it was promised, and no other.
    "short": Case(
        script(
            "/good?page=1",
            options="vus: __ENV.HOME ? 0 : Number(__ENV.GATE_USERS), duration: '4s'",
            more=SLEEP,
            function=f"{GET} sleep(0.05);",
        ),
        3,
        "4 s are too short to pass: 30 s are needed",
    ),
}
GENERATORS = {
    "late": Case(
        script("/good", options=rate(2, users=4), more=SLEEP, function=f"{GET} sleep(1);"),
        5,
        "planned iterations although users were free",
    ),
    # One CPU is enough to be busy with, and leaves the other runs theirs.
    "starved": Case(
        script("/good", options="vus: 4, duration: '3s'", function=f"{GET} for (let i = 0; i < 1e6; i += 1);"),
        5,
        "of the CPU time that there was",
        prefix=("taskset", "--cpu-list", "0"),
    ),
    "throwing": Case(script("/good", options=BRIEF, function="throw new Error('no luck');"), 5, "the script threw"),
    "silent": Case(script("/good", options=BRIEF, function=""), 5, "no request was sent"),
    "elsewhere": Case(
        script("", options=BRIEF, function="http.get('http://127.0.0.1:1/x');"),
        5,
        "no request went to http://127.0.0.1:",
    ),
    "broken": Case("this is no JavaScript", 5, "k6 cannot run it: "),
    "unplanned": Case(
        script("/good", options="vus: 1, iterations: 3"),
        5,
        "scenario 'default' is shared-iterations, whose judged time is not planned: take one of constant-",
    ),
    "warming": Case(
        script("/good", options="scenarios: {a: {executor: 'constant-vus', duration: '1s', tags: {phase: 'warmup'}}}"),
        5,
        "every scenario is tagged phase: warmup",
    ),
    "setup": Case(
        script(
            "/good", options=f"{BRIEF}, setupTimeout: '1s'", more=f"{SLEEP} export function setup() {{ sleep(3); }}"
        ),
        5,
        "the script's setup took too long (exit 100",
    ),
    "aborted": Case(
        script("/good", options=BRIEF, more=EXECUTION, function=f"{GET} exec.test.abort('enough');"),
        5,
        "the script aborted the run (exit 108",
    ),
    "unlooked": Case(
        script("/good", options=f"{BRIEF}, thresholds: {{'http_req_duration{{name:nowhere}}': ['p(95)<500']}}"),
        5,
        "the script's threshold http_req_duration{name:nowhere}: p(95)<500 looked at nothing",
    ),
    "toothless": Case(
        script("/good", options=f"{BRIEF}, thresholds: {{http_req_failed: ['rate<=1']}}"),
        5,
        "the script's threshold http_req_failed: rate<=1 can't fail",
    ),
    "unasked": Case(
        GOOD, 5, "orders: the load sent no request to GET /orders; it sent to GET /good", more_objectives=ORDERS
    ),
    "summary": Case(GOOD, 5, "k6 left no summary to count its requests by", after=WITHOUT_SUMMARY),
    "code": Case(GOOD, 5, "k6 did not run to its end: its cloud run failed (exit 97", after="exit 97"),
}


async def answers(request):
    if request == "GET /slow":
        await asyncio.sleep(0.9)
    return (500 if request == "GET /failing" else 200), {}, {}


def write_specification(path, more_objectives=""):
    """Write the shop's gate with a throughput that small loads reach."""
    text = SPEC.read_text().replace("../../loadtests/k6/shop.js", str(ROOT / "loadtests" / "k6" / "shop.js"))
    text = text.replace("> 100 requests/s", ASKED).replace("  throughput:\n", f"{more_objectives}  throughput:\n")
    path.write_text(text)
    return path


def goshop_gate(
    *arguments: object, prefix: tuple[str, ...] = (), program: tuple[str, ...] = ("-m", "goshop"), **variables: str
):
    command = [*prefix, sys.executable, *program, "gate", *map(str, arguments)]
    return subprocess.run(
        command, capture_output=True, text=True, check=False, cwd=ROOT, env={**os.environ, **variables}
    )


@dataclass(frozen=True)
class PlainRuns:
    """What each run said and the verdict it left, by name; the service, and the folder with everything else."""

    url: str
    folder: Path
    found: dict[str, tuple[CompletedProcess[str], Verdict]]


def run_all(url, folder):
    """Run the command once for each case, in a job of GitHub's; as many at once as do not disturb each other."""
    cases = SERVICES | GENERATORS

    def one(name):
        done = _run(url, folder, name, cases[name])
        verdict = folder / f"{name}.out" / "verdict.json"
        assert_published(json.loads(verdict.read_bytes()))
        return done, read_verdict(verdict)

    with ThreadPoolExecutor(4) as pool:
        return PlainRuns(url, folder, dict(zip(cases, pool.map(one, cases), strict=True)))


def _run(url, folder, name, case):
    specification = write_specification(folder / f"{name}.yaml", case.more_objectives)
    path = folder / f"{name}.js"
    path.write_text(case.script)
    k6 = find_k6()
    wrapped = _program(folder / f"{name}-k6", WRAPPED.format(k6=k6, after=case.after)) if case.after else k6
    return goshop_gate(
        *(specification, "--url", url, "--script", path, "--dir", folder / name, "--out", folder / f"{name}.out"),
        *("--env", "GATE_USERS", "--release", "1.2.3", "--grafana", "https://grafana.example.org"),
        prefix=case.prefix,
        K6=str(wrapped),
        GATE_USERS="2",
        GITHUB_ACTIONS="true",
        GITHUB_WORKSPACE=str(folder),
        GITHUB_STEP_SUMMARY=str(folder / f"{name}.md"),
    )


def _program(path, text):
    path.write_text(text)
    path.chmod(0o755)
    return path
