"""All phases of a soak, one after the other; or side by side, for the short form."""

import asyncio
import tempfile
from collections.abc import Awaitable, Callable
from pathlib import Path

from benchmarks.soak.collector import TROUBLES
from benchmarks.soak.ending import ENDINGS, ending
from benchmarks.soak.ending import SECTION as END
from benchmarks.soak.growth import DISTINCT, KINDS, STEADY, distinct, steady
from benchmarks.soak.phase import Check, Phase, Place, Plan
from benchmarks.soak.process import ServerFailed
from benchmarks.soak.trouble import SECTION as TROUBLE
from benchmarks.soak.trouble import trouble

Run = Callable[[], Awaitable[Phase | list[Phase]]]
Say = Callable[[str], None]


def phases(place: Place) -> list[tuple[str, str, Run]]:
    """Return the section, the name and the way to run each phase."""
    runs: list[tuple[str, str, Run]] = [(END, mode, _with(ending, mode, place)) for mode in ENDINGS]
    runs += [(TROUBLE, mode, _with(trouble, mode, place)) for mode in TROUBLES]
    runs += [(DISTINCT, kind, _with(distinct, kind, place)) for kind in KINDS]
    return [*runs, (STEADY, STEADY, lambda: steady(place))]


def _with(phase: Callable[[str, Place], Awaitable[Phase]], name: str, place: Place) -> Run:
    return lambda: phase(name, place)


async def one_by_one(plan: Plan, say: Say) -> list[Phase]:
    """Run every phase alone, and say how it went."""
    found: list[Phase] = []
    with tempfile.TemporaryDirectory() as folder:
        for section, name, run in phases(Place(plan, Path(folder))):
            say(f"{section}: {name} ...")
            for phase in await _tried(section, name, run):
                say(f"    {phase.name}: {_brief(phase)}")
                found.append(phase)
    return found


async def _tried(section: str, name: str, run: Run) -> list[Phase]:
    """Run a phase; one that cannot be run to its end is one that failed."""
    try:
        found = await run()
    except (ServerFailed, TimeoutError, OSError) as error:
        return [Phase(section, name, {}, (Check("the phase runs to its end", repr(error), met=False),))]
    return found if isinstance(found, list) else [found]


def _brief(phase: Phase) -> str:
    missed = [f"{check.text}: {check.measured}" for check in phase.checks if not check.met]
    return f"NOT MET: {'; '.join(missed)}" if missed else f"all {len(phase.checks)} criteria met"


async def side_by_side(plan: Plan, sections: tuple[str, ...]) -> list[Phase]:
    """Run all phases of some sections at the same time: quick, and no measure of throughput."""
    with tempfile.TemporaryDirectory() as folder:
        chosen = [run for section, _, run in phases(Place(plan, Path(folder))) if section in sections]
        found = await asyncio.gather(*(run() for run in chosen))
    return [phase for each in found for phase in (each if isinstance(each, list) else [each])]
