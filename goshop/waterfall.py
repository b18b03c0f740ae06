"""A trace in the terminal: who called whom, when, for how long, and what was logged meanwhile."""

import re
import sys
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, Final

from rich.console import Console
from rich.table import Table
from rich.text import Text

from goshop.trace import Missing, Trace
from slo.report.foreign import plain
from slo.trace_tree import TraceTree
from telemetry import conventions as names
from telemetry.spans import SpanRecord

BAR: Final = 32
# Levels that are indented.
DEEPEST: Final = 16
# Where nobody looks at a window, lines may be long.
FILE_WIDTH: Final = 160
COLOURS: Final = ("cyan", "green", "magenta", "blue", "yellow", "bright_cyan", "bright_green", "bright_magenta")
LEVELS: Final = {"warning": "yellow", "error": "red", "critical": "red"}
ERROR: Final = "ERROR"
_NS_PER_MS: Final = 1e6
_NO_NEWS: Final = (None, "", "OK")
# product.v1.ProductService/GetProduct: the package says the service again.
_PACKAGE: Final = re.compile(r"^[a-z]+\.v\d+\.(?=\w+/)")
# What a reader of a waterfall asks of a span, in this order; the name of the span says the rest.
_TELLING: Final = (
    (names.HTTP_RESPONSE_STATUS_CODE, ""),
    (names.RPC_RESPONSE_STATUS_CODE, ""),
    (names.DB_COLLECTION_NAME, "table "),
    (names.DB_RESPONSE_STATUS_CODE, "SQLSTATE "),
    (names.DB_OPERATION_BATCH_SIZE, "commands "),
    (names.ERROR_TYPE, "error "),
    (names.ORDER_ID, "order "),
    (names.PAYMENT_ID, "payment "),
)


def print_trace(trace: Trace, console: Console | None = None) -> None:
    """Print a trace; to `console`, which is stdout by default (NO_COLOR and COLUMNS are honoured)."""
    out = console or _stdout()
    palette = _palette(trace)
    out.print(_title(trace), soft_wrap=True)
    spans = trace.spans or ()
    if spans:
        out.print(_waterfall(spans, palette, ascii_only=out.options.ascii_only))
    for missing in trace.missing:
        out.print(_warning(missing), soft_wrap=True)
    for remark in trace.remarks:
        out.print(Text(f"! {plain(remark)}", "yellow"), soft_wrap=True)
    if trace.lines:
        out.print()
    for line in trace.lines:
        out.print(_log_line(line, _start(trace), palette), soft_wrap=True)


def _stdout() -> Console:
    console = Console(highlight=False)
    return console if sys.stdout.isatty() else Console(highlight=False, width=max(console.width, FILE_WIDTH))


def _palette(trace: Trace) -> dict[str, str]:
    services = dict.fromkeys([*(span.service for span in trace.spans or ()), *(_service(line) for line in trace.lines)])
    return {service: COLOURS[index % len(COLOURS)] for index, service in enumerate(services)}


def _title(trace: Trace) -> Text:
    spans = trace.spans or ()
    title = Text.assemble(("trace ", "bold"), (plain(trace.trace_id), "bold"))
    if spans:
        services = len({span.service for span in spans})
        # What belongs to one request: not what a clock that differs makes of it.
        roots = TraceTree(spans).roots
        timed = roots if len(roots) == 1 else spans
        length = max(span.end_ns for span in timed) - min(span.start_ns for span in timed)
        began = datetime.fromtimestamp(_start(trace), UTC)
        title.append(
            f"  {began:%Y-%m-%d %H:%M:%S.%f} UTC  {_milliseconds(length)}  {len(spans)} spans of {services} services"
        )
    return title.append(f"\n{plain(trace.source)}", "dim")


def _start(trace: Trace) -> float:
    """Return when the trace began, in unix seconds."""
    if trace.spans:
        return min(span.start_ns for span in trace.spans) / 1e9
    return (_time(trace.lines[0]) if trace.lines else None) or 0.0


