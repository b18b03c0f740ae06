"""`goshop drill`: what counts as found, and one scenario for real."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
from msgspec import structs

from app.faults import parse_faults
from goshop import drill
from goshop.gate_options import DEFAULT_GATE
from slo.gate import evaluate
from slo.openslo.loading import load_gate
from tests.goshop.measured import until_measured
from tests.slo.synthetic import delayed, make_run

ROOT = Path(__file__).parents[2]
SEARCH = drill.choose(["search-delay"])[0]


@pytest.fixture(scope="module")
def passed():
    return evaluate(make_run(load_gate(DEFAULT_GATE)).facts()).verdict


@pytest.fixture(scope="module")
def failed():
    run = make_run(load_gate(DEFAULT_GATE))
    run.spoil(0.05, "/api/products", delayed)
    return evaluate(run.facts()).verdict


def with_first_cause(verdict, **changes: object):
    first, *others = verdict.causes
    return structs.replace(verdict, causes=(structs.replace(first, **changes), *others))


def test_the_control_is_right_when_it_passes_and_names_no_cause(passed, failed):
    assert drill.CONTROL.found_by(passed)
    assert not drill.CONTROL.found_by(failed)
    assert not drill.CONTROL.found_by(structs.replace(passed, causes=failed.causes))


def test_a_fault_is_found_when_the_gate_fails_and_ranks_its_place_first(passed, failed):
    assert SEARCH.found_by(failed)
    assert not SEARCH.found_by(passed)
    assert not SEARCH.found_by(structs.replace(failed, verdict="inconclusive"))


@pytest.mark.parametrize(
    "changes", [{"share": 0.49}, {"service": "order"}, {"span": "SELECT stock"}, {"table": ""}, {"objective": "other"}]
)
def test_another_place_or_a_small_share_or_another_objective_is_not_it(changes, failed):
    assert not SEARCH.found_by(with_first_cause(failed, **changes))


def test_every_scenario_has_its_own_name_and_a_fault_that_can_be_read():
    names = [scenario.name for scenario in drill.SCENARIOS]
    assert len(set(names)) == len(names) == 13
    assert all(len(parse_faults(scenario.fault)) == 1 for scenario in drill.SCENARIOS if scenario is not drill.CONTROL)


def run_drill(*arguments: object, program: tuple[str, ...] = ("-m", "goshop")):
    command = [sys.executable, *program, "drill", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)


def test_an_unknown_scenario_is_refused_with_the_names_there_are(tmp_path):
    done = run_drill("--only", "earthquake", "--dir", tmp_path)
    assert (done.returncode, done.stdout) == (2, "")
    assert "there is no scenario 'earthquake'; there are control, search-delay" in done.stderr


@pytest.mark.timeout(180)
def test_a_dead_service_is_found_for_real(state_folder):
    shortened = ("-m", "tests.goshop.shortened", "0.6")
    asked = ("--only", "payment-dead", "--dir", state_folder / "drill", "--json")
    done = until_measured(lambda: run_drill(*asked, program=shortened))
    assert done.returncode == 0, done.stderr
    (finding,) = json.loads(done.stdout)
    assert finding["found"]
    assert finding["cause"]["service"] == "payment"
    assert finding["cause"]["share"] >= 0.5
