"""The verdict of a gate run: `verdict.json` (contract, `schema` counts up on change) and the exit status that says it."""

from collections.abc import Iterable
from pathlib import Path
from typing import Final, Literal

import msgspec

from slo.budget import Budgets
from slo.pairs import Regression
from slo.statistics import Outcome

SCHEMA: Final = 2

Word = Literal["pass", "fail", "inconclusive", "regression", "error", "frozen"]

# Contract. 2 is a usage or specification error: there is no verdict then. Ctrl-C is 130.
EXITS: Final[dict[Word, int]] = {"pass": 0, "fail": 1, "inconclusive": 3, "regression": 4, "error": 5, "frozen": 6}
# What is said when several hold: a measurement that failed says nothing about objectives.
PRECEDENCE: Final[tuple[Word, ...]] = ("error", "frozen", "fail", "regression", "inconclusive", "pass")

NOT_A_RELEASE: Final = "This run had faults injected: it is not a release verdict."


class Release(msgspec.Struct, frozen=True):
    """What was judged."""

    version: str = ""
    commit: str = ""


class FormerRuns(msgspec.Struct, frozen=True):
    """What former runs had to say about an objective: how many of them, and below what the design effect may not fall.

    `more_requests` is how many more than there were it takes to pass, where this run would have passed without them.
    """

    runs: int
    design_effect_floor: float
    more_requests: int | None = None


class ObjectiveResult(msgspec.Struct, frozen=True):
    """One objective's outcome.

    `actual` is null when nothing was measured, or when the quantile falls on a request without an answer. A judged
    share has `total`, `bad`, `budget` and its 95 % `bad_share_interval`; the throughput of a closed model has its 95 %
    `interval` in `unit` instead. `reason` says in a sentence why the outcome is what it is. `blocks` are the requests and
    the bad ones of each block of the judged time, and with the `design_effect` all that the interval is made from; `former`
    is null where there were too few runs before this one.
    """

    name: str
    outcome: Outcome
    actual: float | None
    unit: str
    op: str
    target: float
    total: int
    bad: int
    budget: float | None
    bad_share_interval: tuple[float, float] | None
    interval: tuple[float, float] | None = None
    endpoint: str = ""
    reason: str = ""
    blocks: tuple[tuple[int, int], ...] = ()
    design_effect: float | None = None
    former: FormerRuns | None = None


class Load(msgspec.Struct, frozen=True):
    """How the load went. `requests` and `rate` (1/s) are of the judged time of `seconds`, `warmup_requests` came before it.

    `client_minus_server_p99` (s) is null where the server's spans are not ours to read. `problems` has one sentence for
    each reason why the measurement failed; `healthy` means there is none. `stopped_after` is how many s of the judged time
    a load lasted that was ended early by a gross failure, null for one that ran to its end. `cpu_share` is the load
    generator's part of all the CPU time that there was, `cpu_wait` how long a request waited on average for it to get a
    CPU (s); null where the kernel does not tell.
    """

    requests: int
    rate: float
    dropped_iterations: int
    client_minus_server_p99: float | None
    healthy: bool
    warmup_requests: int = 0
    problems: tuple[str, ...] = ()
    stopped_after: float | None = None
    cpu_share: float | None = None
    cpu_wait: float | None = None
    seconds: float = 0.0


class Reconciliation(msgspec.Struct, frozen=True):
    """How often each side counted the requests, and why the counts differ; null where the server is not ours."""

    k6: int
    server_metrics: int | None = None
    server_spans: int | None = None
    access_lines: int | None = None
    never_reached: int | None = None
    interrupted: int | None = None
    retried: int | None = None
    dropped: int | None = None
    lost_with_process: int | None = None
    unexplained: int | None = None
    agree: bool | None = None


class Cause(msgspec.Struct, frozen=True):
    """A place where the excess time or the errors of an objective arise; `share` is of all of that objective."""

    objective: str
    endpoint: str
    service: str
    span: str
    table: str
    share: float
    trace_ids: tuple[str, ...]


class Traces(msgspec.Struct, frozen=True):
    """Trace ids worth opening."""

    slowest: tuple[str, ...] = ()
    failed: tuple[str, ...] = ()


class Link(msgspec.Struct, frozen=True):
    """Where to look further: an absolute address that holds the time of the run; `trace_id` is "" for all of its requests."""

    kind: Literal["dashboard", "traces", "logs"]
    title: str
    url: str
    trace_id: str = ""