def _waterfall(spans: Sequence[SpanRecord], palette: Mapping[str, str], *, ascii_only: bool) -> Table:
    table = Table(box=None, pad_edge=False, header_style="dim", padding=(0, 1))
    table.add_column("service", no_wrap=True)
    table.add_column("span", overflow="fold", ratio=3)
    table.add_column("when", no_wrap=True, width=BAR)
    table.add_column("took", justify="right", no_wrap=True)
    table.add_column("", overflow="fold", ratio=2)
    begin, end = min(span.start_ns for span in spans), max(span.end_ns for span in spans)
    for depth, span in in_order(spans):
        colour = "red" if span.status == ERROR else palette[span.service]
        table.add_row(
            Text(plain(span.service), palette[span.service]),
            Text(_indent(depth) + _PACKAGE.sub("", plain(span.name)), "red" if span.status == ERROR else ""),
            Text(bar(span, begin, end, ascii_only=ascii_only), colour),
            Text(_milliseconds(span.end_ns - span.start_ns)),
            Text(detail(span), "red" if span.status == ERROR else "dim"),
        )
    return table


def _indent(depth: int) -> str:
    """Return what stands before a span's name: deeper than a terminal is wide, the depth as a number."""
    return "  " * depth if depth <= DEEPEST else f"{'  ' * DEEPEST}[{depth}] "


def in_order(spans: Sequence[SpanRecord]) -> Iterator[tuple[int, SpanRecord]]:
    """Yield each span with its depth, below its caller and in order of start; first those whose parent is not there."""
    tree = TraceTree(spans)
    # A stack: a trace may be deeper than Python lets functions call each other.
    pending = [(0, span) for span in reversed(tree.roots)]
    left = {span.span_id: span for span in spans}
    while pending:
        depth, span = pending.pop()
        left.pop(span.span_id, None)
        yield depth, span
        pending += [(depth + 1, child) for child in reversed(tree.children(span))]
    # Spans that name each other as parents hang on no root.
    yield from ((0, span) for span in left.values())


def bar(span: SpanRecord, begin: int, end: int, *, ascii_only: bool = False) -> str:
    """Return the span's time between `begin` and `end` (ns) as `BAR` characters; never invisible."""
    scale = BAR / max(end - begin, 1)
    first = min(int((span.start_ns - begin) * scale), BAR - 1)
    length = max(round((span.end_ns - span.start_ns) * scale), 0)
    full, thin = ("#", "|") if ascii_only else ("█", "▏")
    return (" " * first + (full * length if length else thin))[:BAR]


def detail(span: SpanRecord) -> str:
    """Return what a reader asks of a span: its outcome, its table, its error."""
    told = [
        f"{label}{plain(span.attributes[key])}" for key, label in _TELLING if span.attributes.get(key) not in (None, "")
    ]
    if span.status == ERROR:
        told.append(f"{ERROR} {plain(span.status_message)}".rstrip())
    return ", ".join(dict.fromkeys(told))


def _warning(missing: Missing) -> Text:
    which = f"span {plain(missing.span_id)}" if missing.span_id else "a span"
    of = f" of {plain(missing.service)}" if missing.service else ""
    return Text(f"! missing: {which}{of}, {plain(missing.reason)}", "yellow")


def _log_line(line: Mapping[str, Any], begin: float, palette: Mapping[str, str]) -> Text:
    level, time = plain(line.get(names.LOG_LEVEL, "")), _time(line)
    offset = f"{(time - begin) * 1e3:+9.1f} ms" if time is not None else " " * 12
    text = Text.assemble((offset, "dim"), "  ", (f"{plain(_service(line)):8}", palette[_service(line)]), " ")
    text.append(f"{level:8}", LEVELS.get(level, "dim")).append(plain(_said(line)))
    for row in str(line.get(names.LOG_EXCEPTION, "")).strip().splitlines():
        text.append(f"\n{'':14}| {plain(row)}", "red")
    return text


def _said(line: Mapping[str, Any]) -> str:
    """Return a line's message; an access line's is made of its fields."""
    if names.LOG_STATUS_CODE not in line:
        return str(line.get(names.LOG_MESSAGE, ""))
    where = " ".join(str(line.get(key, "")) for key in (names.LOG_METHOD, names.LOG_PATH, names.LOG_STATUS_CODE))
    error = f" {line[names.LOG_ERROR_TYPE]}" if line.get(names.LOG_ERROR_TYPE) else ""
    return f"{where} in {line.get(names.LOG_DURATION_MS, '?')} ms{error}"


def _service(line: Mapping[str, Any]) -> str:
    return str(line.get(names.LOG_SERVICE, ""))


def _time(line: Mapping[str, Any]) -> float | None:
    try:
        return datetime.fromisoformat(str(line.get(names.LOG_TIMESTAMP, ""))).timestamp()
    except (ValueError, OverflowError):
        return None


def _milliseconds(ns: int) -> str:
    return f"{ns / _NS_PER_MS:.1f} ms"
