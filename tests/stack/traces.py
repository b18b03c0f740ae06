"""What a trace store has of a trace, in one form, whichever store it is."""

import base64
import os
from collections.abc import Callable, Collection
from dataclasses import dataclass
from typing import Any, Final, Self

import httpx

from tests.stack.jaeger import Jaeger

# The kinds of OTLP in JSON (opentelemetry/proto/trace/v1/trace.proto), and as Jaeger calls them.
_KIND: Final = "SPAN_KIND_"


@dataclass(frozen=True)
class Span:
    """A span; ids are hexadecimal, a root's parent is empty, times are Unix µs, attributes are text."""

    service: str
    name: str
    kind: str
    id: str
    parent: str
    start: int
    attributes: dict[str, str]

    @classmethod
    def of_jaeger(cls, span: dict[str, Any]) -> Self:
        tags = {tag["key"]: str(tag["value"]) for tag in span["tags"]}
        parent = next((each["spanID"] for each in span["references"] if each["refType"] == "CHILD_OF"), "")
        name, kind = span["operationName"], tags.pop("span.kind", "internal")
        return cls(span["service"], name, kind, span["spanID"], parent, span["startTime"], tags)

    @classmethod
    def of_tempo(cls, service: str, span: dict[str, Any]) -> Self:
        return cls(
            service,
            span["name"],
            span["kind"].removeprefix(_KIND).lower(),
            _hexadecimal(span["spanId"]),
            _hexadecimal(span.get("parentSpanId", "")),
            int(span["startTimeUnixNano"]) // 1000,
            _texts(span.get("attributes", [])),
        )


Read = Callable[[str], list[Span]]
"""Returns the spans of a trace id, none of one that the store does not know."""


def of_jaeger(store: Jaeger) -> Read:
    """Read a Jaeger."""
    return lambda trace_id: [Span.of_jaeger(span) for span in store.spans(trace_id)]


def of_tempo(url: str) -> Read:
    """Read a Tempo."""

    def read(trace_id: str) -> list[Span]:
        # A Tempo elsewhere may well be reached through a proxy.
        answer = httpx.get(f"{url}/api/v2/traces/{trace_id}", headers={"accept": "application/json"}, timeout=30.0)
        return spans_of_tempo(answer.raise_for_status().json())

    return read


def spans_of_tempo(document: dict[str, Any]) -> list[Span]:
    """Return the spans of what a Tempo answers, which has nothing in it for a trace that it does not know."""
    return [
        Span.of_tempo(_texts(group["resource"]["attributes"])["service.name"], span)
        for group in document["trace"].get("resourceSpans", [])
        for scope in group["scopeSpans"]
        for span in scope["spans"]
    ]


def tempo_otlp_url(url: str) -> str:
    """Return where a Tempo takes spans: $TEMPO_OTLP_URL, or port 4318 of where it answers."""
    return os.environ.get("TEMPO_OTLP_URL") or str(httpx.URL(url).copy_with(port=4318, path="")).rstrip("/")


def is_whole(spans: Collection[Span], services: set[str], outside: Collection[str] = ()) -> bool:
    """Tell whether every service has delivered its spans, and every parent is there (or is known to be `outside`)."""
    known = {span.id for span in spans} | {"", *outside}
    return services <= {span.service for span in spans} and all(span.parent in known for span in spans)


def _hexadecimal(text: str) -> str:
    return base64.b64decode(text).hex()


def _texts(attributes: list[dict[str, Any]]) -> dict[str, str]:
    return {each["key"]: str(next(iter(each["value"].values()))) for each in attributes}
