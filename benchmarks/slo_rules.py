"""What deriving rules costs as a specification grows: seconds, memory, and whether promtool accepts what comes out.

    python -m benchmarks slo                                   figures, in the terminal and in benchmarks/results
    PROMTOOL=/path/to/promtool python -m benchmarks slo        and promtool's opinion

Each SLO is one of the shipped gateway's, for a route of its own, with four alerts.
"""

import hashlib
import json
import os
import statistics
import subprocess
import tempfile
import time
import tracemalloc
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

from benchmarks.specification import SIZES, many
from benchmarks.telemetry.machine import busy_share, machine
from slo.generation.artefacts import prometheus_rules
from slo.openslo.loading import parse_specification

RESULTS: Final = Path(__file__).parent / "results"
ROUNDS: Final = 5


@dataclass(frozen=True, slots=True)
class Row:
    """One size: seconds are medians of the rounds, `peak` is the most memory that reading and deriving held, in MB.

    `promtool` is how long `promtool check rules` took in s, None where it was not run; it accepts or the run fails.
    """

    slos: int
    rules: int
    read: float
    derived: float
    slowest: float
    peak: float
    size: float
    sha256: str
    promtool: float | None


def measure(size: int, promtool: str = "", rounds: int = ROUNDS) -> Row:
    """Measure one size; raises `AssertionError` when two rounds give different bytes or promtool refuses them."""
    raw = many(size)
    times = [_timed(raw) for _ in range(rounds)]
    made = {text for _, _, text in times}
    if len(made) != 1:
        raise AssertionError("two rounds, two answers")
    text = made.pop()
    return Row(
        slos=size,
        rules=text.count(b"\n      - record: ") + text.count(b"\n      - alert: "),
        read=statistics.median(read for read, _, _ in times),
        derived=statistics.median(derived for _, derived, _ in times),
        slowest=max(derived for _, derived, _ in times),
        peak=_peak(raw),
        size=len(text) / 1e6,
        sha256=hashlib.sha256(text).hexdigest(),
        promtool=_checked(text, promtool) if promtool else None,
    )


def _timed(raw: bytes) -> tuple[float, float, bytes]:
    begin = time.perf_counter()
    specification = parse_specification(raw, "many.yaml")
    middle = time.perf_counter()
    text = prometheus_rules(specification)
    return middle - begin, time.perf_counter() - middle, text


def _peak(raw: bytes) -> float:
    # Apart from the clock: tracing makes everything several times slower.
    tracemalloc.start()
    try:
        prometheus_rules(parse_specification(raw, "many.yaml"))
        return tracemalloc.get_traced_memory()[1] / 1e6
    finally:
        tracemalloc.stop()


def _checked(text: bytes, promtool: str) -> float:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "slo.rules.yaml"
        path.write_bytes(text)
        begin = time.perf_counter()
        done = subprocess.run([promtool, "check", "rules", path], capture_output=True, text=True, check=False)
    if done.returncode:
        raise AssertionError(f"promtool refuses the rules: {done.stderr or done.stdout}")
    return time.perf_counter() - begin


def version(promtool: str) -> str:
    """Return which promtool it was, "" for none."""
    if not promtool:
        return ""
    said = subprocess.run([promtool, "--version"], capture_output=True, text=True, check=True)
    return (said.stdout or said.stderr).splitlines()[0].partition(" (")[0]


def markdown(rows: list[Row], about: dict[str, str]) -> str:
    """Return the table, with what it was measured with."""
    what = f"{about['cpu']}, {about['cores']} cores, {about['system']}, {about['python']}, {about['date']}"
    lines = [
        "# Deriving rules for many SLOs",
        "",
        f"{what}; load average {about['load']} at the start. Medians of {ROUNDS} rounds in one process and thread.",
        f"Checked by {about['promtool']}." if about["promtool"] else "promtool was not run.",
        "",
        "| SLOs | rules | read (s) | derived (s) | slowest (s) | peak memory (MB) | rules file (MB) | `promtool check rules` (s) |",
        "| ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        checked = "not run" if row.promtool is None else f"{row.promtool:.2f}"
        lines.append(
            f"| {row.slos} | {row.rules} | {row.read:.3f} | {row.derived:.3f} | {row.slowest:.3f} | {row.peak:.1f} | {row.size:.2f} | {checked} |"
        )
    return "\n".join(lines) + "\n"


def main() -> None:
    """Measure every size and leave the results."""
    promtool = os.environ.get("PROMTOOL", "")
    about = machine() | {"load": f"{busy_share():.1f}", "promtool": version(promtool)}
    rows = [measure(size, promtool) for size in SIZES]
    text = markdown(rows, about)
    RESULTS.mkdir(exist_ok=True)
    (RESULTS / "slo_rules.json").write_text(
        json.dumps({"machine": about, "rows": [asdict(row) for row in rows]}, indent=2) + "\n"
    )
    (RESULTS / "slo_rules.md").write_text(text)
    print(text, end="")
