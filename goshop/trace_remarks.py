"""What is odd about a trace as it was found: spans that came twice, clocks that differ, that it was never sampled."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, Final

from goshop.trace import Trace, by_start, is_unsampled, was_answered
from telemetry.spans import SpanRecord

# A call within one machine takes less; clocks that agree to this are no news.
TOLERATED_NS: Final = 1_000_000
_NS_PER_S: Final = 1e9


def assembled(
    trace_id: str,
    source: str,
    spans: Iterable[SpanRecord] | None,
    lines: Sequence[Mapping[str, Any]],
    *,
    remarks: Iterable[str] = (),
    without: str,
) -> Trace:
    """Return a trace with each span once and all that is odd about it; `without` is the remark where it has no span."""
    told, kept = [*remarks], None
    if spans is not None:
        found = by_start(spans)
        kept = [*{(span.span_id, span.kind): span for span in reversed(found)}.values()][::-1]
        told += _oddities(found, kept)
    if kept == []:
        told.append("it was not sampled: there are no spans" if _is_unsampled(lines) else without)
    return Trace(trace_id, source, kept, lines, [*dict.fromkeys(told)])


def _oddities(found: Sequence[SpanRecord], kept: Sequence[SpanRecord]) -> Iterator[str]:
    if more := len(found) - len(kept):
        yield f"{more} span{' was' if more == 1 else 's were'} delivered more than once"
    for (caller, service), differ in _clocks(kept).items():
        yield f"the clocks of {caller} and {service} differ by at least {differ / _NS_PER_S:.3f} s"


def _clocks(spans: Sequence[SpanRecord]) -> dict[tuple[str, str], int]:
    """Return by how many ns the clocks of callers and services differ at least, where they do."""
    callers = {span.span_id: span for span in spans if span.kind == "CLIENT"}
    found: dict[tuple[str, str], int] = {}
    for span in spans:
        caller = callers.get(span.parent_id)
        if span.kind == "SERVER" and caller is not None and (differ := _ahead(caller, span)) > TOLERATED_NS:
            place = caller.service, span.service
            found[place] = max(differ, found.get(place, 0))
    return found


def _ahead(caller: SpanRecord, span: SpanRecord) -> int:
    """Return by how many ns a request was there before it was sent, or taken up after it was answered.

    That it ends later than its caller is no sign: who gives up does not wait, and a service may go on after its answer.
    """
    late = span.start_ns - caller.end_ns if was_answered(caller) else 0
    return max(caller.start_ns - span.start_ns, late)


def _is_unsampled(lines: Sequence[Mapping[str, Any]]) -> bool:
    return bool(lines) and all(map(is_unsampled, lines))
