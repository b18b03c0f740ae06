"""From the facts of a run to its verdict and the evidence for it: one frozen record in, one out; and the reports.

    judgement = evaluate(RunFacts(...))
    write_reports(folder, judgement.verdict, judgement.evidence)

Nothing here touches a network, a process or the clock.
"""

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

from msgspec import structs

from slo.budget import Budgets
from slo.causes import EDGE, Spans, find_causes
from slo.evidence import Evidence, gather, notable_traces
from slo.gates import Gate
from slo.history import FormerRun, past_of
from slo.judge import judge, quantile
from slo.links import run_links
from slo.load import LoadFacts, assess_load
from slo.reconcile import Witnesses, endangered_ids, reconcile, unanswered_ids
from slo.sample import Sample, endpoint_of, is_judged, is_unanswered
from slo.timestamps import rfc3339
from slo.trace_tree import NANOSECONDS, is_entry
from slo.verdict import SCHEMA, Load, ObjectiveResult, Reconciliation, Release, Verdict, conclude, write_verdict
from telemetry import conventions
from telemetry.spans import SpanRecord

API: Final = "/api"
# Endpoints that a sentence lists.
MOST_NAMED: Final = 10
# What Go's HTTP client sends again by itself: RFC 9110's safe methods (and POST where an Idempotency-Key is sent).
SAFE_METHODS: Final = frozenset({"GET", "HEAD", "OPTIONS", "TRACE"})


@dataclass(frozen=True, slots=True, kw_only=True)
class RunFacts:
    """Everything that is known of a run when its load has ended and the servers have drained.

    `samples`: every request, warm-up included. `load`: what the load generator did.
    `spans`: all spans of the run by trace id, None when the server is not ours. `access_lines`: how often each trace id
    is in the gateway's access log, `server_requests`: the difference of the gateway's request counter, both over `/api`
    and None when the server is not ours. All three must begin with the load: what was prepared before is not in them.
    `dropped_spans`: spans that the gateway's exporter counted as dropped. `kills`: unix times at which a service was
    killed, by service. `resendable`: endpoints (`POST /api/orders`) whose requests carry an Idempotency-Key.
    `started`, `ended`: unix s. `problems`: failures of the measurement outside the load, a sentence each, such as a
    server that did not start; any makes the verdict "error". `grafana`: the address that links lead to, "" for none.
    `history`: former runs of the same target, the latest last. `budget`: what was left of the error budgets before it.
    """

    gate: Gate
    samples: Sequence[Sample]
    load: LoadFacts
    url: str
    profile: str
    started: float
    ended: float
    spans: Spans | None = None
    access_lines: Counter[str] | None = None
    server_requests: int | None = None
    dropped_spans: int = 0
    kills: Mapping[str, Sequence[float]] = field(default_factory=dict)
    resendable: frozenset[str] = frozenset()
    faults: tuple[str, ...] = ()
    release: Release = field(default_factory=Release)
    problems: tuple[str, ...] = ()
    grafana: str = ""
    history: tuple[FormerRun, ...] = ()
    budget: Budgets | None = None


@dataclass(frozen=True, slots=True)
class Judgement:
    """A run's verdict and what the reports show beside it."""

    verdict: Verdict
    evidence: Evidence


def evaluate(facts: RunFacts) -> Judgement:
    """Judge a run: load, objectives, reconciliation, causes. Raises nothing for anything that a run can bring."""
    spans = facts.spans or {}
    load = _load(facts, spans)
    results = tuple(_judged(facts))
    reconciliation = reconcile(_witnesses(facts))
    load = _with_problems(load, (*facts.problems, *_disagreement(reconciliation)))
    if load.healthy and not any(result.outcome == "missed" for result in results):
        # What was not looked at can't pass; a release that failed has failed all the same.
        load = _with_problems(load, (*facts.load.doubts, *_unasked(results, facts.samples)))
    traces = notable_traces(facts.samples)
    verdict = Verdict(
        schema=SCHEMA,
        verdict=conclude(results, measured=load.healthy),
        gate=facts.gate.name,
        release=facts.release,
        url=facts.url,
        profile=facts.profile,
        faults=facts.faults,
        started=rfc3339(facts.started),
        ended=rfc3339(facts.ended),
        objectives=results,
        load=load,
        reconciliation=reconciliation,
        causes=find_causes(list(zip(facts.gate.objectives, results, strict=True)), facts.samples, spans),
        traces=traces,
        links=run_links(facts.grafana, facts.gate, traces, started=facts.started, ended=facts.ended),
        budget=facts.budget,
    )
    return Judgement(verdict, gather(facts.gate, facts.load, facts.samples, spans, traces))


