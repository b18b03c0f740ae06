"""Asks a Tempo for one trace.

The answer in protobuf is preferred: it is smaller, and read by what reads our own files. A trace that Tempo does not know is
a 200 with nothing in it. API: https://grafana.com/docs/tempo/latest/api_docs/#query-v2; form: `TraceByIDResponse` in
https://github.com/grafana/tempo/blob/main/pkg/tempopb/tempo.proto
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from google.protobuf.message import DecodeError

from goshop.otlp_json import decode_json
from goshop.remote import JSON, Answer, Names, Remote, shown
from telemetry.spans import SpanRecord, decode

NAMES: Final = Names("Tempo", "--tempo", "TEMPO_URL", "TEMPO", ": that is no trace of one request")
PROTOBUF: Final = "application/protobuf"
_OK: Final = 200
_BAD_REQUEST: Final = 400
_NOT_FOUND: Final = 404
# Tempo says this of a trace, or nothing at all; whoever says something else, of a path.
_NO_SUCH_TRACE: Final = "trace not found"
# Fields of TraceByIDResponse.
_TRACE, _STATUS, _MESSAGE = 1, 3, 4
_PARTIAL: Final = 1
# Wire types, and how many bytes those of a fixed length have: https://protobuf.dev/programming-guides/encoding/#structure
_VARINT, _BYTES = 0, 2
_FIXED: Final = {1: 8, 5: 4}
# Bytes of a 64-bit number.
_LONGEST: Final = 10


@dataclass(frozen=True, slots=True)
class Found:
    """The spans of a trace, none for one that the store does not know; `remarks` say what is not whole about it."""

    spans: tuple[SpanRecord, ...] = ()
    remarks: tuple[str, ...] = ()


def fetch(tempo: Remote, trace_id: str) -> Found:
    """Return what a Tempo has of a trace, by its whole id; raises `RemoteError`."""
    answer = tempo.ask(f"/api/v2/traces/{trace_id}", accept=f"{PROTOBUF}, {JSON};q=0.5")
    if answer.status == _NOT_FOUND and (not answer.body or _NO_SUCH_TRACE in answer.text):
        return Found()
    if answer.status == _BAD_REQUEST:
        raise tempo.error(f"{tempo.url} refuses the trace id: {answer.text}")
    if answer.status != _OK:
        raise tempo.error(f"{tempo.url} is no Tempo that has /api/v2/traces ({answer.status}): {answer.text}")
    trace = _read(tempo, answer)
    if trace.partial and not trace.spans:
        raise tempo.error(f"{tempo.url} has the trace in part, and gives none of it: {trace.reason}")
    return Found(spans_of(tempo, trace_id, trace.spans), _remarks(tempo, trace))


def spans_of(store: Remote, trace_id: str, spans: tuple[SpanRecord, ...]) -> tuple[SpanRecord, ...]:
    """Return the spans; raises `RemoteError` when one is of another trace than was asked for."""
    if strangers := {span.trace_id for span in spans} - {trace_id}:
        raise store.error(f"{store.url} answers with spans of another trace: {shown(min(strangers))}")
    return spans


@dataclass(frozen=True, slots=True)
class _Answered:
    spans: tuple[SpanRecord, ...]
    partial: bool
    message: str

    @property
    def reason(self) -> str:
        return shown(self.message) or "without a reason"


class _Json(msgspec.Struct):
    trace: dict[str, Any] | msgspec.UnsetType | None = msgspec.UNSET
    status: str | int = 0
    message: str = ""


def _read(tempo: Remote, answer: Answer) -> _Answered:
    problem = f"{tempo.url} gave an answer that cannot be read"
    try:
        if answer.content_type == PROTOBUF:
            return _of_protobuf(answer.body)
        if answer.content_type == JSON:
            return _of_json(tempo.decode(answer.body, _Json, problem))
    except (DecodeError, ValueError, IndexError) as error:
        raise tempo.error(f"{problem}: {shown(str(error))}") from None
    raise tempo.error(f"{tempo.url} is no Tempo: it answers with {shown(answer.content_type)}: {answer.text}")


def _of_protobuf(body: bytes) -> _Answered:
    spans: list[SpanRecord] = []
    fields: dict[int, Any] = {}
    for number, value in _fields(body):
        if number == _TRACE and isinstance(value, bytes):
            spans += decode(value)
        fields[number] = value
    message = fields.get(_MESSAGE)
    # A number would be that many zero bytes.
    said = message.decode() if isinstance(message, bytes) else ""
    return _Answered(tuple(spans), fields.get(_STATUS) == _PARTIAL, said)


def _of_json(document: _Json) -> _Answered:
    partial = document.status in {"PARTIAL", _PARTIAL}
    if document.trace is msgspec.UNSET and not partial:
        raise ValueError("there is no trace in it")
    trace = document.trace or {}
    # Up to Tempo 2.6 it was called batches.
    spans = decode_json(trace.get("resourceSpans") or trace.get("batches") or [])
    return _Answered(tuple(spans), partial, document.message)


def _remarks(tempo: Remote, trace: _Answered) -> tuple[str, ...]:
    if not trace.partial:
        return ()
    return (f"{tempo.url} has only a part of the trace: {trace.reason}",)


# Four fields are no reason for a protobuf schema of Tempo's.
def _fields(body: bytes) -> Iterator[tuple[int, Any]]:
    """Yield number and value of a message's fields; raises `ValueError` for what is none."""
    at = 0
    while at < len(body):
        key, at = _varint(body, at)
        value: int | bytes
        if key & 7 == _VARINT:
            value, at = _varint(body, at)
        else:
            length, at = _length(body, at, key & 7)
            value, at = body[at : at + length], at + length
        if at > len(body):
            raise ValueError("it breaks off")
        yield key >> 3, value


def _length(body: bytes, at: int, kind: int) -> tuple[int, int]:
    if kind == _BYTES:
        return _varint(body, at)
    if kind not in _FIXED:
        raise ValueError(f"there is no wire type {kind}")
    return _FIXED[kind], at


def _varint(body: bytes, at: int) -> tuple[int, int]:
    value = 0
    for place, byte in enumerate(body[at : at + _LONGEST]):
        value |= (byte & 0x7F) << 7 * place
        if not byte & 0x80:
            return value, at + place + 1
    raise ValueError("it breaks off in a number")
