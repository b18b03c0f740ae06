"""Traces in the files that runs left: spans/*.otlp and logs/*.log."""

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from goshop.run import RunFolder
from goshop.trace import Trace, TraceNotFound, log_record, several
from goshop.trace_remarks import assembled
from slo.report.foreign import plain
from telemetry import conventions as names
from telemetry.spans import SpanRecord, is_trace_id, read_spans


def find_in_runs(prefix: str, runs: Iterable[RunFolder]) -> Trace:
    """Read the one trace whose id begins with `prefix` from the first run that has it; raises `TraceNotFound`."""
    searched = []
    for run in runs:
        searched.append(run.path)
        spans, lines = _read(prefix, run)
        found = sorted(spans.keys() | lines.keys())
        if len(found) > 1:
            raise TraceNotFound(several(prefix, found, run.path))
        if found:
            trace_id = found[0]
            without = "no span of this trace was written: only log lines"
            source = f"run {plain(run.path)}"
            return assembled(trace_id, source, spans[trace_id], _by_time(lines[trace_id]), without=without)
    raise TraceNotFound(_not_found(prefix, searched))


def _read(prefix: str, run: RunFolder) -> tuple[dict[str, list[SpanRecord]], dict[str, list[Mapping[str, Any]]]]:
    spans: dict[str, list[SpanRecord]] = defaultdict(list)
    lines: dict[str, list[Mapping[str, Any]]] = defaultdict(list)
    for path in sorted(run.spans.glob("*.otlp")):
        for span in _spans_of(prefix, path):
            spans[span.trace_id].append(span)
    for path in sorted(run.logs.glob("*.log")):
        for line in _lines_of(prefix, path):
            lines[line[names.LOG_TRACE_ID]].append(line)
    return spans, lines


def _spans_of(prefix: str, path: Path) -> Iterator[SpanRecord]:
    # Decoding a long run takes seconds, looking for the id's bytes does not.
    if bytes.fromhex(prefix[: len(prefix) // 2 * 2]) in path.read_bytes():
        yield from (span for span in read_spans(path) if span.trace_id.startswith(prefix))


def _lines_of(prefix: str, path: Path) -> Iterator[Mapping[str, Any]]:
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if prefix in line and (record := _record(line)).get(names.LOG_TRACE_ID, "").startswith(prefix):
                yield record


def _record(line: str) -> dict[str, Any]:
    """Decode a log line; {} for what is none of ours (a stack trace of the interpreter, half a line of a killed process)."""
    record = log_record(line)
    return record if is_trace_id(str(record.get(names.LOG_TRACE_ID))) else {}


def _by_time(lines: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    # RFC 3339 in UTC with microseconds: as text it sorts by time.
    return sorted(lines, key=lambda line: str(line.get(names.LOG_TIMESTAMP, "")))


def _not_found(prefix: str, searched: Sequence[Path]) -> str:
    if not searched:
        return f"no trace {prefix}: there is no run yet; `goshop up` and `goshop gate` make one"
    where = f"{searched[0]}" if len(searched) == 1 else f"{len(searched)} runs from {searched[-1]} to {searched[0]}"
    files = sum(len([*run.glob("spans/*.otlp"), *run.glob("logs/*.log")]) for run in searched)
    return f"no trace {prefix}: searched {files} files (spans/*.otlp, logs/*.log) of {where}"
