"""Spans from the JSON of trace stores.

OTLP in JSON writes ids in hexadecimal; Tempo and Jaeger write what protobuf's own mapping makes of bytes, base64. Both are
read. Sources: https://opentelemetry.io/docs/specs/otlp/#json-protobuf-encoding,
https://protobuf.dev/programming-guides/json/
"""

import base64
from collections.abc import Iterator
from typing import Any, Final

from telemetry.spans import SpanRecord, decode

# Bytes of an id, by its key.
_LENGTHS: Final = {"traceId": 16, "spanId": 8, "parentSpanId": 8}


def decode_json(resource_spans: Any) -> Iterator[SpanRecord]:
    """Yield the spans of what a JSON document has as `resourceSpans`; raises `ValueError` when it is none."""
    from google.protobuf.json_format import ParseDict, ParseError  # noqa: PLC0415 - few ask for JSON
    from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (  # noqa: PLC0415 - see above
        ExportTraceServiceRequest,
    )

    try:
        for span in _spans(resource_spans):
            _mend_ids(span)
        request = ParseDict({"resourceSpans": resource_spans}, ExportTraceServiceRequest(), ignore_unknown_fields=True)
    except (ParseError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"no spans: {error}") from None
    yield from decode(request.SerializeToString())


def _spans(resource_spans: Any) -> Iterator[dict[str, Any]]:
    for resource in resource_spans:
        for scope in resource.get("scopeSpans", ()):
            yield from scope.get("spans", ())


def _mend_ids(span: dict[str, Any]) -> None:
    for key, length in _LENGTHS.items():
        # As long in base64 as no id is in hexadecimal: 24 and 12 characters.
        if len(text := span.get(key, "")) == 2 * length:
            span[key] = base64.b64encode(bytes.fromhex(text)).decode()
