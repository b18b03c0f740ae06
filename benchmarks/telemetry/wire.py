"""As much of the protobuf wire format as counting spans takes.

Source: https://protobuf.dev/programming-guides/encoding/ · field numbers of opentelemetry-proto's trace.proto
"""

from collections.abc import Iterator

_MORE, _LOW = 0x80, 0x7F
_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_RESOURCE_SPANS, _SCOPE_SPANS, _SPANS, _TRACE_ID = 1, 2, 2, 1


def spans_in(request: bytes) -> Iterator[bytes]:
    """Yield the trace id of every span of an ExportTraceServiceRequest; raises `ValueError` when it is torn."""
    for resource_spans in fields(memoryview(request), _RESOURCE_SPANS):
        for scope_spans in fields(resource_spans, _SCOPE_SPANS):
            for span in fields(scope_spans, _SPANS):
                yield bytes(next(fields(span, _TRACE_ID)))


def fields(message: memoryview, number: int) -> Iterator[memoryview]:
    """Yield the bodies of a message's length-delimited fields with a number."""
    at = 0
    while at < len(message):
        tag, at = _varint(message, at)
        kind = tag & 7
        if kind == _BYTES:
            size, at = _varint(message, at)
            if at + size > len(message):
                raise ValueError("the message is torn")
            if tag >> 3 == number:
                yield message[at : at + size]
            at += size
        elif kind == _VARINT:
            _, at = _varint(message, at)
        elif kind in {_FIXED64, _FIXED32}:
            at += 8 if kind == _FIXED64 else 4
        else:
            raise ValueError(f"a wire type that proto3 has not: {kind}")


def _varint(message: memoryview, at: int) -> tuple[int, int]:
    value = shift = 0
    while True:
        byte = message[at]
        at += 1
        value |= (byte & _LOW) << shift
        if byte < _MORE:
            return value, at
        shift += 7
