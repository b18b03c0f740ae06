"""The verdict as Markdown: short enough for a CI job's summary, readable in a terminal as it is."""

from collections.abc import Iterator, Sequence
from itertools import groupby

from slo.evidence import Evidence
from slo.report import budgets, comparison, figures
from slo.report.foreign import address, cell, code, markdown
from slo.report.table import provenance
from slo.verdict import Verdict


def render_markdown(verdict: Verdict, evidence: Evidence) -> str:
    """Return the report as GitHub-flavoured Markdown."""
    return (
        "\n".join(
            [
                *_head(verdict),
                *_objectives(verdict),
                *_budgets(verdict),
                *_comparison(verdict),
                *_causes(verdict),
                *_load(verdict, evidence),
                *_links(verdict),
            ]
        )
        + "\n"
    )


def _head(verdict: Verdict) -> Iterator[str]:
    yield f"# {markdown(verdict.gate)}: {verdict.verdict}"
    yield ""
    yield figures.sentence(verdict)
    yield ""
    for warning in figures.warnings(verdict):
        yield f"> **{markdown(warning)}**"
        yield ""
    release = " ".join(filter(None, (verdict.release.version, verdict.release.commit)))
    against = f" against {code(verdict.url)}" if verdict.url else ""
    how = (
        f"Series of {code(verdict.url)} from {markdown(verdict.started)} to {markdown(verdict.ended)}"
        if verdict.source
        else f"Profile {code(verdict.profile)}{against}, {markdown(verdict.started)}"
    )
    yield how + (f", release {code(release)}." if release else ".")
    yield ""


def _objectives(verdict: Verdict) -> Iterator[str]:
    rows = [
        (
            markdown(figures.title(result)),
            figures.actual(verdict, result),
            markdown(figures.target(result)),
            figures.MET[result.outcome],
            f"{result.bad} of {result.total}",
            figures.interval(result),
        )
        for result in verdict.objectives
    ]
    yield from table(("metric", "actual", "target", "met", "bad", "judged by (95 %)"), rows)
    for result in verdict.objectives:
        if result.outcome != "met":
            yield f"- {markdown(figures.title(result))}: {markdown(result.reason)}"
    yield ""


def _budgets(verdict: Verdict) -> Iterator[str]:
    if verdict.budget is None or not verdict.budget.slos:
        return
    yield f"## Error budgets at {markdown(verdict.budget.at)}"
    yield ""
    yield from table(budgets.HEADER, [(markdown(each.slo), *budgets.row(each)) for each in verdict.budget.slos])
    for each in verdict.budget.slos:
        yield f"- {markdown(each.slo)}: {markdown(each.reason)}"
    yield ""


def _comparison(verdict: Verdict) -> Iterator[str]:
    if verdict.baseline is None:
        return
    yield "## Beside the baseline"
    yield ""
    rows = [each.cells for each in comparison.compared(verdict.baseline)]
    if rows:
        yield from table(comparison.HEADER, rows)
    for sentence in comparison.sentences(verdict.baseline):
        yield f"- {markdown(sentence)}"
    yield ""


def _causes(verdict: Verdict) -> Iterator[str]:
    if not verdict.causes:
        return
    yield "## Where it comes from"
    yield ""
    rows = [
        (
            markdown(cause.objective),
            f"{cause.share:.0%}",
            cell(cause.service),
            cell(cause.span),
            cell(cause.table),
            cell(cause.endpoint),
            cell(next(iter(cause.trace_ids), "")),
        )
        for cause in verdict.causes
    ]
    yield from table(("objective", "share", "service", "span", "table", "endpoint", "a trace"), rows)


def _load(verdict: Verdict, evidence: Evidence) -> Iterator[str]:
    load = verdict.load
    if verdict.source or verdict.verdict == "frozen":
        yield markdown(provenance(verdict))
        return
    yield "## Load"
    yield ""
    yield (
        f"{load.requests} judged requests at {load.rate:.1f}/s after {load.warmup_requests} of warm-up, "
        f"{load.dropped_iterations} not sent because every user waited; "
        f"{figures.generator(load)}."
    )
    yield ""
    rows = [
        (
            cell(row.endpoint),
            str(row.requests),
            figures.seconds(row.median),
            figures.seconds(row.p99),
            str(row.slow),
            str(row.unavailable),
        )
        for row in evidence.endpoints
    ]
    yield from table(("endpoint", "requests", "P50", "P99", "slow", "failed"), rows)
    yield markdown(provenance(verdict))


def _links(verdict: Verdict) -> Iterator[str]:
    if not verdict.links:
        return
    yield ""
    yield "## Look further"
    yield ""
    # A request's links share a line.
    for _, together in groupby(verdict.links, key=lambda link: link.trace_id or link.url):
        yield f"- {', '.join(f'[{markdown(link.title)}](<{address(link.url)}>)' for link in together)}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]]) -> Iterator[str]:
    """Yield the lines of a Markdown table; the cells are Markdown already."""
    yield "| " + " | ".join(header) + " |"
    yield "|" + " --- |" * len(header)
    for row in rows:
        yield "| " + " | ".join(row) + " |"
    yield ""
