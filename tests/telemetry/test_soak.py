"""The short form of `make soak`: every trouble, ending and made-up caller of it, for seconds, and all at the same time."""

import pytest
import uvloop

from benchmarks.soak.collector import TROUBLES
from benchmarks.soak.ending import ENDINGS
from benchmarks.soak.ending import SECTION as END
from benchmarks.soak.growth import DISTINCT, HELD, KINDS, STEADY, growth
from benchmarks.soak.phase import Check, Phase, Plan
from benchmarks.soak.report import Report
from benchmarks.soak.run import side_by_side
from benchmarks.soak.trouble import SECTION as TROUBLE

# Timing is told, not judged: other tests may run beside these.
SHORT = Plan(
    trouble=2.0,
    steady=4.0,
    ending=1.0,
    distinct=12_000,
    rate=300,
    hasty_rate=200,
    queue=300,
    samples=8,
    judge_speed=False,
)


def missed(phase: Phase) -> list[str]:
    return [f"{check.text}: {check.measured}" for check in phase.checks if not check.met]


@pytest.fixture(scope="module")
def troubled() -> dict[str, Phase]:
    return {phase.name: phase for phase in uvloop.run(side_by_side(SHORT, (TROUBLE,)))}


@pytest.fixture(scope="module")
def others() -> dict[str, Phase]:
    found = uvloop.run(side_by_side(SHORT, (END, DISTINCT, STEADY)))
    return {f"{phase.section}, {phase.name}": phase for phase in found}


@pytest.mark.parametrize("mode", TROUBLES)
def test_a_collector_in_trouble_fails_no_request_and_leaves_exact_books(troubled: dict[str, Phase], mode: str) -> None:
    phase = troubled[mode]
    assert missed(phase) == []
    assert phase.figures["failed"] == 0


@pytest.mark.parametrize("mode", ENDINGS)
def test_an_end_under_load_loses_nothing_that_is_not_counted_and_said(others: dict[str, Phase], mode: str) -> None:
    assert missed(others[f"{END}, {mode}"]) == []


@pytest.mark.parametrize("kind", KINDS)
def test_nothing_that_callers_make_up_is_kept(others: dict[str, Phase], kind: str) -> None:
    assert missed(others[f"{DISTINCT}, {kind}"]) == []


@pytest.mark.parametrize("held", HELD)
def test_a_steady_load_makes_nothing_grow(others: dict[str, Phase], held: str) -> None:
    assert missed(others[f"{STEADY}, {held}"]) == []


# --- the harness itself -----------------------------------------------------------------------------------------------


def test_a_leak_is_growth_and_noise_is_none() -> None:
    times = [float(second) for second in range(40)]
    leak = growth(times, [80.0 + 0.1 * second for second in times])
    noisy = growth(times, [80.0 + (second * 7 % 5) for second in times])
    assert leak.grown > leak.noise
    assert noisy.grown <= noisy.noise


def report(*checks: Check) -> Report:
    phases = [Phase("A section", "a phase", {"requests": 7}, checks)]
    machine = {"cpu": "a CPU", "cores": "2", "system": "Linux", "python": "CPython", "date": "2026-01-01"}
    return Report(Plan(), phases, machine, (0.1, 0.2), ["Said of this run."])


def test_a_report_names_what_is_not_met() -> None:
    found = report(Check("nothing fails", "0 of 7", met=True), Check("all is told", "6 of 7", met=False))
    assert not found.met
    assert "1 of 2 criteria are met" in found.text()
    assert "NOT MET  A section, a phase: all is told: 6 of 7" in found.markdown()
    assert "Said of this run." in found.markdown()
