"""Small services beside each other, and what `goshop gate --baseline` must say of each pair of them.

Called as `-m tests.goshop.beside gate ...` it is `goshop` with two profiles of its own: `half-minute` is long enough to
pass, and the pairs' one is short. Latencies come from the services' own clocks, in turns that repeat with every run of
the load, so that a busy machine adds little to them.
"""

import asyncio
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from subprocess import CompletedProcess

from goshop.cli import main
from loadtests import PROFILES, Arrivals, Profile
from slo.verdict import Verdict, read_verdict
from tests.goshop.plain import goshop_gate, rate, script, write_specification
from tests.loadtests.stand_in import StandIn, served

RATE = 220
SHORT = {
    "smoke": Profile(name="smoke", load=Arrivals(rate=RATE, users=150), seconds=1.0),
    "half-minute": Profile(name="half-minute", load=Arrivals(rate=40, users=40), seconds=30.0),
}


class Tiered:
    """Answers one request of a run of RATE after `slowest` s, one of each 44 after `slow` s, all others after `usual` s.

    `slow` may be another one in every second run; after `until` requests there is no answer any more.
    """

    def __init__(self, usual=0.06, slow=(0.2,), slowest=0.3, until=10**9) -> None:
        self.usual, self.slow, self.slowest, self.until = usual, slow, slowest, until
        self.asked = 0
        self.last = 0.0
        self.run = 0
        self.stop = lambda: None

    async def answer(self, request):
        if request != "GET /x":
            # The gate asks whether somebody is there.
            return 200, {}, {}
        self.asked += 1
        if self.asked == self.until:
            self.stop()
        # A pause of the load: the next run begins.
        now, before = time.monotonic(), self.last
        self.last = now
        if now - before > 0.5:
            self.run += 1
        await asyncio.sleep(self._seconds(self.asked))
        return 200, {}, {}

    def _seconds(self, number):
        if number % RATE == 0:
            return self.slowest
        return self.slow[self.run % len(self.slow)] if number % 44 == 7 else self.usual


@dataclass(frozen=True)
class Beside:
    """Two services, the exit code that they must lead to, and what must be said."""

    baseline: Tiered
    candidate: Tiered
    code: int
    said: str
    script: str = script("/x")
    arguments: tuple[str, ...] = ("--profile", "smoke")


def cases():
    """Return new services for every run of the tests; the longest first."""
    return {
        "quicker": Beside(
            # By so much that a machine which stands still for a moment puts nothing in doubt.
            Tiered(slow=(0.4,), slowest=0.6),
            Tiered(),
            0,
            "Every objective is met, and nothing is worse than the baseline.",
            arguments=("--profile", "half-minute"),
        ),
        "slower": Beside(Tiered(), Tiered(slow=(0.3,)), 4, "REGRESSION  Worse than the baseline."),
        "unsteady": Beside(Tiered(), Tiered(slow=(0.1, 0.4)), 3, "undecided"),
        "dying": Beside(
            Tiered(until=2 * RATE),
            Tiered(),
            5,
            "the comparison with http://127.0.0.1:",
        ),
        "brief": Beside(Tiered(), Tiered(), 5, "at least 200 are needed", script("/x", options=rate(2, per_second=80))),
    }


@dataclass(frozen=True)
class BesideRuns:
    """What each run said and the verdict it left, by name; and the folder with everything else."""

    folder: Path
    found: dict[str, tuple[CompletedProcess[str], Verdict]]


def run_all(folder):
    """Run the command once for each case, as many at once as do not disturb each other."""
    with ThreadPoolExecutor(2) as pool:
        made = cases()
        return BesideRuns(
            folder, dict(zip(made, pool.map(lambda name: _run(folder / name, made[name]), made), strict=True))
        )


def _run(folder, case):
    folder.mkdir()
    specification = write_specification(folder / "gate.yaml")
    path = folder / "load.js"
    path.write_text(case.script)
    with ExitStack() as stack:
        baseline, candidate = (
            stack.enter_context(served(StandIn(side.answer))) for side in (case.baseline, case.candidate)
        )
        case.baseline.stop = baseline.die
        done = goshop_gate(
            *(specification, "--url", candidate.url, "--script", path, "--baseline", baseline.url, "--pairs", "6"),
            *("--dir", folder / "runs", "--out", folder / "out", "--history", "none", *case.arguments),
            program=("-m", "tests.goshop.beside"),
        )
    return done, read_verdict(folder / "out" / "verdict.json")


if __name__ == "__main__":
    PROFILES.update(SHORT)
    main(prog_name="goshop")
