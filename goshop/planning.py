"""Tells before the load starts what a run can decide, from the gate's objectives and the profile that will load it."""

from collections.abc import Iterator, Sequence
from typing import Final

from goshop.measurement import planned_iterations
from loadtests import MIX, Profile, Scripted
from loadtests.plan import SCRIPT
from loadtests.profiles import ENDPOINTS
from slo.gates import Gate, Objective
from slo.history import FormerRun, past_of
from slo.planning import Asked, Need, needed, plan_sentence
from slo.throughput import completion_budget

# Mean latency in s at which a closed model's rate is estimated.
_LATENCY: Final = 0.2
BURSTS: Final = " It takes so many because former runs had bursts of bad requests (--history none leaves them out)."


def plan_line(gate: Gate, profile: Profile, history: Sequence[FormerRun] = ()) -> str:
    """Return the sentence; "" where the rate is not known before the load has run. `history`: former runs of the target."""
    needs = list(_needs(gate, profile, history))
    if not needs:
        return ""
    short = {need.asked.name for need in needs if not need.within(profile.seconds)}
    alone = {need.asked.name for need in _needs(gate, profile, ()) if not need.within(profile.seconds)}
    return plan_sentence(needs, profile.seconds) + (BURSTS if short - alone else "")


def _needs(gate: Gate, profile: Profile, history: Sequence[FormerRun]) -> Iterator[Need]:
    for objective, asked in _asked(gate, profile):
        past = past_of(history, objective, profile.name, profile.seconds)
        yield needed(asked, past.floor(round(asked.rate * profile.seconds)))


def _asked(gate: Gate, profile: Profile) -> Iterator[tuple[Objective, Asked]]:
    rate = _rate(profile)
    if rate is None:
        return
    for objective in gate.objectives:
        share = _share(objective, gate)
        budget = objective.budget if objective.budget is not None else completion_budget(objective.target, rate)
        # A closed model's throughput is judged by its rate, and nothing is decided where no more than the target is sent.
        closed = objective.indicator == "throughput" and planned_iterations(profile) is None
        if share and not closed and 0 < budget < 1:
            yield objective, Asked(objective.name, budget, rate * share)


def _rate(profile: Profile) -> float | None:
    """Return requests/s: planned, or as many as users send who wait 0.2 s; a script's iterations send one at least."""
    planned = planned_iterations(profile)
    if planned is not None:
        return planned / profile.seconds
    return None if isinstance(profile.load, Scripted) else profile.load.ceiling(_LATENCY)


def _share(objective: Objective, gate: Gate) -> float | None:
    """Return the share of the requests that count for an objective; None where the script alone knows."""
    if not objective.endpoint:
        return 1.0
    if gate.script != SCRIPT:
        return None
    return sum(MIX[name] for name, endpoint in ENDPOINTS.items() if endpoint == objective.endpoint) / sum(MIX.values())
