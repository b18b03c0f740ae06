"""Spans as the readers of a run see them, and the file that they are exported to.

The file is what the collector writes with `format: proto`: every batch is an `ExportTraceServiceRequest` behind its length
in four bytes, big-endian. A process that is killed while it writes leaves at most one torn batch, the last one.
"""

import logging
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO, Final

from . import conventions as c

if TYPE_CHECKING:
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
    from opentelemetry.proto.common.v1.common_pb2 import AnyValue, KeyValue
    from opentelemetry.proto.trace.v1.trace_pb2 import Span

logger = logging.getLogger(__name__)

LENGTH_BYTES: Final = 4
# A batch of 512 spans has some hundred kilobytes; what claims to be longer than this is no batch.
LONGEST_BATCH: Final = 256 * 1024 * 1024
# By their numbers in OTLP.
_KINDS: Final = ("UNSPECIFIED", "INTERNAL", "SERVER", "CLIENT", "PRODUCER", "CONSUMER")
_STATUSES: Final = ("UNSET", "OK", "ERROR")
_TRACE_ID: Final = re.compile(r"[0-9a-f]{32}")


@dataclass(frozen=True, slots=True)
class SpanEvent:
    """Something that happened during a span, at `time_ns` unix nanoseconds."""

    name: str
    time_ns: int
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class SpanRecord:
    """One ended span; ids are lower-case hexadecimal, `parent_id` is "" for a root, times are unix nanoseconds.

    `service` is the short name ("gateway"), `links` are the trace ids that the span links to.
    """

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
    events: tuple[SpanEvent, ...] = ()
    links: tuple[str, ...] = ()


def is_trace_id(text: str) -> bool:
    """Tell whether a text is a whole trace id as it is written: 32 hexadecimal digits in small letters."""
    return _TRACE_ID.fullmatch(text) is not None


def read_batches(file: BinaryIO) -> Iterator[bytes]:
    """Yield every whole batch from the file's position on; afterwards the file stands behind the last whole one."""
    while True:
        start = file.tell()
        head = file.read(LENGTH_BYTES)
        length = int.from_bytes(head, "big")
        if len(head) == LENGTH_BYTES and length <= LONGEST_BATCH and len(body := file.read(length)) == length:
            yield body
        else:
            file.seek(start)
            return


def read_spans(path: str | Path) -> Iterator[SpanRecord]:
    """Yield every span of an exported file, in the order of export.

    A torn batch at the end is logged as a warning with its size, and ends the iteration. Raises `OSError` when the file
    cannot be read.
    """
    with Path(path).open("rb") as file:
        for batch in read_batches(file):
            yield from decode(batch)
        if torn := len(file.read()):
            logger.warning("%s ends in a torn batch of %d bytes: its process was killed while it wrote", path, torn)


def count_spans(batch: bytes) -> int:
    """Return how many spans an `ExportTraceServiceRequest` has; raises protobuf's `DecodeError` when it is none."""
    return sum(len(scope.spans) for resource in _request(batch).resource_spans for scope in resource.scope_spans)


def decode(batch: bytes) -> Iterator[SpanRecord]:
    """Yield the spans of an `ExportTraceServiceRequest`; raises protobuf's `DecodeError` when it is none."""
    for resource_spans in _request(batch).resource_spans:
        service = service_of(_attributes(resource_spans.resource.attributes))
        for scope_spans in resource_spans.scope_spans:
            for span in scope_spans.spans:
                yield _record(span, service)


def _request(batch: bytes) -> "ExportTraceServiceRequest":
    from opentelemetry.proto.collector.trace.v1 import (  # noqa: PLC0415 - only who reads spans loads protobuf
        trace_service_pb2,
    )

    return trace_service_pb2.ExportTraceServiceRequest.FromString(batch)


def service_of(resource: Mapping[str, Any]) -> str:
    """Return the service that a resource stands for: "gateway" for the service.name "goshop-gateway"."""
    return str(resource.get(c.SERVICE_NAME, "")).removeprefix(f"{c.NAMESPACE}-")


def _record(span: "Span", service: str) -> SpanRecord:
    return SpanRecord(
        trace_id=span.trace_id.hex(),
        span_id=span.span_id.hex(),
        parent_id=span.parent_span_id.hex(),
        service=service,
        name=span.name,
        kind=_spelled(_KINDS, span.kind),
        start_ns=span.start_time_unix_nano,
        end_ns=span.end_time_unix_nano,
        status=_spelled(_STATUSES, span.status.code),
        status_message=span.status.message,
        attributes=_attributes(span.attributes),
        events=tuple(SpanEvent(e.name, e.time_unix_nano, _attributes(e.attributes)) for e in span.events),
        links=tuple(link.trace_id.hex() for link in span.links),
    )


def _spelled(names: tuple[str, ...], number: int) -> str:
    """Return what a number of an enumeration is called; one that a later version of OTLP knows is the first: not known."""
    return names[number] if 0 <= number < len(names) else names[0]


def _attributes(pairs: "Iterable[KeyValue]") -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: "AnyValue") -> Any:
    match value.WhichOneof("value"):
        case None:
            return None
        case "array_value":
            return [_value(item) for item in value.array_value.values]
        case "kvlist_value":
            return _attributes(value.kvlist_value.values)
        case kind:
            return getattr(value, kind)
