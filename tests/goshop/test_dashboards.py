"""`goshop dashboards`: what there is on stdout, or the files below a folder; exit 0 or 2."""

import json
import re
from pathlib import Path

import pytest
from click.testing import CliRunner

from goshop.cli import main

ROOT = Path(__file__).parents[2]
GENERATED = ROOT / "dashboards" / "generated"
GOLDEN = sorted((ROOT / "tests" / "slo" / "generation" / "golden").glob("*.yaml"))


@pytest.fixture
def dashboards():
    return lambda *arguments: CliRunner().invoke(main, ["dashboards", *map(str, arguments)])


def test_each_is_listed_with_the_question_that_it_answers(dashboards):
    done = dashboards()
    assert done.exit_code == 0
    assert {line.split()[0] for line in done.stdout.splitlines()} == {path.stem for path in GENERATED.iterdir()}
    assert "goshop-pools         Connection pools: Does anybody wait for a database connection" in done.stdout


def test_a_folder_gets_the_files_and_stdout_their_paths(dashboards, tmp_path):
    done = dashboards("--out", tmp_path / "out")
    assert sorted(done.stdout.split()) == sorted(str(tmp_path / "out" / path.name) for path in GENERATED.iterdir())
    assert all((tmp_path / "out" / path.name).read_bytes() == path.read_bytes() for path in GENERATED.iterdir())


@pytest.mark.parametrize("specification", GOLDEN, ids=lambda path: path.stem)
def test_any_specification_has_dashboards(dashboards, tmp_path, specification):
    done = dashboards(specification, "--out", tmp_path)
    assert done.exit_code == 0, done.stderr
    assert len([json.loads(path.read_text()) for path in tmp_path.glob("*.json")]) == len(done.stdout.split())


def test_objectives_without_alerts_or_limits_have_no_column_and_no_line_for_them(dashboards, tmp_path):
    (bad_events,) = [path for path in GOLDEN if path.stem == "bad-events"]
    text = bad_events.read_text().replace("  alertPolicies:", "  alertPolicies: []\nx")
    (tmp_path / "quiet.yaml").write_text(text.split("\nx")[0] + "\n")
    done = dashboards(tmp_path / "quiet.yaml", "--out", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    assert "How near to an alert" not in (tmp_path / "out" / "goshop-slo.json").read_text()
    # Its objective is one of errors: the only limit is their budget.
    assert set(
        re.findall(r"label_replace\(vector\([^)]*\)", (tmp_path / "out" / "goshop-service.json").read_text())
    ) == {"label_replace(vector(0.001)"}
    assert "label_replace(vector" not in (tmp_path / "out" / "goshop-latency.json").read_text()


def test_a_specification_that_cannot_be_used_is_misuse(dashboards, tmp_path):
    (tmp_path / "wrong.yaml").write_text("kind: SLO\n")
    done = dashboards(tmp_path / "wrong.yaml")
    assert (done.exit_code, done.stdout) == (2, "")
    assert "wrong.yaml:1" in done.stderr


def test_a_folder_that_cannot_be_written_is_misuse(dashboards, tmp_path):
    (tmp_path / "file").write_text("")
    done = dashboards("--out", tmp_path / "file" / "out")
    assert done.exit_code == 2
