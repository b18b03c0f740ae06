"""Traces as a run leaves them, made up span by span."""

import json
import struct
from datetime import UTC, datetime

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from telemetry import conventions as names
from telemetry.spans import SpanRecord

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"
OTHER = "4bf92f35ffffffffffffffffffffffff"
BEGIN = 1_700_000_000_000_000_000
MS = 1_000_000
KINDS = {"INTERNAL": 1, "SERVER": 2, "CLIENT": 3}


def span(number, parent, service, name, *, kind="INTERNAL", start=0.0, end=10.0, trace_id=TRACE, **fields: object):
    return SpanRecord(
        trace_id,
        f"{number:016x}",
        f"{parent:016x}" if parent else "",
        service,
        name,
        kind,
        BEGIN + int(start * MS),
        BEGIN + int(end * MS),
        **fields,
    )


def call(number, parent, service, method, *, status="OK", **fields: object):
    attributes = {names.RPC_METHOD: method, names.RPC_RESPONSE_STATUS_CODE: status}
    return span(number, parent, service, method, kind="CLIENT", attributes=attributes, **fields)


def entry(number=1, parent=0, attributes=None, **fields: object):
    own = {names.HTTP_REQUEST_METHOD: "GET", names.HTTP_RESPONSE_STATUS_CODE: 200} if attributes is None else attributes
    return span(number, parent, "gateway", "GET /api/products", kind="SERVER", attributes=own, **{"end": 100} | fields)


def request(number=1, *, status=200, **fields: object):
    """What k6 saw of a request."""
    attributes = {names.HTTP_REQUEST_METHOD: "GET", names.URL_TEMPLATE: "/api/products/{id}"}
    answered = {} if status is None else {names.HTTP_RESPONSE_STATUS_CODE: status}
    return span(number, 0, "k6", "GET", kind="CLIENT", attributes=attributes | answered, **fields)


METHOD = "product.v1.ProductService/SearchProducts"
SPANS = [
    entry(),
    call(2, 1, "gateway", METHOD, start=5, end=95),
    span(3, 2, "product", METHOD, kind="SERVER", start=10, end=90, attributes={names.RPC_METHOD: METHOD}),
    span(
        4,
        3,
        "product",
        "SELECT products",
        kind="CLIENT",
        start=20,
        end=80,
        attributes={names.DB_COLLECTION_NAME: "products"},
    ),
]


def log(service, span_number, milliseconds, message, **fields: object):
    time = datetime.fromtimestamp(BEGIN / 1e9 + milliseconds / 1e3, UTC)
    return {
        names.LOG_TIMESTAMP: f"{time:%Y-%m-%dT%H:%M:%S.%f}Z",
        names.LOG_LEVEL: "info",
        names.LOG_MESSAGE: message,
        names.LOG_SERVICE: service,
        names.LOG_TRACE_ID: TRACE,
        names.LOG_SPAN_ID: f"{span_number:016x}",
        **fields,
    }


LINES = [log("product", 3, 85, "found 3"), log("gateway", 1, 1, "first")]


def write(run, spans, lines=()):
    for service in {span.service for span in spans}:
        request = ExportTraceServiceRequest()
        resource = request.resource_spans.add()
        resource.resource.attributes.add(key="service.name").value.string_value = f"goshop-{service}"
        scope = resource.scope_spans.add()
        for record in (span for span in spans if span.service == service):
            _encode(record, scope.spans.add())
        data = request.SerializeToString()
        run.span_file(service).write_bytes(struct.pack(">I", len(data)) + data)
    for line in lines:
        with run.log(line[names.LOG_SERVICE]).open("a") as file:
            file.write(json.dumps(line) + "\n")


def _encode(record, message):
    message.trace_id, message.span_id = bytes.fromhex(record.trace_id), bytes.fromhex(record.span_id)
    message.parent_span_id = bytes.fromhex(record.parent_id)
    message.name, message.kind = record.name, KINDS[record.kind]
    message.start_time_unix_nano, message.end_time_unix_nano = record.start_ns, record.end_ns
    for key, value in record.attributes.items():
        slot = message.attributes.add(key=key).value
        setattr(slot, {int: "int_value", float: "double_value"}.get(type(value), "string_value"), value)
