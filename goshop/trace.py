"""One trace: its spans, its log lines, and what is missing of both."""

import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, Final

import click

from slo.trace_tree import TraceTree, is_call
from telemetry import conventions as names
from telemetry.spans import SpanRecord

_ID: Final = re.compile(r"[0-9a-f]{1,32}")
# What `traceresponse` and `traceparent` carry (W3C Trace Context, 3.2.2).
_HEADER: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-[0-9a-f]{16}-[0-9a-f]{2}")
_FLAGS: Final = re.compile(r"[0-9a-f]{2}")
_OK: Final = "OK"
_SHOWN: Final = 5


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
    """One trace as `source`, in words, has it: spans in order of start, log records in order of time.

    `spans` are None where nobody could be asked for them; `remarks` say, a sentence each, what is not whole.
    """

    trace_id: str
    source: str
    spans: Sequence[SpanRecord] | None
    lines: Sequence[Mapping[str, Any]]
    remarks: Sequence[str] = ()

    @property
    def missing(self) -> list[Missing]:
        """What the spans and log lines speak of and nobody wrote down; nothing where spans are not known at all."""
        return [] if self.spans is None else missing_spans(self.spans, self.lines)


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


def several(prefix: str, found: Sequence[str], where: object) -> str:
    """Say which traces have the same beginning."""
    some = ", ".join(found[:_SHOWN])
    return f"{len(found)} traces of {where} begin with {prefix}: {some}{' ...' if found[_SHOWN:] else ''}"


def missing_spans(spans: Sequence[SpanRecord], lines: Iterable[Mapping[str, Any]]) -> list[Missing]:
    """Tell which spans are missing: parents, the other side of calls that were answered, and sampled ones that logged.

    Nobody can tell a peer whose span is lost from one that writes none.
    """
    known = {span.span_id for span in spans} | {""}
    tree = TraceTree(spans)
    found = {}
    for span in spans:
        if span.parent_id not in known and not _came_from_outside(span):
            found[span.parent_id] = Missing(span.parent_id, "", f"the parent of {span.service}: {span.name}")
        if was_answered(span) and tree.handler(span) is None:
            # An HTTP request does not say whose it is.
            service = tree.place(span).service if is_call(span) else ""
            found[f"below {span.span_id}"] = Missing("", service, f"the other side of {span.service}: {_asked(span)}")
    for line in lines:
        span_id, service = str(line.get(names.LOG_SPAN_ID, "")), str(line.get(names.LOG_SERVICE, ""))
        if span_id not in known and not is_unsampled(line):
            found[span_id] = Missing(span_id, service, f"logged: {line.get(names.LOG_MESSAGE, '')}")
    return list(found.values())


def was_answered(span: SpanRecord) -> bool:
    """Tell whether a span is the caller's side of a call, RPC or HTTP, that its peer answered."""
    attributes = span.attributes
    if is_call(span):
        return attributes.get(names.RPC_RESPONSE_STATUS_CODE) == _OK
    return span.kind == "CLIENT" and {names.HTTP_REQUEST_METHOD, names.HTTP_RESPONSE_STATUS_CODE} <= attributes.keys()


def is_unsampled(line: Mapping[str, Any]) -> bool:
    """Tell whether a log line says that its span is not recorded: the last bit of W3C's trace flags is 0."""
    flags = str(line.get(names.LOG_TRACE_FLAGS, ""))
    return _FLAGS.fullmatch(flags) is not None and not int(flags, 16) & 1


def log_record(line: str) -> dict[str, Any]:
    """Decode a log line; {} for what is no JSON object. Numbers that JSON does not have (NaN, 1e999) become text."""
    try:
        record = json.loads(line, parse_constant=str, parse_float=lambda text: _finite(float(text)))
    except (ValueError, RecursionError):
        return {}
    return record if isinstance(record, dict) else {}


def as_json(trace: Trace) -> dict[str, Any]:
    """Return a trace for machines; times are unix nanoseconds, spans null where nobody could be asked for them."""
    return {
        "trace_id": trace.trace_id,
        "source": trace.source,
        "spans": None if trace.spans is None else [_finite(asdict(span)) for span in trace.spans],
        "logs": list(trace.lines),
        "missing": [asdict(missing) for missing in trace.missing],
        "remarks": list(trace.remarks),
    }


def print_trace(trace: Trace, *, machine: bool) -> None:
    """Print a trace on stdout."""
    if machine:
        click.echo(json.dumps(as_json(trace), default=str, allow_nan=False))
        return
    from goshop import waterfall  # noqa: PLC0415 - rich is for people

    waterfall.print_trace(trace)


def by_start(spans: Iterable[SpanRecord]) -> list[SpanRecord]:
    """Return spans in the order in which they began, a caller before those it called at once."""
    return sorted(spans, key=lambda span: (span.start_ns, -span.end_ns))


def _came_from_outside(span: SpanRecord) -> bool:
    """Tell whether a span's parent may be a caller's that is none of ours: k6, a browser, another platform."""
    return span.kind == "SERVER" and names.HTTP_REQUEST_METHOD in span.attributes


def _asked(span: SpanRecord) -> str:
    """Return what a caller asked for; the name of an HTTP span may be its method alone."""
    template = span.attributes.get(names.URL_TEMPLATE)
    return f"{span.attributes[names.HTTP_REQUEST_METHOD]} {template}" if template and not is_call(span) else span.name


def _finite(value: Any) -> Any:
    """Return a value as strict JSON can hold it: what is no finite number becomes text."""
    match value:
        case float():
            return value if math.isfinite(value) else str(value)
        case dict():
            return {key: _finite(item) for key, item in value.items()}
        case list() | tuple():
            return [_finite(item) for item in value]
        case _:
            return value
