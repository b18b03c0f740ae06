"""Traces in the stores that services export to: spans in a Tempo or a Jaeger, log lines in a Loki."""

import os
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from goshop import jaeger, loki, tempo
from goshop.measurement import WrongRequest
from goshop.remote import Remote, RemoteError, connect
from goshop.tempo import Found
from goshop.trace import Trace, TraceNotFound, several
from goshop.trace_remarks import assembled
from telemetry import conventions as names
from telemetry.spans import SpanRecord

# Around the spans: what is logged just before and after them, and clocks that do not agree.
MARGIN_SECONDS: Final = 60.0
_WHOLE_ID: Final = 32
_HOUR: Final = 3600.0


@dataclass(frozen=True, slots=True)
class Stores:
    """Where to look: at most one store of spans, by what asks it, and one of log lines.

    `hours` is how far back log lines are searched for where no span says when.
    """

    spans: tuple[Remote, Callable[[Remote, str], Found]] | None = None
    logs: Remote | None = None
    hours: float = 24.0

    @property
    def named(self) -> str:
        """The addresses, in words."""
        urls = [*([self.spans[0].url] if self.spans else []), *([self.logs.url] if self.logs else [])]
        return " and ".join(urls)


def stores(urls: Mapping[str, str], hours: float = 24.0, environ: Mapping[str, str] = os.environ) -> Stores:
    """Return the stores at the addresses of a "tempo", a "jaeger" and a "loki", "" for none; raises `WrongRequest`."""
    if urls["tempo"] and urls["jaeger"]:
        raise WrongRequest("a Tempo and a Jaeger are both named: which one has the spans?")
    spans = None
    for name, store in (("tempo", tempo), ("jaeger", jaeger)):
        if urls[name]:
            spans = connect(urls[name], store.NAMES, environ), store.fetch
    logs = connect(urls["loki"], loki.NAMES, environ) if urls["loki"] else None
    return Stores(spans, logs, hours)


def find_in_stores(prefix: str, where: Stores) -> Trace:
    """Return the one trace whose id begins with `prefix`.

    A store that does not answer is a remark where the other one has the trace; raises `RemoteError` where that leaves
    nothing to show, and `TraceNotFound`.
    """
    search = _Search(where)
    trace_id = prefix if len(prefix) == _WHOLE_ID else search.whole(prefix)
    spans = search.spans(trace_id)
    lines = search.lines(trace_id, spans or ())
    if not spans and not lines:
        if search.problems:
            raise search.problems[0]
        know = "do not know it" if where.spans and where.logs else "does not know it"
        raise TraceNotFound(f"no trace {trace_id}: {where.named} {know}{search.period}{search.besides}")
    without = f"{where.spans[0].url if where.spans else ''} has no span of it: only log lines"
    return assembled(trace_id, f"from {where.named}", spans, lines, remarks=search.remarks, without=without)


class _Search:
    """One search, with all that went wrong on its way."""

    def __init__(self, where: Stores) -> None:
        self._where = where
        self._now = time.time()
        self.problems: list[RemoteError] = []
        self.remarks: list[str] = []

    @property
    def period(self) -> str:
        """What was searched, in words."""
        return "" if self._where.logs is None else f" (logs of the last {self._where.hours:g} h)"

    @property
    def besides(self) -> str:
        """What else is to be said of an answer that has nothing."""
        return "".join(f"; {remark}" for remark in dict.fromkeys(self.remarks))

    def whole(self, prefix: str) -> str:
        """Return the id that begins so: only log lines can be looked up by a part of it."""
        if self._where.logs is None:
            raise TraceNotFound(
                f"{prefix} is the beginning of an id, and a store of spans looks up whole ones: "
                f"give all {_WHOLE_ID} digits, or name a Loki with {loki.NAMES.option}"
            )
        found = loki.fetch(self._where.logs, prefix, *self._recent())
        self.remarks += found.remarks
        ids = sorted({str(line[names.LOG_TRACE_ID]) for line in found.records})
        if not ids:
            where = self._where.logs.url
            raise TraceNotFound(f"no line of {where} has an id that begins with {prefix}{self.period}{self.besides}")
        if len(ids) > 1:
            raise TraceNotFound(several(prefix, ids, self._where.logs.url))
        return ids[0]

    def spans(self, trace_id: str) -> Sequence[SpanRecord] | None:
        """Return the spans; None where nobody could be asked."""
        if self._where.spans is None:
            self.remarks.append(
                f"no spans were asked for: name a Tempo with {tempo.NAMES.option}, or a Jaeger with {jaeger.NAMES.option}"
            )
            return None
        store, fetch = self._where.spans
        try:
            found = fetch(store, trace_id)
        except RemoteError as error:
            self._note("spans", error)
            return None
        self.remarks += found.remarks
        return found.spans

    def lines(self, trace_id: str, spans: Sequence[SpanRecord]) -> Sequence[Mapping[str, object]]:
        """Return the log lines around some spans, or of the last hours."""
        if self._where.logs is None:
            return ()
        try:
            found = loki.fetch(self._where.logs, trace_id, *(_around(spans) if spans else self._recent()))
        except RemoteError as error:
            self._note("log lines", error)
            return ()
        self.remarks += found.remarks
        if spans and not found.records:
            self.remarks.append(f"{self._where.logs.url} has no line of it")
        return found.records

    def _recent(self) -> tuple[float, float]:
        return self._now - self._where.hours * _HOUR, self._now + MARGIN_SECONDS

    def _note(self, what: str, error: RemoteError) -> None:
        self.problems.append(error)
        self.remarks.append(f"no {what}: {error}")


def _around(spans: Sequence[SpanRecord]) -> tuple[float, float]:
    begin, end = min(span.start_ns for span in spans), max(span.end_ns for span in spans)
    return max(begin / 1e9 - MARGIN_SECONDS, 0.0), end / 1e9 + MARGIN_SECONDS
