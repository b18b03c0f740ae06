"""The chart of a run: a bar for each variant, what it costs over its bare base, readable on light and on dark."""

import math
from collections.abc import Sequence
from html import escape

from benchmarks.telemetry.figures import Figures

WIDTH, LEFT, RIGHT = 760, 270, 90
TOP, ROW, BAR = 56, 34, 18
STYLE = """
  text { font: 13px system-ui, sans-serif; fill: #1f2328 }
  .quiet { fill: #59636e; font-size: 12px } .title { font-weight: 600; font-size: 15px }
  .peer { fill: #8c959f } .ours { fill: #0a7f5a } .reach { stroke: #1f2328; stroke-width: 1.5 } .axis { stroke: #d1d9e0 }
  @media (prefers-color-scheme: dark) {
    text { fill: #f0f6fc } .quiet { fill: #9198a1 } .peer { fill: #656c76 } .ours { fill: #2fbf8f }
    .reach { stroke: #f0f6fc } .axis { stroke: #3d444d }
  }
"""


def chart(found: Sequence[Figures]) -> str:
    """Return an SVG of what the variants of one load cost; whiskers are the smallest and the largest of the rounds."""
    shown = [f for f in found if f.variant.kind != "bare"]
    top = max((f.over.high for f in shown), default=1.0)
    unit = (WIDTH - LEFT - RIGHT) / max(top, 1.0)
    height = TOP + ROW * len(shown) + 40
    rows = [_bar(f, TOP + ROW * place, unit) for place, f in enumerate(shown)]
    label = "CPU of telemetry a request, in microseconds over the same application without it"
    lines = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {height}" role="img" aria-label="{label}">',
        f"<style>{STYLE}</style>",
        '<text x="16" y="24" class="title">CPU of telemetry a request (µs over bare)</text>',
        f'<text x="16" y="43" class="quiet">{_conditions(shown)}</text>',
        *_axis(top, unit, TOP + ROW * len(shown)),
        *rows,
        "</svg>",
    ]
    return "\n".join(lines) + "\n"


def _conditions(shown: Sequence[Figures]) -> str:
    if not shown:
        return "nothing was measured"
    rounds = max(f.rounds for f in shown)
    return f"c = {shown[0].connections}, one worker, spans exported over OTLP; median of {rounds} rounds, min to max"


def _axis(top: float, unit: float, bottom: int) -> list[str]:
    step = 10 ** math.floor(math.log10(max(top, 1.0)))
    marks = [step * n for n in range(int(top // step) + 1)]
    lines = []
    for mark in marks:
        x = LEFT + mark * unit
        lines.append(f'<line class="axis" x1="{x:.1f}" x2="{x:.1f}" y1="{TOP - 4}" y2="{bottom}"/>')
        lines.append(f'<text class="quiet" x="{x:.1f}" y="{bottom + 18}" text-anchor="middle">{mark:g}</text>')
    return lines


def _bar(f: Figures, y: int, unit: float) -> str:
    middle = y + BAR / 2
    kind = "ours" if f.variant.kind in {"ours", "compiled"} else "peer"
    low, high = LEFT + max(f.over.low, 0) * unit, LEFT + max(f.over.high, 0) * unit
    return (
        f'<text x="{LEFT - 10}" y="{middle + 5}" text-anchor="end">{escape(f.variant.title)}</text>'
        f'<rect class="{kind}" x="{LEFT}" y="{y}" width="{max(f.over.median, 0) * unit:.1f}" height="{BAR}" rx="2"/>'
        f'<line class="reach" x1="{low:.1f}" x2="{high:.1f}" y1="{middle}" y2="{middle}"/>'
        f'<text x="{high + 8:.1f}" y="{middle + 5}">{f.over.median:.1f}</text>'
    )