class Ratio(msgspec.Struct, frozen=True):
    """A figure of the candidate over that of the baseline, over all pairs.

    `low` is exceeded by the true ratio with a confidence of 1 - `alpha`, `high` exceeds it with 95 %: a regression is shown
    when `low` is above 1 + `margin`, none when `high` is below 1 + `tolerated`. `noise` is the standard deviation of
    the log ratio from pair to pair, `detectable` the increase (0.1 = 10 %) that so many pairs of it find in 80 % of the cases.
    """

    ratio: float
    low: float
    high: float
    noise: float
    alpha: float
    margin: float
    tolerated: float
    detectable: float
    regression: Regression


class PairedRun(msgspec.Struct, frozen=True):
    """One run of a pair: its requests, its P99 in s (null: without a good answer), and how many were slower than `slow_above`."""

    requests: int
    p99: float | None
    slow: int


class PairOfRuns(msgspec.Struct, frozen=True):
    """Two runs under the same load, one after the other; `first` says whose turn came first."""

    first: Literal["baseline", "candidate"]
    baseline: PairedRun
    candidate: PairedRun


class Baseline(msgspec.Struct, frozen=True):
    """What was compared with, and what the pairs of runs say; `regression` is null, with the `reason`, where nothing was compared.

    `name` is as it was asked for, an address or a revision, `commit` what the revision is. `planned` is how many pairs
    were to be run. `latency` is the ratio of the P99, `slow` of the shares above `slow_above`, a quarter more than the baseline's pooled P99.5, in s;
    null where it falls on requests without a good answer.
    """

    name: str
    commit: str
    profile: str
    planned: int
    regression: Regression | None
    reason: str
    slow_above: float | None = None
    latency: Ratio | None = None
    slow: Ratio | None = None
    pairs: tuple[PairOfRuns, ...] = ()


class Source(msgspec.Struct, frozen=True):
    """Where a verdict that no load was sent for was read: series of a Prometheus at address `prometheus`.

    `seconds` is how long the window is, `matchers` what narrowed every series, `remarks` what happened to those who were read.
    """

    prometheus: str
    seconds: float
    matchers: tuple[str, ...] = ()
    remarks: tuple[str, ...] = ()


class Verdict(msgspec.Struct, frozen=True):
    """Everything a run concluded; times are RFC 3339 in UTC. `baseline` is null where none was named.

    `budget` is what was left of the error budgets before the load, null where nobody was asked. `source` is null where a
    load was sent; where it is not, `reconciliation` counts nothing.
    """

    schema: int
    verdict: Word
    gate: str
    release: Release
    url: str
    profile: str
    faults: tuple[str, ...]
    started: str
    ended: str
    objectives: tuple[ObjectiveResult, ...]
    load: Load
    reconciliation: Reconciliation
    causes: tuple[Cause, ...]
    traces: Traces
    links: tuple[Link, ...] = ()
    baseline: Baseline | None = None
    budget: Budgets | None = None
    source: Source | None = None

    @property
    def exit_code(self) -> int:
        """The exit status of the command."""
        return EXITS[self.verdict]

    @property
    def releases(self) -> bool:
        """Whether this lets a release through: passed, and nothing was injected."""
        return self.verdict == "pass" and not self.faults


def conclude(
    objectives: Iterable[ObjectiveResult], *, measured: bool, regression: Regression = "no", frozen: bool = False
) -> Word:
    """Return the verdict: what comes first in the precedence. Without any objective there is nothing to pass.

    `regression` is what a comparison with the baseline found, "no" where none was asked for.
    """
    outcomes = {objective.outcome for objective in objectives}
    holds: dict[Word, bool] = {
        "error": not measured or not outcomes,
        "frozen": frozen,
        "fail": "missed" in outcomes,
        "regression": regression == "yes",
        "inconclusive": "inconclusive" in {*outcomes, regression},
        "pass": True,
    }
    return next(word for word in PRECEDENCE if holds.get(word))


def encode_verdict(verdict: Verdict) -> bytes:
    """Return `verdict.json`, indented, with a final newline."""
    return msgspec.json.format(msgspec.json.encode(verdict), indent=2) + b"\n"


def write_verdict(verdict: Verdict, path: Path) -> None:
    """Write `verdict.json`; raises `OSError`."""
    path.write_bytes(encode_verdict(verdict))


def read_verdict(path: Path) -> Verdict:
    """Read `verdict.json`; raises `OSError`, or `ValueError` when it is not one or of another schema."""
    found = msgspec.json.decode(path.read_bytes(), type=dict)
    if found.get("schema") != SCHEMA:
        raise ValueError(f"{path}: schema {found.get('schema')!r}, this version reads {SCHEMA}")
    return msgspec.convert(found, Verdict)
