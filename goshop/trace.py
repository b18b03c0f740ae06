"""One trace: its spans, its log lines, and what is missing of both."""

import json
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
    """Return a trace for machines; times are unix nanoseconds, spans null where nobody could be asked for them."""
    return {
        "trace_id": trace.trace_id,
        "source": trace.source,
        "spans": None if trace.spans is None else [asdict(span) for span in trace.spans],
        "logs": list(trace.lines),
        "missing": [asdict(missing) for missing in trace.missing],
        "remarks": list(trace.remarks),
    }


def print_trace(trace: Trace, *, machine: bool) -> None:
    """Print a trace on stdout."""
    if machine:
        click.echo(json.dumps(as_json(trace), default=str))
        return
    from goshop import waterfall  # noqa: PLC0415 - rich is for people

    waterfall.print_trace(trace)


def by_start(spans: Iterable[SpanRecord]) -> list[SpanRecord]:
    """Return spans in the order in which they began, a caller before those it called at once."""
    return sorted(spans, key=lambda span: (span.start_ns, -span.end_ns))


def _came_from_outside(span: SpanRecord) -> bool:
    """Tell whether a span's parent may be a caller's that is none of ours: k6, a browser, another platform."""
    return span.kind == "SERVER" and names.HTTP_REQUEST_METHOD in span.attributes
