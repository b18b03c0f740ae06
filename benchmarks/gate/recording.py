"""Records runs of the shop of this checkout: one shop, one release, one short run after the other.

What a comparison of two releases is up against is how much runs of one and the same release differ. Each run is one of
its own: another k6, new connections, a warm-up that is not kept. The shop stays up and its tables grow, as they do while
`goshop gate --baseline` compares.
"""

import math
import os
import shutil
import subprocess
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import msgspec

import loadtests
from benchmarks.gate.bystanders import Bystanders
from benchmarks.gate.pool import SLOW_PATH, SLOW_PATH_SECONDS
from benchmarks.gate.recorded import Pool, RecordedRun, pack, pack_numbers
from benchmarks.telemetry.machine import machine
from goshop.measurement import load_facts
from goshop.processes import how_it_ended
from goshop.run import RunFolder
from goshop.shop import Shop
from loadtests import MIX, SMOKE, Arrivals, LoadRun, Profile, k6
from loadtests.profiles import ENDPOINTS
from loadtests.seed import seed_shop
from slo.load import assess_load
from slo.pairs import PERCENTILE
from slo.sample import Sample, endpoint_of, is_unavailable

ROOT: Final = Path(__file__).parents[2]
# Runs that cannot be trusted are done again, but a machine that cannot measure is not asked for ever.
MOST_REFUSED: Final = 5
# Part of the machine that others may use during a run.
MOST_OTHERS: Final = 0.1
# More failures than this and a run's latencies are those of errors.
MOST_FAILED: Final = 0.001
# The latency that the shop's gate holds: what the load generator's own waiting is compared with.
LATENCY_TARGET: Final = 0.8
TOKEN_SECONDS: Final = 7200
# Seconds that a run takes beyond its load: k6 starts, compiles the script and ends.
_AROUND: Final = 2.0
_START: Final = 30.0
# One request in 300 as a share of the searches, of which each takes this path.
SLOW_FAULT: Final = (
    f"product.search=delay:{SLOW_PATH_SECONDS * 1e3:.0f}ms@{SLOW_PATH * sum(MIX.values()) / MIX['search']:.3%}"
)
_NAMES: Final = list(ENDPOINTS.values())

Say = Callable[[str], None]


class NotRecorded(Exception):
    """No pool was recorded; the message says why."""


@dataclass(frozen=True, slots=True)
class Recording:
    """What to record: `runs` runs of `seconds` s at the rate of the profile `smoke`, each after a warm-up of `warmup` s.

    After them, `changed` runs of the same shop in which one request in 300 takes a new path, 500 ms slower.
    """

    runs: int
    changed: int
    seconds: float
    warmup: float

    @property
    def profile(self) -> Profile:
        """What k6 runs."""
        return msgspec.structs.replace(SMOKE, seconds=self.seconds, warmup=self.warmup)

    @property
    def total_seconds(self) -> float:
        """How long all of it takes: one run more than are kept."""
        return _START + (self.runs + self.changed + 1) * (self.profile.total_seconds + _AROUND)


def record_pool(recording: Recording, say: Say) -> Pool:
    """Start the shop, record, and stop it; nothing of it stays behind.

    Raises `StartError`, `LoadError`, `NotRecorded` and, on Ctrl-C, `Interrupted`. Main thread only.
    """
    binary = k6.find_k6()
    folder = RunFolder.create()
    try:
        with Shop.start(folder, faults=SLOW_FAULT, armed=False, environ=_environ(), progress=say) as shop:
            recorder = _Recorder(shop, recording.profile, say)
            recorder.prepare()
            runs = recorder.keep(recording.runs)
            if recording.changed:
                say(f"from here on with {SLOW_FAULT}")
                shop.arm_faults()
            changed = recorder.keep(recording.changed)
    finally:
        shutil.rmtree(folder.path, ignore_errors=True)
    load = recording.profile.load
    return Pool(
        machine=machine(),
        commit=_commit(),
        k6=k6.version(binary).split()[1],
        rate=float(load.rate) if isinstance(load, Arrivals) else math.nan,
        seconds=recording.seconds,
        warmup=recording.warmup,
        endpoints=_NAMES,
        refused=recorder.refused,
        runs=runs,
        fault=SLOW_FAULT if changed else "",
        changed=changed,
    )


class _Recorder:
    """Loads a shop again and again, and keeps what can be trusted."""

    def __init__(self, shop: Shop, profile: Profile, say: Say) -> None:
        self.refused: list[str] = []
        self._in_a_row = 0
        self._shop = shop
        self._profile = profile
        self._say = say
        self._data = shop.run.state / "seed.json"

    def prepare(self) -> None:
        """Fill the shop, and load it once for nothing."""
        self._say("preparing users, products and orders")
        seed_shop(self._shop.url, self._shop.admin, self._data)
        self._say("warming the shop")
        self._load()

    def keep(self, count: int) -> list[RecordedRun]:
        """Load the shop until so many runs can be kept."""
        kept: list[RecordedRun] = []
        while len(kept) < count:
            bystanders = Bystanders()
            load = self._load()
            others = bystanders.share()
            if problems := self._problems(load, others):
                self._refuse(problems[0])
                continue
            kept.append(_recorded(load, others))
            self._in_a_row = 0
            milliseconds = kept[-1].run().percentile(PERCENTILE) * 1e3
            self._say(f"run {len(kept)} of {count}: {len(load.judged)} requests, P99 {milliseconds:.1f} ms")
        return kept

    def _load(self) -> LoadRun:
        return loadtests.run(self._profile, self._shop.url, self._data, self._shop.run.k6)

    def _problems(self, load: LoadRun, others: float) -> Sequence[str]:
        """Say why a run cannot be kept; a service that has died ends the recording."""
        if ended := self._shop.ended():
            raise NotRecorded(", ".join(f"{name} {how_it_ended(code)}" for name, code in ended.items()))
        found = list(assess_load(load_facts(load, load.profile), load.samples, None, LATENCY_TARGET).problems)
        failed = sum(map(is_unavailable, load.judged))
        if failed > MOST_FAILED * len(load.judged):
            found.append(f"{failed} of {len(load.judged)} requests failed")
        if others > MOST_OTHERS:
            found.append(f"others used {others:.0%} of the machine")
        return found

    def _refuse(self, problem: str) -> None:
        self.refused.append(problem)
        self._say(f"one run is done again: {problem}")
        self._in_a_row += 1
        if self._in_a_row > MOST_REFUSED:
            raise NotRecorded(f"{self._in_a_row} runs in a row could not be trusted, the last one because {problem}")


def _recorded(load: LoadRun, others: float) -> RecordedRun:
    samples: list[Sample] = sorted(load.judged, key=lambda sample: sample.start)
    return RecordedRun(
        started=round(load.window[0], 1),
        failed=sum(map(is_unavailable, samples)),
        cpu_share=round(load.cpu_share, 3),
        others=round(others, 3),
        cpu_wait=None if load.cpu_wait is None else round(load.cpu_wait / len(load.samples), 5),
        latencies=pack([math.inf if is_unavailable(sample) else sample.duration for sample in samples]),
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
