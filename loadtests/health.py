"""Can the load be trusted? Each check looks at what a run left and answers a sentence, or "" when all is well.

k6 exits 0 when every iteration threw, when the disk was full and when nothing was sent, so nothing here rests on one source.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Callable, Mapping
from typing import Final

import msgspec

from loadtests.k6 import K6Exit
from loadtests.k6_log import K6Log
from loadtests.profiles import Arrivals, Profile, Scripted, Users
from loadtests.samples import SampleReader

# Share of the planned requests that must have been started (shared rule: below, the measurement failed).
_OFFERED: Final = 0.99
# Users count as busy when this share of them waited for an answer; the rest is between two requests.
_BUSY: Final = 0.9
# Share of users' time that may be neither request nor pause before k6 itself was too slow.
_LATE: Final = 0.1
# Share of the machine from which on k6's own work is in what it measures (loadtests.scheduling has the source).
_BUSY_MACHINE: Final = 0.8
# Below this part of its own, k6 has little to do, and waits for others one moment at a time: slo.load judges that.
_HEAVY: Final = 0.25
# Seconds by which wall clock and monotonic clock may part in one run.
CLOCK_JUMP: Final = 0.25
# Share of the requests without an address from which on the script is to blame, which builds one of its addresses wrong each
# time; fewer follow a broken link of the service's, and are its bad requests.
_MISBUILT: Final = 0.05
# Bytes; less is full.
_DISK_FULL: Final = 64 * 1024


class Evidence(msgspec.Struct, frozen=True):
    """All that one run left."""

    profile: Profile
    exit: K6Exit
    reader: SampleReader
    # k6's own count of requests.
    counted: int | None
    log: K6Log
    # Bytes free where k6 wrote.
    free: int
    clock_jump: float = 0.0
    # Whether the requests are to be found again by their trace ids.
    traced: bool = True
    # Of all the CPU time that there was, k6's own part, and that for which it was ready to run and had to wait.
    cpu_share: float = 0.0
    cpu_missed: float = 0.0


def problems(evidence: Evidence) -> tuple[str, ...]:
    """Return a sentence for each reason not to trust the measurement.

    How the load was offered is only looked at when k6 ran to its end: after a crash, or when it was ended, it says nothing
    new.
    """
    found = [said for check in _INTEGRITY if (said := check(evidence))]
    if not found and not evidence.exit.stopped:
        found = [said for check in _OFFER if (said := check(evidence))]
    return tuple(found)


def _ended_by_itself(evidence: Evidence) -> str:
    if not (reason := evidence.exit.reason):
        return ""
    said = (*evidence.log.errors, *evidence.log.exceptions)
    return f"k6 did not run to its end: {reason} (exit {evidence.exit.code}{f', {said[-1]!r}' if said else ''})"


def _not_cut_short(evidence: Evidence) -> str:
    said = evidence.log.cut_short
    return (
        f"the script ended the load itself: {said!r}; leave abortOnFail out, the gate ends a gross failure"
        if said
        else ""
    )


def _output_written(evidence: Evidence) -> str:
    """Tell whether writing failed. On a full disk k6's complaint is lost with the rest, so the disk is asked too."""
    error = evidence.log.write_error
    if evidence.free < _DISK_FULL:
        return f"the disk that k6 writes its samples to is full ({evidence.free} bytes are free): free some or choose another"
    return f"k6 could not write its samples: {error!r}" if error else ""


def _summary_written(evidence: Evidence) -> str:
    return "k6 left no summary to count its requests by" if evidence.counted is None else ""


def _rows_match(evidence: Evidence) -> str:
    rows, counted = len(evidence.reader.samples), evidence.counted
    if counted is None or rows == counted:
        return ""
    return f"the samples hold {rows} requests, k6 counted {counted}: {abs(counted - rows)} are unaccounted for"


def _rows_whole(evidence: Evidence) -> str:
    reader = evidence.reader
    if reader.torn:
        return "the samples end in the middle of a row"
    return f"{reader.malformed} rows of the samples cannot be read" if reader.malformed else ""


def _script_ran(evidence: Evidence) -> str:
    thrown = evidence.log.exceptions
    return f"the script threw {len(thrown)} times, first {thrown[0]!r}" if thrown else ""


def _something_sent(evidence: Evidence) -> str:
    return "" if evidence.reader.samples else "no request was sent"


def _arrived(evidence: Evidence) -> str:
    """Tell whether every request went to another address than the one that is judged."""
    elsewhere, sent = evidence.reader.elsewhere, len(evidence.reader.samples)
    if not sent or elsewhere.total() < sent:
        return ""
    wanted, (went, _) = evidence.reader.base_url, elsewhere.most_common(1)[0]
    return f"no request went to {wanted}, but to {went}: build the script's addresses from __ENV.BASE_URL"


