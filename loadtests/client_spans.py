"""The load's own part of each trace: a CLIENT span for every request that k6 sent, the parent of the gateway's.

k6 writes no spans. Its script makes the root span's id from the trace's (k6/trace.js), so that the span can be written
afterwards, from the sample. Attributes: https://opentelemetry.io/docs/specs/semconv/http/http-spans/#http-client-span, but for `url.full`,
which is required there: k6's samples have the template of the path alone, as its metrics do. The gateway's span below has `url.path`.
"""

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Final
from urllib.parse import urlsplit

from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.util.instrumentation import InstrumentationScope
from opentelemetry.trace import SpanKind, StatusCode

from loadtests.record import LoadRun
from loadtests.samples import Sample
from telemetry import conventions as c
from telemetry import otlp
from telemetry.file_exporter import FileExporter
from telemetry.spans import is_trace_id

# Spans, of some 300 bytes each: a collector takes as many at once.
BATCH: Final = 2_000
WRITE_SECONDS: Final = 5.0
# The client's view: what the server calls the client's mistake is an error, too.
_CLIENT_ERROR: Final = 400
# k6 says when a request began in whole ms.
_WHOLE: Final = 0.001
_PORTS: Final = {"http": 80, "https": 443}


def write_client_spans(load: LoadRun, path: Path, instance: str) -> int:
    """Append the spans of a run of the shop's own script to a file as `telemetry.spans` reads it; return how many.

    `instance` tells this run's load from others. Raises `telemetry.span_queue.Unavailable` and OSError for the file.
    """
    spans, envelope = client_spans(load), _envelope(instance)
    file, written = FileExporter(path), 0
    try:
        while batch := list(islice(spans, BATCH)):
            file.export(otlp.export_request({envelope: batch}), len(batch), WRITE_SECONDS)
            written += len(batch)
    finally:
        file.close()
    return written


def client_spans(load: LoadRun) -> Iterator[bytes]:
    """Yield a span for each trace, encoded; the hops of a followed redirect are one request, and have one parent.

    A sample without a proper trace id is passed by: `loadtests.health` says that there are such.
    """
    server = _server(load.url)
    repeated = _repeated(load.samples)
    for index, sample in enumerate(load.samples):
        if sample.trace_id not in repeated and is_trace_id(sample.trace_id):
            yield _span(sample, _begin(load, index), load.ends[index], server)
    for indices in repeated.values():
        begin, end = min(_begin(load, index) for index in indices), max(load.ends[index] for index in indices)
        yield _span(load.samples[indices[-1]], begin, end, server)


def span_id(trace_id: str) -> str:
    """Return the id of the span that a trace begins with; see k6/trace.js."""
    return trace_id[16:]


def _envelope(instance: str) -> otlp.Envelope:
    resource = {
        c.SERVICE_NAME: f"{c.NAMESPACE}-{c.LOAD_SERVICE}",
        c.SERVICE_NAMESPACE: c.NAMESPACE,
        c.SERVICE_INSTANCE_ID: instance,
    }
    return otlp.Envelope(Resource(resource, c.SCHEMA_URL), InstrumentationScope(c.INSTRUMENTATION_SCOPE))


def _repeated(samples: Sequence[Sample]) -> dict[str, list[int]]:
    """Return where the samples of each trace are that has more than one."""
    often = Counter(sample.trace_id for sample in samples)
    found: defaultdict[str, list[int]] = defaultdict(list)
    for index, sample in enumerate(samples if often.total() > len(often) else ()):
        if often[sample.trace_id] > 1 and is_trace_id(sample.trace_id):
            found[sample.trace_id].append(index)
    return found


def _begin(load: LoadRun, index: int) -> float:
    """Return when a request began: with its wait for a connection, where it waited for longer than its clock can tell."""
    sample = load.samples[index]
    sent = load.ends[index] - sample.duration
    return sent if sent - sample.start < _WHOLE else sample.start


def _server(url: str) -> dict[str, object]:
    address = urlsplit(url)
    return {c.SERVER_ADDRESS: address.hostname or "", c.SERVER_PORT: address.port or _PORTS.get(address.scheme, 0)}


def _span(sample: Sample, begin: float, end: float, server: Mapping[str, object]) -> bytes:
    error = _error(sample)
    code = StatusCode.ERROR if error else StatusCode.UNSET
    return otlp.span(
        otlp.head(sample.trace_id, span_id(sample.trace_id), flags=otlp.REMOTE_KNOWN | 1)
        + otlp.name(sample.endpoint)
        + otlp.kind(SpanKind.CLIENT)
        + otlp.times(int(begin * 1e9), int(end * 1e9))
        + otlp.attributes({**_attributes(sample), **server, **({c.ERROR_TYPE: error} if error else {})})
        + otlp.status(code)
    )


def _attributes(sample: Sample) -> dict[str, object]:
    status = {c.HTTP_RESPONSE_STATUS_CODE: sample.status} if sample.status else {}
    return {
        c.HTTP_REQUEST_METHOD: sample.method,
        c.URL_TEMPLATE: sample.endpoint.partition(" ")[2] or sample.endpoint,
        **status,
        c.LOAD_SCENARIO: sample.scenario,
        **({c.LOAD_WARMUP: True} if sample.warmup else {}),
    }


def _error(sample: Sample) -> str:
    """Return what went wrong, "" for nothing: a status, or k6's own code where no answer came."""
    if not sample.status:
        return f"{c.LOAD_SERVICE}_{sample.error_code}"
    return str(sample.status) if sample.status >= _CLIENT_ERROR else ""
