"""The two sides of a comparison while both are up: each can be filled, and loaded for one run."""

import math
import os
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import loadtests
from goshop.measurement import Job
from goshop.progress import Stage
from loadtests import LoadRun, Profile, Progress
from loadtests.seed import seed_shop
from slo.comparison import Turn

OnProgress = Callable[[Progress], None]

# Filling both sides, one after the other.
SEED_SECONDS: Final = 120.0
# Runs on a busy machine take longer than planned.
_AMPLE: Final = 2.0


@dataclass(slots=True, kw_only=True)
class Side:
    """One of the two: `admin` fills it with what the shop's journeys need, None where the script needs nothing.

    `ended` says how a part of it ended without being asked, "" while all is up.
    """

    turn: Turn
    url: str
    admin: tuple[str, str] | None = None
    data: Path | None = None
    ended: Callable[[], str] = field(default=lambda: "")
    # Unix s at which the first token of its data ends.
    expires: float = field(default=0.0, init=False)

    def fill(self) -> None:
        """Make users, products and orders; raises `LoadError`."""
        if self.admin is None or self.data is None:
            return
        with Stage(f"preparing users, products and orders of the {self.turn}") as stage:
            made = seed_shop(self.url, self.admin, self.data, on_progress=lambda p: stage.update(p.done, p.total))
        self.expires = made.expires

    def lasts(self, seconds: float) -> bool:
        """Tell whether its data can be used for so long."""
        return self.data is None or self.expires - time.time() > seconds

    def load(self, job: Job, profile: Profile, folder: Path, on_progress: OnProgress) -> LoadRun:
        """Run the load once; raises `LoadError` when it cannot be prepared."""
        if self.data is not None:
            return loadtests.run(profile, self.url, self.data, folder, script=job.gate.script, on_progress=on_progress)
        script, variables = job.gate.script, readable(job.variables)
        planned = loadtests.plan_script(script, profile, self.url, folder, variables=variables)
        return loadtests.run_script(script, planned, self.url, folder, variables=variables, on_progress=on_progress)


def logged_in_throughout(environ: Mapping[str, str], seconds: float) -> dict[str, str]:
    """Return the environment of a shop whose tokens outlive a comparison that is planned to last so long.

    To fill it again in the middle would give the later pairs more products to search, and meet the faults that are injected.
    """
    return {**environ, "GOSHOP_AUTH__TOKEN_TTL": str(math.ceil(_AMPLE * seconds + SEED_SECONDS))}


def readable(names: tuple[str, ...]) -> Mapping[str, str]:
    """Return the variables that a foreign script may read."""
    return {name: os.environ[name] for name in names}
