"""What a run of load was: every sample, and whether the load itself can be trusted."""

from functools import cached_property
from itertools import pairwise

import msgspec

from loadtests.profiles import Profile
from loadtests.samples import Drop, Sample


class Progress(msgspec.Struct, frozen=True):
    """The load so far; times are seconds, the rate is requests/s over the last few seconds."""

    elapsed: float
    planned: float
    requests: int
    rate: float
    # Requests without an answer, or with a status that the journey did not declare.
    failures: int
    users: int


class LoadRun(msgspec.Struct, frozen=True, kw_only=True, dict=True):
    """One run of k6. `problems` are sentences about the measurement; the shop's own failures are in the samples."""

    profile: Profile
    url: str
    samples: tuple[Sample, ...] = ()
    # When each of them ended, in the same order (unix s): later than start + duration by the wait for a connection.
    ends: tuple[float, ...] = ()
    # Unix seconds around k6's life.
    started: float
    ended: float
    # None if k6 did not start; negative: the signal that killed it; 99: it crossed its own thresholds, which is data.
    exit_code: int | None = None
    # Finished ones, the warm-up's too.
    iterations: int = 0
    # Cut short: k6 has no sample of the request that each of them had under way.
    interrupted: int = 0
    drops: tuple[Drop, ...] = ()
    # (unix time, active users), about once a second.
    users: tuple[tuple[float, int], ...] = ()
    # Requests by k6's own count; None if it left no summary.
    counted: int | None = None
    # Used by k6 alone.
    cpu_seconds: float = 0.0
    # Of all the CPU time that there was.
    cpu_share: float = 0.0
    # Seconds that its threads were ready to run and waited for a CPU; None where the kernel does not tell.
    cpu_wait: float | None = None
    problems: tuple[str, ...] = ()
    # Ended before its time, as its caller wanted.
    stopped: bool = False
    # Sentences about what makes a pass worth nothing, though not a failure.
    doubts: tuple[str, ...] = ()

    @property
    def healthy(self) -> bool:
        """Whether the samples can be judged."""
        return not self.problems

    @property
    def dropped_iterations(self) -> int:
        """Iterations that were not started because no user was free."""
        return sum(drop.count for drop in self.drops)

    @cached_property
    def judged(self) -> tuple[Sample, ...]:
        """The samples after the warm-up that began within the planned time: neither warm-up nor graceful tail."""
        begin, end = self.window
        return tuple(sample for sample in self.samples if not sample.warmup and begin <= sample.start < end)

    @cached_property
    def window(self) -> tuple[float, float]:
        """Unix times between which the judged load was planned; empty at `ended` if there was none."""
        begin = min((sample.start for sample in self.samples if not sample.warmup and sample.scenario), default=None)
        return (self.ended, self.ended) if begin is None else (begin, begin + self.profile.seconds)

    @cached_property
    def user_seconds(self) -> float:
        """Active users summed over the window: the denominator of a closed model's throughput."""
        begin, end = self.window
        inside = [(at, users) for at, users in self.users if begin <= at <= end]
        return sum((later - at) * (users + next_users) / 2 for (at, users), (later, next_users) in pairwise(inside))