def _addressed(evidence: Evidence) -> str:
    """Tell whether the script makes requests that no server could have been sent: those are not the service's failures."""
    unaddressed = evidence.log.unaddressed
    if len(unaddressed) <= _MISBUILT * len(evidence.reader.samples):
        return ""
    return (
        f"{len(unaddressed)} requests had no address to go to, first {unaddressed[0]!r}: build the script's addresses from "
        "__ENV.BASE_URL"
    )


def _traced(evidence: Evidence) -> str:
    if not evidence.traced:
        return ""
    untraced = sum(1 for sample in evidence.reader.samples if not sample.trace_id)
    return f"{untraced} requests carried no trace id" if untraced else ""


def _clock_held(evidence: Evidence) -> str:
    jump = evidence.clock_jump
    return f"the clock jumped by {jump:+.2f} s during the run" if abs(jump) > CLOCK_JUMP else ""


def _cpu_left(evidence: Evidence) -> str:
    used, wanted = evidence.cpu_share, evidence.cpu_share + evidence.cpu_missed
    if used <= _HEAVY or wanted <= _BUSY_MACHINE:
        return ""
    return (
        f"k6 wanted {wanted:.0%} of the CPU time that there was, and got {used:.0%}: its own work is in the latencies; "
        "give it more CPUs, or a smaller load"
    )


def _offered(evidence: Evidence) -> str:
    """Tell, for the open model, whether planned iterations neither started nor found every user waiting for the shop."""
    planned, users = _planned(evidence.profile)
    if not planned:
        return ""
    started = sum(evidence.reader.iterations.values())
    blamed_on_shop = busy_drops(evidence.reader, users)
    if started + blamed_on_shop >= _OFFERED * planned:
        return ""
    return (
        f"k6 started only {started} of {planned} planned iterations although users were free "
        f"({blamed_on_shop} more found all users waiting): {_remedy(evidence.profile)}"
    )


def _planned(profile: Profile) -> tuple[int, Mapping[str, int]]:
    """Return how many iterations an arrival rate has planned, and how many users there are, by scenario."""
    load = profile.load
    if isinstance(load, Arrivals):
        return round(load.rate * profile.total_seconds), defaultdict(lambda: load.users)
    if isinstance(load, Scripted) and load.open:
        planned = sum(scenario.iterations or 0 for scenario in load.scenarios)
        return round(planned), {scenario.name: scenario.users for scenario in load.scenarios}
    return 0, {}


def _remedy(profile: Profile) -> str:
    own = isinstance(profile.load, Scripted)
    return "this machine is too slow for the load" + (
        ", or the script sleeps: under an arrival rate it must not, or needs more preAllocatedVUs" if own else ""
    )


def _punctual(evidence: Evidence) -> str:
    """Tell, for the closed model, whether k6 was late: time that is neither a request nor a pause."""
    load = evidence.profile.load
    reader = evidence.reader
    total = reader.iteration_seconds
    if not isinstance(load, Users) or not total:
        return ""
    asking = sum(end - sample.start for sample, end in zip(reader.samples, reader.ends, strict=True))
    late = total - asking - load.pause * sum(reader.iterations.values())
    if late <= _LATE * total:
        return ""
    return f"users spent {late / total:.0%} of their time neither waiting nor pausing: this machine is too slow for the load"


def busy_drops(reader: SampleReader, users: Mapping[str, int]) -> int:
    """Count the dropped iterations at whose time the users of that scenario were waiting for answers."""
    waiting = {drop.scenario: _Waiting(reader, drop.scenario) for drop in reader.drops}
    return sum(
        drop.count for drop in reader.drops if waiting[drop.scenario].at(drop.at) >= _BUSY * users[drop.scenario]
    )


class _Waiting:
    """How many requests of one scenario were under way at a time."""

    def __init__(self, reader: SampleReader, scenario: str) -> None:
        pairs = zip(reader.samples, reader.ends, strict=True)
        mine = [(sample.start, end) for sample, end in pairs if sample.scenario == scenario]
        self._starts = sorted(start for start, _ in mine)
        self._ends = sorted(end for _, end in mine)

    def at(self, time: float) -> int:
        return bisect_right(self._starts, time) - bisect_right(self._ends, time)


_INTEGRITY: Final[tuple[Callable[[Evidence], str], ...]] = (
    _ended_by_itself,
    _not_cut_short,
    _output_written,
    _summary_written,
    _rows_match,
    _rows_whole,
    _script_ran,
    _something_sent,
    _arrived,
    _addressed,
    _traced,
    _clock_held,
)
_OFFER: Final[tuple[Callable[[Evidence], str], ...]] = (_cpu_left, _offered, _punctual)
