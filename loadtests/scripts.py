"""Any k6 script: what it will do by its own options, or by the profile where it has none.

A script needs to know nothing of us. Its address comes from `__ENV.BASE_URL`; a load of its own (scenarios, stages, vus,
duration) is taken as it is, a script with only a default function gets the profile's. `k6 inspect` says which of the two,
by the same precedence by which k6 runs it: https://grafana.com/docs/k6/latest/using-k6/k6-options/how-to/#order-of-precedence
"""

import re
import subprocess
from collections.abc import Iterator, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any, Final

import msgspec

from loadtests import k6
from loadtests.errors import ScriptError
from loadtests.plan import WARMUP, for_any_script
from loadtests.profiles import Profile, Scenario, Scripted
from loadtests.thresholds import TREND_STATS

BASE_URL: Final = "BASE_URL"
# What replaces a script's own options: the columns of a sample, and what its summary says of each metric.
OPTIONS: Final = {
    "K6_SYSTEM_TAGS": "status,method,name,scenario,error_code,expected_response",
    "K6_SUMMARY_TREND_STATS": TREND_STATS,
}
# What k6 takes where a scenario says nothing.
_DEFAULT_GRACE: Final = 30.0
_INSPECT_SECONDS: Final = 60.0
_UNITS: Final = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}
_DURATION: Final = re.compile(r"(\d+(?:\.\d+)?)(h|ms|m|s|us|µs|ns)")

_Options = Mapping[str, Any]


def arguments(files: k6.K6Files, url: str) -> tuple[str, ...]:
    """Return the arguments of `k6 run` beside those that every script gets."""
    return ("--summary-export", str(files.summary), "-e", f"{BASE_URL}={url.rstrip('/')}")


def write_config(profile: Profile, files: k6.K6Files) -> None:
    """Write the profile as k6's configuration, which a script's own load overrides; raises OSError."""
    files.config.write_bytes(msgspec.json.encode({"scenarios": for_any_script(profile)}))


def inspect(
    binary: Path, script: Path, files: k6.K6Files, url: str, variables: Mapping[str, str] = k6.NOTHING
) -> _Options:
    """Return the options that k6 will run the script with; raises `ScriptError` with k6's own words."""
    command = [
        *(str(binary), "inspect", "--execution-requirements", "--log-format", "json", "--no-color"),
        "--include-system-env-vars",
        *("--config", str(files.config), "-e", f"{BASE_URL}={url.rstrip('/')}", str(script)),
    ]
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            check=False,
            env={**k6.environment(), **variables},
            cwd=files.folder,
            timeout=_INSPECT_SECONDS,
        )
        options: _Options = msgspec.json.decode(done.stdout, type=dict[str, Any]) if not done.returncode else {}
    except (OSError, subprocess.SubprocessError, msgspec.DecodeError) as error:
        raise ScriptError(f"{script}: k6 cannot say what it will do: {error}") from error
    if done.returncode:
        raise ScriptError(f"{script}: k6 cannot run it: {_last_words(done.stderr)}")
    return options


def scripted(profile: Profile, options: _Options, script: Path) -> Profile:
    """Return what k6 will run, as a profile: named like the given one if that is what it runs, else like the script.

    Raises `ScriptError` for scenarios whose length is not planned.
    """
    scenarios = tuple(_scenarios(options.get("scenarios") or {}, script))
    load = Scripted(scenarios)
    if not load.judged:
        raise ScriptError(f"{script}: every scenario is tagged phase: {WARMUP}, none is left to be judged")
    begin, end = min(scenario.start for scenario in load.judged), max(scenario.end for scenario in load.judged)
    if end <= begin or (load.open and not sum(scenario.iterations or 0 for scenario in load.judged)):
        raise ScriptError(f"{script}: its scenarios start nothing: give them a duration, and a rate above 0")
    ours = {scenario.name for scenario in scenarios} == set(for_any_script(profile))
    return Profile(name=profile.name if ours else script.stem, load=load, seconds=end - begin, warmup=begin)


def _scenarios(found: Mapping[str, _Options], script: Path) -> Iterator[Scenario]:
    for name, options in found.items():
        executor = options["executor"]
        if executor not in _EXECUTORS:
            known = ", ".join(_EXECUTORS)
            raise ScriptError(
                f"{script}: scenario {name!r} is {executor}, whose judged time is not planned: take one of {known}"
            )
        seconds, users, iterations = _EXECUTORS[executor](options)
        yield Scenario(
            name=name,
            start=seconds_of(options.get("startTime"), 0.0),
            seconds=seconds,
            users=users,
            iterations=iterations,
            grace=seconds_of(options.get("gracefulStop"), _DEFAULT_GRACE),
            warmup=(options.get("tags") or {}).get("phase") == WARMUP,
        )


_Shape = tuple[float, int, float | None]


def _constant_users(options: _Options) -> _Shape:
    return seconds_of(options["duration"], 0.0), int(options.get("vus") or 1), None


def _ramping_users(options: _Options) -> _Shape:
    levels, lengths = _stages(options, "startVUs", 1)
    return sum(lengths), round(max(levels)), None


def _constant_rate(options: _Options) -> _Shape:
    seconds = seconds_of(options["duration"], 0.0)
    return seconds, _most_users(options), _per_second(options, options["rate"]) * seconds


def _ramping_rate(options: _Options) -> _Shape:
    levels, lengths = _stages(options, "startRate", 0)
    areas = (length * (before + after) / 2 for length, (before, after) in zip(lengths, pairwise(levels), strict=True))
    return sum(lengths), _most_users(options), _per_second(options, sum(areas))


_EXECUTORS: Final = {
    "constant-arrival-rate": _constant_rate,
    "ramping-arrival-rate": _ramping_rate,
    "constant-vus": _constant_users,
    "ramping-vus": _ramping_users,
}


def _stages(options: _Options, start: str, default: int) -> tuple[list[float], list[float]]:
    """Return the levels at the edges of the stages, and the stages' lengths in s."""
    stages, first = options.get("stages") or [], options.get(start)
    levels = [float(default if first is None else first), *(float(stage["target"]) for stage in stages)]
    return levels, [seconds_of(stage["duration"], 0.0) for stage in stages]


def _most_users(options: _Options) -> int:
    return int(options.get("maxVUs") or options["preAllocatedVUs"])


def _per_second(options: _Options, rate: float) -> float:
    return rate / seconds_of(options.get("timeUnit"), 1.0)


def seconds_of(duration: str | None, default: float) -> float:
    """Read a duration as Go spells it, such as "1m30s" or "500ms"; `default` where there is none."""
    if duration is None:
        return default
    return sum(float(number) * _UNITS[unit] for number, unit in _DURATION.findall(duration))


def _last_words(stderr: str) -> str:
    lines = stderr.strip().splitlines() or ["it said nothing"]
    try:
        said = msgspec.json.decode(lines[-1], type=dict[str, Any])
    except msgspec.DecodeError:
        return lines[-1]
    return " ".join(str(said.get("msg") or said.get("error") or lines[-1]).split())
