"""Spans as the readers of a run see them."""

import logging
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, Final

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
from opentelemetry.proto.trace.v1.trace_pb2 import Span

from . import conventions as c

logger = logging.getLogger(__name__)

# A file is a row of export requests, each behind its length, big-endian (the collector's `format: proto`).
LENGTH_BYTES: Final = 4

_KINDS: Final = {number: name.removeprefix("SPAN_KIND_") for name, number in Span.SpanKind.items()}
_STATUSES: Final = ("UNSET", "OK", "ERROR")


@dataclass(frozen=True, slots=True)
class SpanRecord:
    """One ended span; ids are lower-case hexadecimal, `parent_id` is "" for a root, times are unix nanoseconds."""

    trace_id: str
    span_id: str
    parent_id: str
    service: str
    name: str
    kind: str
    start_ns: int
    end_ns: int
    status: str = "UNSET"
    status_message: str = ""
    attributes: Mapping[str, Any] = field(default_factory=dict)
    events: tuple[Any, ...] = ()


def read_batches(file: BinaryIO) -> Iterator[bytes]:
    """Yield the encoded export requests of a file; a torn one at the end is not read: the position stays before it."""
    end = file.tell()
    while len(length := file.read(LENGTH_BYTES)) == LENGTH_BYTES:
        body = file.read(int.from_bytes(length, "big"))
        if len(body) < int.from_bytes(length, "big"):
            break
        end = file.tell()
        yield body
    file.seek(end)


def read_spans(path: Path) -> Iterator[SpanRecord]:
    """Yield the spans of a `file:` export. A torn batch at the end (a killed process) is logged and ends the reading."""
    with path.open("rb") as file:
        for body in read_batches(file):
            yield from _records(ExportTraceServiceRequest.FromString(body))
        if file.read(1):
            logger.warning("%s ends in a torn batch: its process was killed while it wrote", path.name)


def _records(request: ExportTraceServiceRequest) -> Iterator[SpanRecord]:
    for resource in request.resource_spans:
        service = str(_attributes(resource.resource.attributes).get(c.SERVICE_NAME, ""))
        for scope in resource.scope_spans:
            for span in scope.spans:
                yield _record(service.removeprefix(f"{c.NAMESPACE}-"), span)


def _record(service: str, span: Span) -> SpanRecord:
    return SpanRecord(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        service=service,
        name=span.name,
        kind=_KINDS.get(span.kind, "INTERNAL"),
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        status=_STATUSES[span.status.code],
        status_message=span.status.message,
        attributes=_attributes(span.attributes),
        events=tuple((e.time_unix_nano, e.name, _attributes(e.attributes)) for e in span.events),
    )


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: AnyValue) -> Any:
    match value.WhichOneof("value"):
        case None:
            return None
        case "array_value":
            return [_value(item) for item in value.array_value.values]
        case "kvlist_value":
            items: list[KeyValue] = list(value.kvlist_value.values)
            return {item.key: _value(item.value) for item in items}
        case kind:
            return getattr(value, kind)
