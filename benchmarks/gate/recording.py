"""Records runs of the shop of this checkout: one shop, one release, one short run after the other.

What a comparison of two releases is up against is how much runs of one and the same release differ. Each run is one of
its own: another k6, new connections, a warm-up that is not kept. The shop stays up and its tables grow, as they do while
`goshop gate --baseline` compares.
"""

import math
import os
import shutil
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

import loadtests
from benchmarks.gate.recorded import Pool, RecordedRun, pack, pack_numbers
from benchmarks.telemetry.machine import machine
from goshop.measurement import load_facts
from goshop.processes import how_it_ended
from goshop.run import RunFolder
from goshop.shop import Shop
from loadtests import SMOKE, Arrivals, LoadRun, Profile, k6
from loadtests.profiles import ENDPOINTS
from loadtests.seed import seed_shop
from slo.load import assess_load
from slo.sample import Sample, endpoint_of, is_unanswered, is_unavailable

ROOT: Final = Path(__file__).parents[2]
# Runs that cannot be trusted are done again, but a machine that cannot measure is not asked for ever.
MOST_REFUSED: Final = 3
# More failures than this and a run's latencies are those of errors.
MOST_FAILED: Final = 0.01
# The latency that the shop's gate holds: what the load generator's own waiting is compared with.
LATENCY_TARGET: Final = 0.8
TOKEN_SECONDS: Final = 7200
# Seconds that a run takes beyond its load: k6 starts, compiles the script and ends.
_AROUND: Final = 2.0
_START: Final = 30.0
_NAMES: Final = list(ENDPOINTS.values())

Say = Callable[[str], None]


class NotRecorded(Exception):
    """No pool was recorded; the message says why."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What to record: `runs` runs of `seconds` s at the rate of the profile `smoke`, after a warm-up of `warmup` s each."""

    runs: int
    seconds: float
    warmup: float

    @property
    def profile(self) -> Profile:
        """What k6 runs."""
        return msgspec.structs.replace(SMOKE, seconds=self.seconds, warmup=self.warmup)

    @property
    def total_seconds(self) -> float:
        """How long all of it takes: one run more than is kept."""
        return _START + (self.runs + 1) * (self.profile.total_seconds + _AROUND)


def record_pool(recording: Recording, say: Say) -> Pool:
    """Start the shop, record, and stop it; nothing of it stays behind.

    Raises `StartError`, `NotRecorded` and, on Ctrl-C, `Interrupted`. Main thread only.
    """
    folder = RunFolder.create()
    refused: list[str] = []
    try:
        with Shop.start(folder, environ=_environ(), progress=say) as shop:
            say("preparing users, products and orders")
            data = folder.state / "seed.json"
            seed_shop(shop.url, shop.admin, data)
            say("warming the shop")
            _load(shop, recording.profile, data)
            runs = list(_runs(shop, recording, data, refused, say))
    finally:
        shutil.rmtree(folder.path, ignore_errors=True)
    load = recording.profile.load
    return Pool(
        machine=machine(),
        commit=_commit(),
        k6=k6.version(k6.find_k6()).split()[1],
        rate=float(load.rate) if isinstance(load, Arrivals) else math.nan,
        seconds=recording.seconds,
        warmup=recording.warmup,
        endpoints=_NAMES,
        refused=refused,
        runs=runs,
    )


def _runs(shop: Shop, recording: Recording, data: Path, refused: list[str], say: Say) -> Iterator[RecordedRun]:
    kept = 0
    while kept < recording.runs:
        load = _load(shop, recording.profile, data)
        if problems := _problems(shop, load):
            refused.append(problems[0])
            say(f"run {kept + 1} is done again: {problems[0]}")
            if len(refused) > MOST_REFUSED:
                raise NotRecorded(f"{len(refused)} runs could not be trusted, the last one because {problems[0]}")
            continue
        kept += 1
        made = _recorded(load)
        say(
            f"run {kept} of {recording.runs}: {len(load.judged)} requests, P99 {made.run().percentile(99) * 1e3:.1f} ms"
        )
        yield made


def _load(shop: Shop, profile: Profile, data: Path) -> LoadRun:
    return loadtests.run(profile, shop.url, data, shop.run.k6)


def _problems(shop: Shop, load: LoadRun) -> Sequence[str]:
    """Say why a run cannot be kept, most serious first; a service that has died ends the recording."""
    if ended := shop.ended():
        raise NotRecorded(", ".join(f"{name} {how_it_ended(code)}" for name, code in ended.items()))
    found = list(assess_load(load_facts(load, load.profile), load.samples, None, LATENCY_TARGET).problems)
    failed = sum(map(is_unavailable, load.judged))
    if failed > MOST_FAILED * len(load.judged):
        found.append(f"{failed} of {len(load.judged)} requests failed")
    return found


def _recorded(load: LoadRun) -> RecordedRun:
    samples: list[Sample] = sorted(load.judged, key=lambda sample: sample.start)
    return RecordedRun(
        started=round(load.window[0], 1),
        failed=sum(map(is_unavailable, samples)),
        cpu_share=round(load.cpu_share, 3),
        cpu_wait=None if load.cpu_wait is None else round(load.cpu_wait / len(load.samples), 5),
        latencies=pack([math.inf if is_unanswered(sample) else sample.duration for sample in samples]),
        endpoints=pack_numbers([_NAMES.index(endpoint_of(sample)) for sample in samples], 1),
    )


def _environ() -> dict[str, str]:
    """Return our environment without OpenTelemetry's variables, and with tokens that live through all runs."""
    ours = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return {**ours, "GOSHOP_AUTH__TOKEN_TTL": str(TOKEN_SECONDS)}


def _commit() -> str:
    command = ["git", "-C", str(ROOT), "describe", "--always", "--dirty", "--abbrev=40", "--exclude=*"]
    try:
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout.strip()
    except (OSError, subprocess.CalledProcessError):
        # A source tree without its history; the pool says so.
        return "unknown"
