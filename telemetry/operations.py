"""What is measured beside requests: statements, commands, calls. A `Recorder` begins them, with the spans that it may make.

operation = recorder.begin(Template("SELECT products", SpanKind.CLIENT, {…}))
operation.conclude({"db.response.status_code": "23505"}, failed=True)
"""

import threading
from collections.abc import Callable, Mapping
from time import perf_counter_ns, time_ns
from typing import Any, Final, Protocol

from opentelemetry.context import Context
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import SpanLimits
from opentelemetry.trace import Span, Status, StatusCode, Tracer, get_current_span, set_span_in_context

from . import otlp
from .recording import NOTHING, SAMPLED, SPAN_FIELDS, FastSpan, Parent, Template, is_undecided, parent_of
from .sampling import Decide


class Outlet(Protocol):
    """Takes encoded spans."""

    # None while nobody wants any.
    take: Callable[[otlp.Envelope, bytes], None] | None


class Operation(Protocol):
    """Something that is measured: a statement, a command, a call."""

    @property
    def span(self) -> Span:
        """Its span."""

    @property
    def exemplar(self) -> str:
        """The trace id that a bucket may lead to; "" where nobody will find the trace, because it is not sampled."""

    def conclude(self, more: Mapping[str, Any] = NOTHING, *, failed: bool = False, description: str = "") -> None:
        """End it, with attributes that only its end could tell; `description` is of a failure."""


class FastOperation(FastSpan):
    """A fast span that is measured from its making to `conclude`."""

    __slots__ = (*SPAN_FIELDS, "_began", "_began_unix", "_template")

    def __init__(self, recorder: "Recorder", parent: Parent | None, template: Template) -> None:
        self.begin(recorder, parent)
        self._template = template
        self._began_unix = time_ns()
        self._began = perf_counter_ns()

    @property
    def span(self) -> Span:
        """Itself; see `Operation`."""
        return self

    @property
    def exemplar(self) -> str:
        """See `Operation`."""
        return self.trace_id if self.flags & SAMPLED else ""

    def conclude(self, more: Mapping[str, Any] = NOTHING, *, failed: bool = False, description: str = "") -> None:
        """End it; see `Operation`."""
        if self.ended:
            return
        self.ended = True
        if self.flags & SAMPLED and self.recorder.outlet.take is not None:
            times = otlp.times(self._began_unix, self._began_unix + perf_counter_ns() - self._began)
            self.emit(self._template, times, more, failed=failed, description=description)


class SdkOperation:
    """The same with a span of the tracer that is there."""

    __slots__ = ("span",)

    def __init__(self, tracer: Tracer, template: Template, context: Context | None) -> None:
        self.span = tracer.start_span(template.name, context, template.kind, template.attributes)

    @property
    def exemplar(self) -> str:
        """See `Operation`."""
        context = self.span.get_span_context()
        return f"{context.trace_id:032x}" if context.trace_flags.sampled else ""

    def conclude(self, more: Mapping[str, Any] = NOTHING, *, failed: bool = False, description: str = "") -> None:
        """End it; see `Operation`."""
        self.span.set_attributes(more)
        if failed and is_undecided(self.span):
            self.span.set_status(Status(StatusCode.ERROR, description or None))
        self.span.end()


_NO_ENVELOPE: Final = otlp.Envelope(Resource({}), None)


class Recorder:
    """Makes the spans of the instrumentation: fast ones where nothing stands against it."""

    __slots__ = ("decide", "envelope", "follows_parent", "limits", "lock", "obstacle", "outlet", "tracer")

    def __init__(
        self,
        tracer: Tracer,
        obstacle: str,
        *,
        outlet: Outlet | None = None,
        envelope: otlp.Envelope = _NO_ENVELOPE,
        decide: Decide | None = None,
        limits: SpanLimits | None = None,
    ) -> None:
        self.tracer = tracer
        # Why spans of the SDK are made, "" when none are needed.
        self.obstacle = obstacle
        self.outlet = outlet or _NoOutlet()
        self.envelope = envelope
        self.decide = decide or _never
        # Whether a parent's flag is the decision, as with every sampler that is "parent based".
        self.follows_parent = self.decide("0" * 32, True) and not self.decide("0" * 32, False)
        self.limits = limits or SpanLimits()
        # Held while a span's notes are begun; a forked child gets another one (`Provider`).
        self.lock = threading.Lock()

    def begin(self, template: Template, context: Context | None = None) -> Operation:
        """Begin an operation below the current span, or below the one in `context`."""
        if self.obstacle:
            return SdkOperation(self.tracer, template, context)
        parent = get_current_span(context)
        if isinstance(parent, FastSpan):
            return FastOperation(self, parent.as_parent(), template)
        return FastOperation(self, parent_of(parent.get_span_context()), template)

    def take(self, span: bytes) -> None:
        """Hand an encoded span over."""
        if self.outlet.take is not None:
            self.outlet.take(self.envelope, span)


class _NoOutlet:
    """Where nobody takes spans."""

    take = None


def _never(_trace_id: str, _parent: bool | None) -> bool:  # noqa: FBT001 - see `Decide`
    return False


def context_with(operation: Operation, parent: Context | None = None) -> Context:
    """Return the context in which an operation's own children begin."""
    return set_span_in_context(operation.span, parent)