def write_reports(folder: Path, verdict: Verdict, evidence: Evidence) -> tuple[Path, ...]:
    """Write `verdict.json`, `report.md`, `report.html` and `junit.xml` and return their paths; raises `OSError`."""
    # jinja2 is imported only where a page is made.
    from slo.report.html import render_html  # noqa: PLC0415 - said in the line above
    from slo.report.junit import render_junit  # noqa: PLC0415 - beside the other renderings
    from slo.report.markdown import render_markdown  # noqa: PLC0415 - beside the other renderings

    path = folder / "verdict.json"
    write_verdict(verdict, path)
    pages = {
        folder / "report.md": render_markdown(verdict, evidence),
        folder / "report.html": render_html(verdict, evidence),
        folder / "junit.xml": render_junit(verdict),
    }
    for page, text in pages.items():
        page.write_text(text, encoding="utf-8")
    return (path, *pages)


def _judged(facts: RunFacts) -> Iterator[ObjectiveResult]:
    for objective in facts.gate.objectives:
        past = past_of(facts.history, objective, facts.profile, facts.load.seconds)
        yield judge(objective, facts.samples, facts.load, past)


def _load(facts: RunFacts, spans: Spans) -> Load:
    difference = client_minus_server(facts.samples, spans)
    return assess_load(facts.load, facts.samples, difference, facts.gate.latency_target)


def client_minus_server(samples: Sequence[Sample], spans: Spans) -> float | None:
    """Return the client's P99 minus the gateway's own, in s, over the answered requests that both know."""
    known = [sample for sample in samples if is_judged(sample) and not is_unanswered(sample)]
    served = {sample.trace_id: _served(spans.get(sample.trace_id, ())) for sample in known}
    both = [sample for sample in known if served[sample.trace_id] is not None]
    client = quantile(both, 99) if both else None
    server = sorted(seconds for sample in both if (seconds := served[sample.trace_id]) is not None)
    return None if client is None else client - server[-(-99 * len(server) // 100) - 1]


def _served(spans: Sequence[SpanRecord]) -> float | None:
    """Return how long the gateway worked on a request in s; a request that came twice counts as long as its longer."""
    lengths = [span.end_ns - span.start_ns for span in spans if is_entry(span, EDGE)]
    return max(lengths) * NANOSECONDS if lengths else None


def _witnesses(facts: RunFacts) -> Witnesses:
    ids = Counter(sample.trace_id for sample in facts.samples)
    kills = tuple(facts.kills.get(EDGE, ()))
    return Witnesses(
        k6=ids,
        unanswered=unanswered_ids(facts.samples),
        resendable=frozenset(sample.trace_id for sample in facts.samples if _is_resendable(sample, facts.resendable)),
        endangered=endangered_ids(facts.samples, kills),
        server_spans=None if facts.spans is None else Counter(_entries(facts.spans)),
        access_lines=facts.access_lines,
        server_metrics=facts.server_requests,
        dropped_spans=facts.dropped_spans,
        interrupted=facts.load.interrupted,
        gateway_killed=bool(kills),
    )


def _is_resendable(sample: Sample, endpoints: frozenset[str]) -> bool:
    return sample.method in SAFE_METHODS or endpoint_of(sample) in endpoints


def _entries(spans: Spans) -> Iterator[str]:
    """Yield the trace id of every request that the gateway's public side handled; a span exported twice is one."""
    for trace_id, of_trace in spans.items():
        handled = {span.span_id for span in of_trace if is_entry(span, EDGE) and _is_api(span)}
        yield from (trace_id for _ in handled)


def _is_api(span: SpanRecord) -> bool:
    return str(span.attributes.get(conventions.URL_PATH, "")).startswith(API)


def _disagreement(reconciliation: Reconciliation) -> Iterator[str]:
    if reconciliation.agree is False:
        yield f"{reconciliation.unexplained} requests are unaccounted for: the client and the gateway disagree"


def _unasked(results: Sequence[ObjectiveResult], samples: Sequence[Sample]) -> Iterator[str]:
    """Name the objectives that no request counted for."""
    asked = sorted({endpoint_of(sample) for sample in samples if is_judged(sample)})
    for result in results:
        if not result.total and result.endpoint:
            yield (
                f"{result.name}: the load sent no request to {result.endpoint}; it sent to {', '.join(asked[:MOST_NAMED])}"
            )


def _with_problems(load: Load, problems: Sequence[str]) -> Load:
    return structs.replace(load, problems=(*load.problems, *problems), healthy=load.healthy and not problems)
