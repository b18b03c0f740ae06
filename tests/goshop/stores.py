"""Stores of traces and lines as `goshop trace` meets them: a Tempo, a Jaeger and a Loki on loopback.

The Tempo's and the Jaeger's answers are those of real ones (tests/goshop/recorded/tempo-3.0.3, jaeger-1.57).
"""

import json
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

from tests.goshop.answering import answering

RECORDED = Path(__file__).parent / "recorded" / "tempo-3.0.3"
TRACE = (RECORDED / "trace_id.txt").read_text().strip()
WHOLE = (RECORDED / "trace_v2.pb").read_bytes()
IN_JSON = (RECORDED / "trace_v2.json").read_bytes()
UNKNOWN = (RECORDED / "trace_unknown.body").read_bytes()
# TraceByIDResponse: status = 1 (PARTIAL), message.
PARTIAL = b"\x18\x01\x22\x0etoo many bytes"
PROTOBUF, JSON, TEXT = "application/protobuf", "application/json", "text/plain; charset=utf-8"
# When the recorded request began, in unix s.
BEGAN = 1795422102.251112
NONE = {}
# Of the Jaeger that tests/backends pins: ids in hexadecimal, kinds as numbers.
JAEGER = (RECORDED.parent / "jaeger-1.57" / "trace.json").read_bytes()


def a_tempo(kind=PROTOBUF, body=WHOLE, status=200):
    return answering(lambda _: (status, kind, body))


def line(at, text, **labels: str):
    return {"stream": {"job": "backend-app", "trace_id": TRACE, **labels}, "values": [[str(at), text]]}


def record(message, service="product", trace_id=TRACE):
    return json.dumps({"message": message, "service": service, "trace_id": trace_id, "timestamp": "2026-11-23"})


def streams(*found: object, **more: object):
    return json.dumps({"status": "success", "data": {"resultType": "streams", "result": found}, **more}).encode()


def a_loki(*found: object, status=200, **more: object):
    return answering(lambda _: (status, JSON, streams(*found, **more)))


AT = int((BEGAN + 0.01) * 1e9)
LINES = (line(AT + 9, record("later")), line(AT, record("found 3")))


def query_of(asked):
    return {name: values[0] for name, values in parse_qs(urlsplit(asked.path).query).items()}


def now_loki(*ids: str, known=TRACE):
    """Answer as a Loki that has lines of now: by the beginning of an id, and by a whole one."""

    def reply(asked):
        query = query_of(asked)
        at = int(query["end"]) - 70 * 10**9
        wanted = query["query"].partition("trace_id")[2].strip('="~.*')
        found = [each for each in (*ids, known) if each.startswith(wanted)]
        lines = [line(at, record("hello", trace_id=each), trace_id=each) for each in found]
        return 200, JSON, streams(*lines)

    return answering(reply)
