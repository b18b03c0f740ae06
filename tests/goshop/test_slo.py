"""`goshop slo check`: every fault at once, on stdout, for people and for machines; exit 0 or 2."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from goshop.cli import main

ROOT = Path(__file__).parents[2]
WRONG = "apiVersion: openslo/v1\nkind: Service\nmetadata: {name: Shop}\nspec: {descripton: what}\n"


@pytest.fixture
def check():
    return lambda *arguments: CliRunner().invoke(main, ["slo", "check", *map(str, arguments)])


def test_what_ships_with_the_shop_is_sound(check):
    done = check()
    assert (done.exit_code, done.stdout) == (0, "5 services, 10 SLOs, 1 release gate: nothing to mend\n")
    assert check("--json").stdout == "[]\n"


def test_every_fault_is_a_line_with_its_place(check, tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(WRONG)
    done = check(ROOT / "slo" / "specs", path)
    assert done.exit_code == 2
    assert done.stdout.splitlines() == [
        f"{path}:3:18: expected a name of lower-case letters, digits and '-', at most 63 characters, got 'Shop'",
        f"{path}:4:8: unknown key 'descripton'; did you mean 'description'?",
    ]
    assert done.stderr == "goshop: 2 faults\n"


def test_machines_are_told_the_same(check, tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(WRONG)
    first, second = json.loads(check(path, "--json").stdout)
    assert first == {
        "file": str(path),
        "line": 3,
        "column": 18,
        "message": "expected a name of lower-case letters, digits and '-', at most 63 characters, got 'Shop'",
        "path": "metadata.name",
    }
    assert second["path"] == "spec.descripton"


FOREIGN = """
apiVersion: openslo/v1
kind: DataSource
metadata: {name: theirs, annotations: {goshop.dev/series: foreign}}
spec: {type: Prometheus}
---
apiVersion: openslo/v1
kind: SLO
metadata: {name: articles-latency}
spec:
  service: articles
  indicator:
    metadata: {name: articles-latency}
    spec:
      ratioMetric:
        counter: true
        good: {metricSource: {metricSourceRef: theirs, spec: {query: 'request_seconds_bucket{le="EDGE"}'}}}
        total: {metricSource: {metricSourceRef: theirs, spec: {query: request_seconds_count}}}
  timeWindow: [{duration: 28d}]
  budgetingMethod: Occurrences
  objectives: [{target: 0.99}]
"""


@pytest.mark.parametrize(
    ("edge", "stored"), [("1", "1.0"), ("10", "10.0"), ("0.50", "0.5"), ("1.0", ""), ("0.5", ""), ("0.00001", "1e-05")]
)
def test_an_edge_of_others_that_prometheus_3_stores_otherwise_is_no_fault_but_is_said(edge, stored, check, tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(FOREIGN.replace("EDGE", edge))
    done = check(path)
    assert (done.exit_code, done.stdout) == (0, "0 services, 1 SLO, 0 release gates: nothing to mend\n")
    said = (
        f'goshop: articles-latency selects le="{edge}" of series that are not the shop\'s: from version 3 on Prometheus stores that '
        f'edge as "{stored}", and nothing is selected\n'
    )
    assert done.stderr == (said if stored else "")
    assert check(path, "--json").stdout == "[]\n"
    # What is made of it selects nothing there.
    assert CliRunner().invoke(main, ["slo", "rules", str(path)]).stderr == done.stderr


@pytest.mark.parametrize("path", ["none.yaml", ".", "/dev/zero"])
def test_what_cannot_be_read_is_said_in_one_line(path, tmp_path):
    command = [sys.executable, "-m", "goshop", "slo", "check", str(tmp_path / path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, len(done.stdout.splitlines()), done.stderr) == (2, 1, "goshop: 1 fault\n")


def test_a_file_that_stumbles_the_reader_of_yaml_is_said_with_its_place(check, tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text('a: "\\UFFFFFFFF"\n')
    done = check(path)
    assert (done.exit_code, done.stdout) == (2, f"{path}:1:7: cannot be read as YAML: a number out of range\n")


def test_a_file_that_is_named_twice_is_checked_once(check, tmp_path):
    path = tmp_path / "spec.yaml"
    path.write_text(WRONG)
    assert check(path, tmp_path / ".." / tmp_path.name / "spec.yaml").stderr == "goshop: 2 faults\n"
