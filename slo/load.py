"""How the load itself went: whether what was planned was offered, and whether the client's clock can be trusted.

A measurement that failed is exit 5, never a verdict on the shop. Fewer requests than planned are the *shop's* doing
when the virtual users were all waiting for its answers (k6 then drops iterations): they count as not completed. They
are the *load generator's* when iterations came late while users were free.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Final, Literal

from slo.sample import Sample, is_judged
from slo.throughput import is_offered
from slo.verdict import Load

# A starved load generator is wrong in the tail before the median: beyond this share of the latency target its own
# waiting is too large a part of what is judged.
CLIENT_SHARE: Final = 0.25
# What is said then.
WAITED_OUTSIDE: Final = "requests waited in the load generator or before the gateway"


@dataclass(frozen=True, slots=True, kw_only=True)
class LoadFacts:
    """What the load generator did; times in unix s, all figures of the judged time only.

    `begin` and `seconds` are the judged time *as planned*: after the warm-up, without the graceful tail.
    Open model: `planned` is how many requests the plan holds for that time, `drops` says when how many requests were not
    sent because every virtual user was waiting for an answer (dropped iterations, times requests per iteration).
    Closed model: `users` are (time, active users) points, with straight lines between them; `planned` is None.
    `interrupted` is the number of iterations that were cut short. `problems` are failures that the wrapper of the load
    generator found, a sentence each (crash, lost samples, full disk). `doubts` make a pass worth nothing, though not a
    failure: a threshold of the script that looked at nothing. `cpu_share` is the load generator's part of all the CPU time
    that there was, `cpu_wait` how long a request waited on average for it to get a CPU, in s; None where not known. `stopped` says, by the name of the objective, why the
    load was ended early: `seconds` is then how long it lasted, and `planned` None.
    """

    model: Literal["open", "closed"]
    begin: float
    seconds: float
    planned: float | None = None
    drops: tuple[tuple[float, float], ...] = ()
    users: tuple[tuple[float, float], ...] = ()
    interrupted: int = 0
    problems: tuple[str, ...] = ()
    doubts: tuple[str, ...] = ()
    cpu_share: float | None = None
    cpu_wait: float | None = None
    stopped: Mapping[str, str] = field(default_factory=dict)

    @property
    def dropped(self) -> int:
        """How many requests were not sent because every virtual user was waiting for an answer."""
        return round(sum(requests for _, requests in self.drops))


def user_seconds(users: Sequence[tuple[float, float]], begin: float, end: float) -> float:
    """Return the integral of active users over [begin, end]; the first and the last point hold beyond themselves."""
    if not users:
        return 0.0
    points = [(min(begin, users[0][0]), users[0][1]), *users, (max(end, users[-1][0]), users[-1][1])]
    return sum(_trapezium(left, right, begin, end) for left, right in pairwise(points))


def _trapezium(left: tuple[float, float], right: tuple[float, float], begin: float, end: float) -> float:
    (start, before), (stop, after) = left, right
    low, high = max(start, begin), min(stop, end)
    if high <= low:
        return 0.0
    slope = (after - before) / (stop - start)
    middle = before + slope * ((low + high) / 2 - start)
    return middle * (high - low)


def assess_load(
    facts: LoadFacts, samples: Sequence[Sample], difference: float | None, latency_target: float | None
) -> Load:
    """Return how the load went. `difference` is the client's P99 minus the server's, both in s, if known."""
    judged = sum(map(is_judged, samples))
    problems = tuple(_problems(facts, judged, difference, latency_target))
    return Load(
        requests=judged,
        rate=judged / facts.seconds,
        dropped_iterations=facts.dropped,
        client_minus_server_p99=difference,
        healthy=not problems,
        warmup_requests=sum(sample.warmup for sample in samples),
        stopped_after=facts.seconds if facts.stopped else None,
        cpu_share=facts.cpu_share,
        cpu_wait=facts.cpu_wait,
        seconds=facts.seconds,
        problems=problems,
    )


def _problems(facts: LoadFacts, judged: int, difference: float | None, latency_target: float | None) -> Iterator[str]:
    yield from facts.problems
    if facts.problems:
        # What follows from a broken measurement says nothing new.
        return
    if not judged:
        yield "the load left no sample to judge"
    offered = judged + facts.dropped
    if facts.planned is not None and not is_offered(offered, facts.planned):
        yield (
            f"the load generator offered {offered} of {facts.planned:.0f} planned requests while virtual users were free: "
            "this machine is too busy for the profile"
        )
    if difference is not None and latency_target is not None and difference > CLIENT_SHARE * latency_target:
        yield (
            f"the client's P99 is {difference * 1000:.0f} ms above the server's, more than {CLIENT_SHARE:.0%} of the "
            f"target of {latency_target * 1000:.0f} ms: {WAITED_OUTSIDE}"
        )
    wait = facts.cpu_wait
    # Where the server's own times are known, they say it better.
    if difference is None and wait is not None and latency_target is not None and wait > CLIENT_SHARE * latency_target:
        yield (
            f"a request waited {wait * 1000:.0f} ms on average for the load generator to get a CPU, more than "
            f"{CLIENT_SHARE:.0%} of the target of {latency_target * 1000:.0f} ms: this machine is too busy to measure"
        )
