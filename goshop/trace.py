"""`goshop trace ID`: one request across all services, from the files that a run left."""

import json
import re
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, Final

import click

from goshop.run import RunFolder
from slo.trace_tree import TraceTree, is_call
from telemetry import conventions as names
from telemetry.spans import SpanRecord, read_spans

_ID: Final = re.compile(r"[0-9a-f]{1,32}")
# What `traceresponse` and `traceparent` carry (W3C Trace Context, 3.2.2).
_HEADER: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_SHOWN: Final = 5
_OK: Final = "OK"


class TraceNotFound(Exception):
    """No trace, or more than one, has the id; the message says what was searched."""


@dataclass(frozen=True, slots=True)
class Missing:
    """A span that should be there: `span_id` is "" where nobody named it; `service` is who should have written it, if known."""

    span_id: str
    service: str
    reason: str


@dataclass(frozen=True, slots=True)
class Trace:
    """One trace as a run's files have it; `lines` are log records in order of time."""

    trace_id: str
    run: Path
    spans: Sequence[SpanRecord]
    lines: Sequence[Mapping[str, Any]]

    @property
    def missing(self) -> list[Missing]:
        """What the spans and log lines speak of and nobody wrote down."""
        return missing_spans(self.spans, self.lines)


def parse_id(text: str) -> str:
    """Return the trace id, or its beginning, in a text: bare, in capitals, or inside a `traceparent`."""
    lowered = text.strip().lower()
    if (header := _HEADER.fullmatch(lowered)) is not None:
        return header[1]
    if _ID.fullmatch(lowered) is None:
        raise TraceNotFound(
            f"{text!r} is no trace id: expected up to 32 hexadecimal digits, as in the answer's x-trace-id"
        )
    return lowered


def find_trace(prefix: str, runs: Iterable[RunFolder]) -> Trace:
    """Read the one trace whose id begins with `prefix` from the first run that has it; raises `TraceNotFound`."""
    searched = []
    for run in runs:
        searched.append(run.path)
        spans, lines = _read(prefix, run)
        found = sorted(spans.keys() | lines.keys())
        if len(found) > 1:
            some = ", ".join(found[:_SHOWN])
            raise TraceNotFound(
                f"{len(found)} traces of {run.path} begin with {prefix}: {some}{' ...' if found[_SHOWN:] else ''}"
            )
        if found:
            return Trace(found[0], run.path, _by_start(spans[found[0]]), _by_time(lines[found[0]]))
    raise TraceNotFound(_not_found(prefix, searched))


def missing_spans(spans: Sequence[SpanRecord], lines: Iterable[Mapping[str, Any]]) -> list[Missing]:
    """Tell which spans are missing: parents, the other side of calls that were answered, and those that logged."""
    known = {span.span_id for span in spans} | {""}
    tree = TraceTree(spans)
    found = {}
    for span in spans:
        if span.parent_id not in known and not _came_from_outside(span):
            found[span.parent_id] = Missing(span.parent_id, "", f"the parent of {span.service}: {span.name}")
        if is_call(span) and span.attributes.get(names.RPC_RESPONSE_STATUS_CODE) == _OK and tree.handler(span) is None:
            place = tree.place(span)
            found[f"below {span.span_id}"] = Missing(
                "", place.service, f"the other side of {span.service}: {span.name}"
            )
    for line in lines:
        span_id, service = str(line.get(names.LOG_SPAN_ID, "")), str(line.get(names.LOG_SERVICE, ""))
        if span_id not in known:
            found[span_id] = Missing(span_id, service, f"logged: {line.get(names.LOG_MESSAGE, '')}")
    return list(found.values())


def as_json(trace: Trace) -> dict[str, Any]:
    """Return a trace for machines; times are unix nanoseconds."""
    return {
        "trace_id": trace.trace_id,
        "run": str(trace.run),
        "spans": [asdict(span) for span in trace.spans],
        "logs": list(trace.lines),
        "missing": [asdict(missing) for missing in trace.missing],
    }


def run_trace(text: str, *, folder: Path | None, root: Path, machine: bool) -> None:
    """Print the trace; raises `TraceNotFound`."""
    prefix = parse_id(text)
    runs = RunFolder.newest_first(root) if folder is None else [RunFolder(folder.absolute())]
    trace = find_trace(prefix, runs)
    if machine:
        click.echo(json.dumps(as_json(trace), default=str))
        return
    from goshop.waterfall import print_trace  # noqa: PLC0415 - rich is for people

    print_trace(trace)


def _came_from_outside(span: SpanRecord) -> bool:
    """Tell whether a span's parent may be a caller's that is none of ours: k6, a browser, another platform."""
    return span.kind == "SERVER" and names.HTTP_REQUEST_METHOD in span.attributes


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
    try:
        record = json.loads(line)
    except ValueError:
        return {}
    return record if isinstance(record, dict) and isinstance(record.get(names.LOG_TRACE_ID), str) else {}


def _by_start(spans: Iterable[SpanRecord]) -> list[SpanRecord]:
    return sorted(spans, key=lambda span: (span.start_ns, -span.end_ns))


def _by_time(lines: Iterable[Mapping[str, Any]]) -> list[Mapping[str, Any]]:
    # RFC 3339 in UTC with microseconds: as text it sorts by time.
    return sorted(lines, key=lambda line: str(line.get(names.LOG_TIMESTAMP, "")))


def _not_found(prefix: str, searched: Sequence[Path]) -> str:
    if not searched:
        return f"no trace {prefix}: there is no run yet; `goshop up` and `goshop gate` make one"
    where = f"{searched[0]}" if len(searched) == 1 else f"{len(searched)} runs from {searched[-1]} to {searched[0]}"
    files = sum(len([*run.glob("spans/*.otlp"), *run.glob("logs/*.log")]) for run in searched)
    return f"no trace {prefix}: searched {files} files (spans/*.otlp, logs/*.log) of {where}"
