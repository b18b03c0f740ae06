"""The plan of one run: a profile, an address and data turned into what k6 and `k6/shop.js` read."""

from math import floor
from pathlib import Path
from typing import Any, Final

import msgspec

from loadtests.profiles import JOURNEYS, MIX, REQUEST_TIMEOUT, Arrivals, Profile, Scripted, Users

SCRIPT: Final = Path(__file__).parent / "k6" / "shop.js"
# The value of the tag `phase` for requests that are sent, reconciled and reported, but not judged.
WARMUP: Final = "warmup"
JUDGED: Final = "judged"

_Scenario = dict[str, Any]


def make_plan(profile: Profile, url: str, data_file: Path) -> dict[str, Any]:
    """Return what `shop.js` reads from the file named by PLAN."""
    return {
        "url": url.rstrip("/"),
        "data": str(data_file.resolve()),
        "timeout": f"{REQUEST_TIMEOUT:g}s",
        "think": profile.load.pause if isinstance(profile.load, Users) else 0,
        "mix": MIX,
        "journeys": JOURNEYS,
        "scenarios": scenarios(profile),
    }


def write_plan(plan: dict[str, Any], path: Path) -> None:
    """Write the plan as JSON; raises OSError."""
    path.write_bytes(msgspec.json.encode(plan))


def scenarios(profile: Profile) -> dict[str, _Scenario]:
    """Return k6's `scenarios` option for a profile."""
    if isinstance(profile.load, Scripted):
        raise TypeError("a script that brings its own scenarios is given none")
    if isinstance(profile.load, Users):
        return _users(profile.load)
    phases = {profile.name: _arrivals(profile.load, profile.warmup, profile.seconds, JUDGED)}
    if profile.warmup:
        phases[WARMUP] = _arrivals(profile.load, 0.0, profile.warmup, WARMUP)
    return phases


def for_any_script(profile: Profile) -> dict[str, _Scenario]:
    """Return k6's `scenarios` option for a script that has only a default function."""
    load = profile.load
    if not isinstance(load, Users):
        return {name: {**scenario, "exec": "default"} for name, scenario in scenarios(profile).items()}
    stages = [{"duration": _milliseconds(stage.seconds), "target": stage.users} for stage in load.stages]
    return {profile.name: _ramping("default", load, load.start, stages)}


def _arrivals(load: Arrivals, start: float, seconds: float, phase: str) -> _Scenario:
    return {
        "executor": "constant-arrival-rate",
        "exec": "mixed",
        "rate": load.rate,
        "timeUnit": "1s",
        "startTime": _milliseconds(start),
        "duration": _milliseconds(seconds),
        # All users exist before the load begins: making one costs time that others' requests would be measured with.
        "preAllocatedVUs": load.users,
        "maxVUs": load.users,
        "gracefulStop": _milliseconds(load.grace),
        "tags": {"phase": phase},
    }


def _users(load: Users) -> dict[str, _Scenario]:
    """Share the users of each stage among the journeys by weight; over all scenarios they add up to the stage."""
    weights = {journey: sum(variants.values()) for journey, variants in JOURNEYS.items()}
    start = shares(load.start, weights)
    stages = [(_milliseconds(stage.seconds), shares(stage.users, weights)) for stage in load.stages]
    return {
        journey: _ramping(
            journey,
            load,
            start[journey],
            [{"duration": length, "target": users[journey]} for length, users in stages],
        )
        for journey in weights
        # k6 refuses a scenario that never has a user.
        if start[journey] or any(users[journey] for _, users in stages)
    }


def _ramping(function: str, load: Users, start: int, stages: list[dict[str, Any]]) -> _Scenario:
    return {
        "executor": "ramping-vus",
        "exec": function,
        "startVUs": start,
        "stages": stages,
        "gracefulRampDown": _milliseconds(load.grace),
        "gracefulStop": _milliseconds(load.grace),
        "tags": {"phase": JUDGED},
    }


def shares(total: int, weights: dict[str, int]) -> dict[str, int]:
    """Split `total` in proportion to the weights into whole numbers that add up to it (largest remainder)."""
    scale = total / sum(weights.values())
    whole = {name: floor(weight * scale) for name, weight in weights.items()}
    by_remainder = sorted(weights, key=lambda name: whole[name] - weights[name] * scale)
    for name in by_remainder[: total - sum(whole.values())]:
        whole[name] += 1
    return whole


def _milliseconds(seconds: float) -> str:
    return f"{round(seconds * 1000)}ms"
