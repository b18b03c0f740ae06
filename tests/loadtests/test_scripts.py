"""What any script will do is read from what k6 says of it."""

from pathlib import Path
from typing import Any

import pytest

from loadtests import RAMP, SMOKE, Profile, Scripted, find_k6, plan_script
from loadtests.errors import ScriptError
from loadtests.k6 import K6Files
from loadtests.plan import for_any_script
from loadtests.scripts import inspect, scripted, seconds_of, write_config

SCRIPT = Path("load.js")


def planned(**scenario: Any) -> Profile:
    return scripted(SMOKE, {"scenarios": {"own": scenario}}, SCRIPT)


@pytest.mark.parametrize(
    ("said", "seconds"), [("1m30s", 90.0), ("500ms", 0.5), ("1h0m0.5s", 3600.5), ("0s", 0.0), (None, 7.0)]
)
def test_a_duration_is_read_as_go_spells_it(said: str | None, seconds: float) -> None:
    assert seconds_of(said, 7.0) == pytest.approx(seconds)


@pytest.mark.parametrize(
    ("scenario", "seconds", "users", "iterations"),
    [
        ({"executor": "constant-vus", "vus": 5, "duration": "1m"}, 60, 5, None),
        (
            {"executor": "ramping-vus", "startVUs": 2, "stages": [{"duration": "10s", "target": 8}, {"duration": "5s", "target": 0}]},
            *(15, 8, None),
        ),
        (
            {"executor": "constant-arrival-rate", "rate": 120, "timeUnit": "1m", "duration": "30s", "preAllocatedVUs": 3},
            *(30, 3, 60),
        ),
        (
            {
                "executor": "ramping-arrival-rate", "startRate": 10, "timeUnit": None, "preAllocatedVUs": 3, "maxVUs": 9,
                "stages": [{"duration": "10s", "target": 30}, {"duration": "10s", "target": 30}],
            },
            *(20, 9, 200 + 300),
        ),
    ],
    ids=lambda value: value["executor"] if isinstance(value, dict) else "",
)  # fmt: skip
def test_every_executor_with_a_planned_time_is_known(
    scenario: dict[str, Any], seconds: float, users: int, iterations: float | None
) -> None:
    profile = planned(**scenario)
    assert isinstance(profile.load, Scripted)
    (found,) = profile.load.scenarios
    assert (profile.seconds, found.users, found.iterations) == (seconds, users, pytest.approx(iterations))
    assert (profile.name, profile.load.open) == ("load", iterations is not None)


def test_the_judged_time_begins_when_the_warm_up_ends() -> None:
    rate = {"executor": "constant-arrival-rate", "rate": 10, "preAllocatedVUs": 5}
    options = {
        "warm": {**rate, "duration": "5s", "tags": {"phase": "warmup"}, "gracefulStop": "1m"},
        "real": {**rate, "duration": "30s", "startTime": "5s", "gracefulStop": "10s"},
    }
    profile = scripted(SMOKE, {"scenarios": options}, SCRIPT)
    assert (profile.warmup, profile.seconds, profile.total_seconds) == (5.0, 30.0, 35.0)
    # The warm-up's last answers may come at 65 s, the judged ones' at 45 s.
    assert profile.load.grace == 30.0


def test_a_scenario_whose_time_is_not_planned_is_refused_with_those_that_are() -> None:
    with pytest.raises(
        ScriptError, match=r"'own' is per-vu-iterations, .* take one of constant-arrival-rate, ramping-"
    ):
        planned(executor="per-vu-iterations", iterations=3)


@pytest.mark.parametrize(
    "scenario",
    [
        {"executor": "ramping-vus", "stages": [{"duration": "0s", "target": 5}]},
        {"executor": "ramping-arrival-rate", "preAllocatedVUs": 1, "stages": [{"duration": "3s", "target": 0}]},
    ],
)
def test_a_load_that_starts_nothing_is_refused_before_it_is_sent(scenario: dict[str, object]) -> None:
    with pytest.raises(ScriptError, match="its scenarios start nothing: give them a duration, and a rate above 0"):
        planned(**scenario)


@pytest.mark.parametrize("profile", [SMOKE, RAMP])
def test_a_script_without_a_load_gets_the_profiles(profile: Profile, tmp_path: Path) -> None:
    script = tmp_path / "plain.js"
    script.write_text("export default function () {}")
    planned = plan_script(script, profile, "http://127.0.0.1:1/", tmp_path / "k6")
    assert (planned.name, planned.seconds, planned.warmup) == (profile.name, profile.seconds, profile.warmup)
    assert isinstance(planned.load, Scripted)
    assert {scenario.name for scenario in planned.load.scenarios} == set(for_any_script(profile))


def test_a_scripts_own_load_is_what_k6_runs(tmp_path: Path) -> None:
    script = tmp_path / "own.js"
    script.write_text("export const options = {vus: 3, duration: '7s'}; export default function () {}")
    files = K6Files(tmp_path / "k6")
    files.clear()
    write_config(SMOKE, files)
    options = inspect(find_k6(), script, files, "http://127.0.0.1:1")
    assert (scripted(SMOKE, options, script).name, scripted(SMOKE, options, script).seconds) == ("own", 7.0)
