"""Asks a Jaeger for one trace, by the query API that has spans as OTLP does: version 3.

What a Jaeger of 2017 answers at `/api/traces` is a form of its own, with times in µs; this one is read by what reads
Tempo's. API: https://www.jaegertracing.io/docs/latest/architecture/apis/#query-http-api
"""

from typing import Any, Final

import msgspec
from google.protobuf.message import DecodeError

from goshop.otlp_json import decode_json
from goshop.remote import Names, Remote, shown
from goshop.tempo import Found, spans_of

NAMES: Final = Names("Jaeger", "--jaeger", "JAEGER_URL", "JAEGER", ": that is no trace of one request")
_OK: Final = 200
_NOT_FOUND: Final = 404
_NO_SUCH_TRACE: Final = "trace not found"


class _Chunk(msgspec.Struct):
    result: dict[str, Any]


def fetch(jaeger: Remote, trace_id: str) -> Found:
    """Return what a Jaeger has of a trace, by its whole id; raises `RemoteError`."""
    answer = jaeger.ask(f"/api/v3/traces/{trace_id}")
    if answer.status == _NOT_FOUND and _NO_SUCH_TRACE in answer.text:
        return Found()
    if answer.status != _OK:
        raise jaeger.error(f"{jaeger.url} is no Jaeger that has /api/v3/traces ({answer.status}): {answer.text}")
    problem = f"{jaeger.url} gave an answer that cannot be read"
    try:
        found = jaeger.decode(answer.body, _Chunk, problem).result
        spans = tuple(decode_json(found.get("resourceSpans") or []))
    except (DecodeError, ValueError, IndexError) as error:
        raise jaeger.error(f"{problem}: {shown(str(error))}") from None
    return Found(spans_of(jaeger, trace_id, spans))
