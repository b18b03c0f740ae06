"""What a run can decide is told before its load starts, as far as it can be known."""

from dataclasses import replace
from pathlib import Path

import pytest

from goshop.planning import plan_line
from loadtests import MIX, RAMP, SMOKE, Profile, Scripted
from loadtests.profiles import ENDPOINTS, Scenario
from slo.openslo.loading import load_gate
from slo.planning import Asked, needed
from tests.slo.synthetic import CHECKOUT

GATE = load_gate(CHECKOUT)
LOG_IN = replace(GATE.objectives[1], name="log-in", endpoint="POST /api/login")


def of_script(iterations):
    scenario = Scenario(name="own", start=0.0, seconds=60.0, users=10, iterations=iterations, grace=30.0)
    return Profile(name="own", load=Scripted((scenario,)), seconds=60.0)


@pytest.mark.parametrize("profile", [SMOKE, RAMP])
def test_the_shipped_profiles_can_decide_the_shipped_gate(profile):
    assert plan_line(GATE, profile).startswith(f"{profile.seconds:g} s can decide every objective")


def test_an_objective_for_one_route_needs_a_run_by_its_share_of_the_mix():
    need = needed(Asked("log-in", LOG_IN.budget, 0.02 * 150))
    assert need.seconds > SMOKE.seconds
    line = plan_line(replace(GATE, objectives=(*GATE.objectives, LOG_IN)), SMOKE)
    assert f'30 s cannot pass "log-in" ({need.seconds} s, {need.samples} requests at 3/s)' in line


def test_every_request_of_the_mix_has_its_route():
    assert ENDPOINTS.keys() == MIX.keys()


def test_a_script_with_a_rate_sends_one_request_an_iteration_at_least():
    foreign = replace(GATE, script=Path("load.js"))
    assert plan_line(foreign, of_script(6000.0)).startswith("60 s can decide every objective")
    assert 'cannot pass "error-rate"' in plan_line(foreign, of_script(300.0))


def test_what_only_the_script_knows_is_not_told():
    foreign = replace(GATE, script=Path("load.js"), objectives=(LOG_IN,))
    assert plan_line(foreign, of_script(6000.0)) == ""
    assert plan_line(replace(foreign, objectives=GATE.objectives), of_script(None)) == ""
