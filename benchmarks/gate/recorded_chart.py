"""The picture of the recorded runs: how much they differ, and how often the gate finds an increase in spite of it.

Readable on light and on dark. On the left the P99 of each run in the order of time; on the right, for both designs, the
share of random pairings in which an increase was found (dots) over what is stated beforehand (lines).
"""

from collections.abc import Callable, Sequence
from typing import Final

from benchmarks.gate.findings import Point

WIDTH, HEIGHT = 860, 340
TOP, BOTTOM = 76, 290
RUNS_LEFT, RUNS_RIGHT = 60, 390
FOUND_LEFT, FOUND_RIGHT = 480, 840
STYLE: Final = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .quiet { fill: #59636e; font-size: 12px } .title { font-weight: 600; font-size: 15px } .axis { stroke: #d1d9e0 }
  .first { fill: #0a7f5a; stroke: #0a7f5a } .second { fill: #8250df; stroke: #8250df } .other { fill: none; stroke: #bc4c00 }
  polyline { fill: none !important; stroke-width: 1.5 } text.first, text.second { stroke: none; font-size: 12px }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc } .quiet { fill: #9198a1 } .axis { stroke: #3d444d }
    .first { fill: #2fbf8f; stroke: #2fbf8f } .second { fill: #b392f0; stroke: #b392f0 } .other { stroke: #f0883e }
  }
"""

Scale = Callable[[float], float]


def chart(runs: Sequence[float], changed: Sequence[float], points: Sequence[Point]) -> str:
    """Return an SVG of the P99 in s of runs, and of those with a change after them, and of the increases found."""
    label = "P99 of each recorded run, and how often an increase of it is found, stated and seen"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="{label}">',
        f"<style>{STYLE}</style>",
        *_runs(runs, changed),
        *_found(points),
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _runs(runs: Sequence[float], changed: Sequence[float]) -> list[str]:
    every = [1e3 * p99 for p99 in (*runs, *changed)]
    x = _scale(0, len(every) + 1, RUNS_LEFT, RUNS_RIGHT)
    y = _scale(0, 1.1 * max(every), BOTTOM, TOP)
    dots = [_dot("first" if n < len(runs) else "other", x(n + 1), y(p99)) for n, p99 in enumerate(every)]
    explained = "filled: one release; hollow: with a new slow path" if changed else "one release"
    return [
        _text(RUNS_LEFT - 44, 24, "P99 of each run, ms", "title"),
        _text(RUNS_LEFT - 44, 46, explained, "quiet"),
        *_levels([step * _step(max(every)) for step in range(6)], y, RUNS_LEFT, RUNS_RIGHT, "{:g}"),
        *dots,
        _text((RUNS_LEFT + RUNS_RIGHT) / 2, BOTTOM + 34, "run, in the order of time", "quiet", "middle"),
    ]


def _found(points: Sequence[Point]) -> list[str]:
    x = _scale(0, max(point.increase for point in points), FOUND_LEFT, FOUND_RIGHT)
    y = _scale(0, 1, BOTTOM, TOP)
    lines = [
        _text(FOUND_LEFT - 44, 24, "Increases of the P99 that are found", "title"),
        *_levels([0, 0.25, 0.5, 0.75, 1], y, FOUND_LEFT, FOUND_RIGHT, "{:.0%}"),
        _text((FOUND_LEFT + FOUND_RIGHT) / 2, BOTTOM + 34, "increase; lines: stated, dots: found", "quiet", "middle"),
    ]
    designs = dict.fromkeys(point.design for point in points)
    for kind, place, design in zip(("first", "second"), (FOUND_LEFT - 44, FOUND_LEFT + 86), designs, strict=True):
        of = [point for point in points if point.design == design]
        path = " ".join(f"{x(point.increase):.1f},{y(point.stated):.1f}" for point in of)
        lines += [f'<polyline class="{kind}" points="{path}"/>', _text(place, 46, design, kind)]
        lines += [_dot(kind, x(point.increase), y(point.found)) for point in of]
    marks = dict.fromkeys(point.increase for point in points)
    return lines + [_text(x(mark), BOTTOM + 16, f"{mark * 100:g}%", "quiet", "middle") for mark in marks]


def _levels(levels: Sequence[float], y: Scale, left: float, right: float, form: str) -> list[str]:
    lines = []
    for level in levels:
        if y(level) >= TOP - 1:
            lines += [
                f'<line class="axis" x1="{left}" x2="{right}" y1="{y(level):.1f}" y2="{y(level):.1f}"/>',
                _text(left - 8, y(level) + 4, form.format(level), "quiet", "end"),
            ]
    return lines


def _step(top: float) -> float:
    """Return the smallest round step of which five reach the top."""
    steps = (digit * 10.0**power for power in range(-3, 6) for digit in (1, 2, 5))
    return next(step for step in steps if 5 * step >= top)


def _scale(low: float, high: float, begin: float, end: float) -> Scale:
    return lambda value: begin + (value - low) / (high - low) * (end - begin)


def _dot(kind: str, x: float, y: float) -> str:
    return f'<circle class="{kind}" cx="{x:.1f}" cy="{y:.1f}" r="3.5"/>'


def _text(x: float, y: float, words: str, kind: str, anchor: str = "start") -> str:
    return f'<text class="{kind}" x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}">{words}</text>'
