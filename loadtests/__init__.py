"""Load for the shop: k6 journeys, and a wrapper that trusts nothing k6 says without a second source.

`run(profile, url, data_file, out_folder)` gives a `LoadRun` with every request; `loadtests.seed` prepares the data.
"""

from loadtests.errors import K6Missing, LoadError, ScriptError, SeedError
from loadtests.k6 import find_k6
from loadtests.plan import make_plan
from loadtests.profiles import MIX, PROFILES, RAMP, SMOKE, Arrivals, Profile, Scripted, Stage, Users
from loadtests.record import LoadRun, Progress
from loadtests.runner import plan_script, run, run_script
from loadtests.samples import Drop, Sample, SampleReader

__all__ = [
    "MIX",
    "PROFILES",
    "RAMP",
    "SMOKE",
    "Arrivals",
    "Drop",
    "K6Missing",
    "LoadError",
    "LoadRun",
    "Profile",
    "Progress",
    "Sample",
    "SampleReader",
    "ScriptError",
    "Scripted",
    "SeedError",
    "Stage",
    "Users",
    "find_k6",
    "make_plan",
    "plan_script",
    "run",
    "run_script",
]
