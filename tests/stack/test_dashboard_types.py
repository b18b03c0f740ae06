"""Dashboards before Grafana's own published types, and every query before the parser of its language's own project.

Both come from npm, by tests/stack/grafana_types/package-lock.json, which pins them by their hashes.
"""

import fcntl
import hashlib
import json
import re
import shutil
import subprocess
from pathlib import Path

import pytest

from tests.backends.build import cache
from tests.dashboards.boards import BOARDS, everything, filled
from tests.stack.not_run import say_not_run

TYPES = Path(__file__).parent / "grafana_types"
VALUES = {
    "service": "gateway",
    "environment": "test",
    "trace_id": "0af7651916cd43dd8448eb211c80319c",
    "__rate_interval": "1m",
    "__range": "1h",
    "__auto": "1m",
    "__data": "0af7651916cd43dd8448eb211c80319c",
}
INSTALL_SECONDS = 600.0
pytestmark = pytest.mark.timeout(INSTALL_SECONDS + 300)
# What npm says where there is no registry to be reached; a hash that is wrong is another matter.
UNREACHABLE = re.compile(r"ENOTFOUND|ECONNREFUSED|EAI_AGAIN|ETIMEDOUT|network")


@pytest.fixture(scope="module")
def installed(pytestconfig):
    """The folder with the types and parsers, installed once for each lock."""
    if not (shutil.which("npm") and shutil.which("node")):
        say_not_run(pytestconfig, "dashboards before Grafana's types", "there is no npm; install Node.js")
    lock = (TYPES / "package-lock.json").read_bytes()
    folder = cache() / f"grafana-types-{hashlib.sha256(lock).hexdigest()[:16]}"
    folder.mkdir(parents=True, exist_ok=True)
    with (folder / "lock").open("w") as alone:
        fcntl.flock(alone, fcntl.LOCK_EX)
        for name in ("package.json", "package-lock.json", ".npmrc"):
            shutil.copy(TYPES / name, folder / name)
        if not (folder / "node_modules" / ".package-lock.json").is_file():
            install(folder, pytestconfig)
    return folder


def install(folder, pytestconfig):
    command = ["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"]
    try:
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, timeout=INSTALL_SECONDS)
    except subprocess.TimeoutExpired:
        say_not_run(pytestconfig, "dashboards before Grafana's types", "the npm registry does not come to an end")
    if done.returncode and UNREACHABLE.search(done.stderr):
        say_not_run(pytestconfig, "dashboards before Grafana's types", "no npm registry can be reached")
    assert done.returncode == 0, done.stderr


@pytest.fixture
def project(installed, tmp_path):
    """A folder in which `check` finds what is wrong with dashboards."""
    (tmp_path / "node_modules").symlink_to(installed / "node_modules")
    for name in ("dashboard.ts", "tsconfig.json"):
        shutil.copy(TYPES / name, tmp_path / name)
    return tmp_path


def check(project, boards):
    """Return what the compiler says of dashboards."""
    for name, board in boards.items():
        text = f"import type {{ DashboardJson }} from './dashboard';\nexport const board: DashboardJson = {json.dumps(board)};\n"
        (project / f"{name}.ts").write_text(text)
    command = ["node", "node_modules/typescript/bin/tsc", "--pretty", "false", "-p", "."]
    done = subprocess.run(command, cwd=project, capture_output=True, text=True, check=False, timeout=100)
    assert (done.returncode != 0) == bool(done.stdout), done.stderr
    return done.stdout


def test_every_dashboard_is_one_by_grafana_s_own_types(project):
    assert check(project, BOARDS) == ""


MISSPELT = {
    '"drawStyle": "line"': '"drawStyle": "lines"',
    '"spanNulls"': '"spanNull"',
    '"graphMode": "area"': '"graphMode": "areas"',
    '"showLegend"': '"showLegends"',
    '"noValue"': '"noValues"',
    '"type": "stat"': '"type": "state"',
    '"exemplar"': '"exemplars"',
    '"timezone"': '"timezones"',
    '"includeAll"': '"includeEverything"',
    '"unit": "s"': '"unit": 1',
}


def test_what_is_misspelt_is_found(project):
    text = json.dumps(BOARDS["goshop-service"])
    wrong = [text.replace(said, instead, 1) for said, instead in MISSPELT.items()]
    assert text not in wrong
    found = check(project, {f"misspelt-{at}": json.loads(each) for at, each in enumerate(wrong)})
    assert set(re.findall(r"^(misspelt-\d+)", found, re.MULTILINE)) == {f"misspelt-{at}" for at in range(len(wrong))}


def parsed(installed, texts):
    """Return what is wrong with queries, given as pairs of language and text: "" where nothing is."""
    # Told, not named: imports of a file are looked for beside it, and the parsers are where they were installed.
    command = ["node", "--input-type=module", "--eval", (TYPES / "parse.mjs").read_text()]
    done = subprocess.run(
        command,
        cwd=installed,
        input=json.dumps(texts),
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def test_every_query_is_one_by_its_language_s_own_parser(installed):
    queries = [query for board in BOARDS.values() for query in everything(board)]
    faults = parsed(installed, [(query.language, query.filled(VALUES)) for query in queries])
    assert {query.id: fault for query, fault in zip(queries, faults, strict=True) if fault} == {}
    assert {query.language for query in queries} == {"promql", "logql", "traceql"}


@pytest.mark.parametrize(
    ("language", "text"),
    [
        ("promql", 'sum by (x (rate(a{b="c"}[5m]))'),
        ("promql", 'rate(a{b="c"}[])'),
        ("logql", '{job="x" | trace_id="y"'),
        ("logql", 'sum by (service) (rate({job="x"}))('),
        ("traceql", "{ span.db.system = "),
        ("traceql", '{ name == "x" }'),
    ],
)
def test_a_query_that_is_none_is_found(installed, language, text):
    assert parsed(installed, [(language, text)]) != [""]


def test_values_are_put_in_before_a_query_is_read():
    assert filled("rate(a[$__rate_interval])", VALUES) == "rate(a[1m])"
