"""What is told of a run: tables as text and as Markdown, and everything as JSON."""

import dataclasses
import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.telemetry.catalogue import Variant
from benchmarks.telemetry.chart import chart
from benchmarks.telemetry.figures import BUSY, Figures, Spread, Target, figures, ours_in, targets, times
from benchmarks.telemetry.rounds import Failure, Measurement, Plan

HEADINGS = (
    "variant",
    "CPU us/request",
    "over bare",
    "x ours",
    "requests/s",
    "% of bare",
    "P50 ms",
    "P99 ms",
    "RSS MB",
    "spans",
    "attributes",
    "lines",
)
# A server that many connections wait for uses all of its CPU.
DISTURBED = 0.9
WORK = """Every request: `GET /items/{id}` with a sampled `traceparent` of its own, one uvicorn worker (uvloop, httptools) on one
CPU, generator and collector on another. CPU is the server process's, all threads, until the last span has arrived.
Spans, lines and observations were counted where they arrived and are as many as the requests."""


@dataclass(frozen=True)
class Report:
    """A run, ready to be told."""

    variants: Sequence[Variant]
    plan: Plan
    measurements: Sequence[Measurement]
    failures: Sequence[Failure]
    machine: dict[str, str]
    versions: dict[str, str]

    @property
    def figures(self) -> list[Figures]:
        """Return the figures of every variant that has some."""
        return figures(self.variants, self.measurements)

    @property
    def targets(self) -> list[Target]:
        """Return what was aimed at and what came out."""
        return targets(self.figures)

    def text(self) -> str:
        """Return the report for a terminal."""
        parts = [_title(connections, rows, _plain) for connections, rows in self._tables()]
        return "\n\n".join([*parts, *self._closing()])

    def markdown(self) -> str:
        """Return the report for a page."""
        head = ["# What telemetry costs", WORK, self._conditions(), "![CPU over bare](telemetry.svg)"]
        tables = [_title(connections, rows, _piped, "## ") for connections, rows in self._tables()]
        return "\n\n".join([*head, *tables, "## Targets", *self._closing(bullet="- ")]) + "\n"

    def json(self) -> str:
        """Return the report for a program: also every single measurement."""
        told = {
            "machine": self.machine,
            "versions": self.versions,
            "plan": dataclasses.asdict(self.plan),
            "figures": [dataclasses.asdict(f) for f in self.figures],
            "targets": [dataclasses.asdict(t) for t in self.targets],
            "failures": [dataclasses.asdict(f) for f in self.failures],
            "measurements": [dataclasses.asdict(m) for m in self.measurements],
        }
        return json.dumps(told, indent=1) + "\n"

    def write(self, folder: Path) -> None:
        """Write `telemetry.json`, `.md` and `.svg`."""
        folder.mkdir(parents=True, exist_ok=True)
        (folder / "telemetry.json").write_text(self.json())
        (folder / "telemetry.md").write_text(self.markdown())
        (folder / "telemetry.svg").write_text(chart([f for f in self.figures if f.connections == BUSY]))

    def _tables(self) -> list[tuple[int, list[tuple[str, ...]]]]:
        found = self.figures
        loads = dict.fromkeys(f.connections for f in found)
        return [(c, [_row(f, ours_in(found, c)) for f in found if f.connections == c]) for c in loads]

    def _conditions(self) -> str:
        packages = ", ".join(f"{name} {number}" for name, number in self.versions.items())
        m = self.machine
        return f"{m['cpu']}, {m['cores']} cores, {m['system']}, {m['python']}, {m['date']}; {self.plan.rounds} rounds; {packages}."

    def _closing(self, bullet: str = "") -> list[str]:
        lines = [f"{bullet}{'met ' if t.met else 'NOT MET'}  {t.text}: {t.measured}" for t in self.targets]
        lines += [f"{bullet}DISTURBED  {m.variant}, round {m.round}: {m.busy:.0%} of a CPU" for m in self._disturbed()]
        lines += [f"{bullet}NO FIGURES  {f.variant}, round {f.round}: {_brief(f.reason)}" for f in self.failures]
        return ["\n".join(lines)] if lines else []

    def _disturbed(self) -> list[Measurement]:
        return [m for m in self.measurements if m.connections == BUSY and m.busy < DISTURBED]


def _brief(reason: str) -> str:
    """Return the ends of a reason: between them may be a traceback."""
    first, *rest = reason.splitlines()
    return f"{first}: {rest[-1]}" if rest else first


def _row(f: Figures, ours: Figures | None) -> tuple[str, ...]:
    bare = f.variant.kind == "bare"
    ratio = times(f, ours)
    return (
        f.variant.title,
        _spread(f.cpu),
        "" if bare else _spread(f.over, "+"),
        f"{ratio:.1f}" if ratio else "",
        f"{f.throughput.median:.0f}",
        "" if bare else f"{f.share.median:.0f}",
        f"{f.p50.median:.2f}",
        _spread(f.p99, digits=2),
        f"{f.resident.median:.0f}",
        str(f.variant.spans),
        str(f.attributes),
        str(f.variant.lines),
    )


def _spread(s: Spread, sign: str = "", digits: int = 1) -> str:
    return f"{s.median:{sign}.{digits}f} ({s.low:.{digits}f}-{s.high:.{digits}f})"


def _title(
    connections: int, rows: list[tuple[str, ...]], layout: Callable[[list[tuple[str, ...]]], str], mark: str = ""
) -> str:
    gap = "\n\n" if mark else "\n"
    return f"{mark}c = {connections}: medians over the rounds (min-max){gap}{layout([HEADINGS, *rows])}"


def _plain(rows: list[tuple[str, ...]]) -> str:
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    lines = []
    for first, *rest in rows:
        cells = [cell.rjust(width) for cell, width in zip(rest, widths[1:], strict=True)]
        lines.append("  ".join([first.ljust(widths[0]), *cells]))
    return "\n".join(lines)


def _piped(rows: list[tuple[str, ...]]) -> str:
    ruler = ["---", *["---:"] * (len(rows[0]) - 1)]
    return "\n".join(f"| {' | '.join(row)} |" for row in [rows[0], tuple(ruler), *rows[1:]])
