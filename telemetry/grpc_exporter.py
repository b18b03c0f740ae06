"""OTLP over gRPC: the channel is the official exporter's, which reads the standard variables; the spans are ours."""

import os
from collections.abc import Mapping
from typing import Any, Final

import grpc
from google.rpc.error_details_pb2 import RetryInfo  # type: ignore[import-untyped] # it ships no types
from opentelemetry.exporter.otlp.proto.grpc.trace_exporter import OTLPSpanExporter
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from .span_queue import Rejected, Unavailable

# What the official exporter reads, too.
RETRY_INFO: Final = "google.rpc.retryinfo-bin"
# https://opentelemetry.io/docs/specs/otlp/#failures
RETRYABLE: Final = frozenset(
    {
        grpc.StatusCode.CANCELLED,
        grpc.StatusCode.DEADLINE_EXCEEDED,
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.OUT_OF_RANGE,
        grpc.StatusCode.UNAVAILABLE,
        grpc.StatusCode.DATA_LOSS,
    }
)


class GrpcExporter:
    """Sends batches to a collector (OTLP over gRPC)."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._channel = _Channel()

    def export(self, body: bytes, spans: int, timeout: float) -> int:  # noqa: ARG002 - the answer counts them
        """Send the batch; see `Exporter`."""
        if self._process != os.getpid():
            # A channel does not live on in a forked child.
            self._process, self._channel = os.getpid(), _Channel()
        try:
            return self._channel.send(body, timeout)
        except grpc.RpcError as error:
            raise self._failure(error) from None

    def _failure(self, error: Any) -> Unavailable | Rejected:
        code = error.code()
        message = f"the collector answers {code.name}: {error.details()}"
        if code is grpc.StatusCode.UNAVAILABLE:
            # Else gRPC takes up to two minutes to notice that the collector is back.
            self._channel.shutdown()
            self._channel = _Channel()
        metadata = dict(error.trailing_metadata() or ())
        # Without a delay it is no overload but a batch that is too large, today and tomorrow.
        exhausted = code is grpc.StatusCode.RESOURCE_EXHAUSTED and RETRY_INFO in metadata
        if code in RETRYABLE or exhausted:
            return Unavailable(message, _retry_delay(metadata))
        return Rejected(message)

    def close(self) -> None:
        """Close the channel."""
        self._channel.shutdown()


class _Channel(OTLPSpanExporter):
    """The official exporter, which reads variables and certificates; it neither retries nor encodes here."""

    def send(self, body: bytes, timeout: float) -> int:
        stub: Any = self._client
        request = ExportTraceServiceRequest.FromString(body)
        answer = stub.Export(request=request, metadata=self._headers, timeout=min(timeout, self._timeout))
        return int(answer.partial_success.rejected_spans)


def _retry_delay(metadata: Mapping[str, str | bytes]) -> float:
    """Return the seconds that a collector asked for, 0 when it did not."""
    found = metadata.get(RETRY_INFO)
    if not isinstance(found, bytes):
        return 0.0
    delay = RetryInfo.FromString(found).retry_delay
    return float(delay.seconds + delay.nanos / 1e9)
