"""What a trace id costs as an index label, beside structured metadata: streams, memory, refused lines, seconds of a query.

    python -m benchmarks labels                     a minute or two; leaves benchmarks/results/log_labels.{json,md}
    python -m benchmarks labels --traces 2000       a glance, in the terminal only

The same lines go through the shipped Promtail and Loki (loki/*.yaml) each time, started and built as the tests do (tests/stack).
"""

import json
import secrets
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Final

import click

from app.config import SERVICES
from benchmarks.telemetry.machine import busy_share, machine
from goshop.processes import wait_until
from tests.backends.build import COMMANDS, built
from tests.stack import loki as lokis
from tests.stack import promtail as promtails
from tests.stack.backend import Backend
from tests.stack.loki import EVERYTHING, Loki

RESULTS: Final = Path(__file__).parent / "results"
TRACES: Final = 20_000
LINES: Final = 4
ASKED: Final = 9
PATIENCE: Final = 180.0
# Enough for what is measured; with a smaller limit it would be the collector's work that is.
MEMORY: Final = "3GiB"
LABELS: Final = {"PROMTAIL_TRACE_ID_AS": "labels", "PROMTAIL_DROP_RATE_LIMITED": "true"}


@dataclass(frozen=True, slots=True)
class Mode:
    """A way to have the trace id: variables of loki/promtail.yaml and of loki/loki.yaml."""

    name: str
    promtail: dict[str, str]
    loki: dict[str, str]


@dataclass(frozen=True, slots=True)
class Row:
    """One way: counts, memory and disk in MB, CPU and queries in s (medians); `refused` lines are in no answer."""

    mode: str
    lines: int
    refused: int
    streams: int
    memory: float
    disk: float
    cpu: float
    by_id: float
    scan: float


MODES: Final = (
    Mode("structured metadata (as shipped)", {}, {}),
    Mode("label, Loki's limits as shipped", LABELS, {}),
    Mode("label, limit of streams lifted", LABELS, {"LOKI_MAX_STREAMS": "1000000"}),
)


def measure(mode: Mode, traces: int, folder: Path) -> Row:
    """Send the lines of so many traces; raises `AssertionError` when lines are neither stored nor refused."""
    ids = [secrets.token_hex(16) for _ in range(traces)]
    logs = folder / "logs"
    logs.mkdir(parents=True)
    _write(ids, logs)
    expected = traces * LINES
    with (
        lokis.running(built("loki"), folder / "loki", GOMEMLIMIT=MEMORY, **mode.loki) as loki,
        promtails.running(built("promtail"), folder / "promtail", logs, loki.url, **mode.promtail) as promtail,
    ):
        if not wait_until(lambda: _handled(loki) >= expected, PATIENCE):
            raise AssertionError(f"{mode.name}: {_handled(loki):.0f} of {expected} lines after {PATIENCE:.0f} s")
        memory, cpu = loki.memory() / 1e6, _cpu(loki) + _cpu(promtail)
        stored = _stored(loki)
        if (handled := stored + _refused(loki)) != expected:
            raise AssertionError(f"{mode.name}: {handled} of {expected} lines are stored or refused")
        by_id = [
            _of_one(loki, each, is_complete=stored == expected) for each in ids[:: max(1, len(ids) // ASKED)][:ASKED]
        ]
        scan = [_of_all(loki) for _ in range(3)]
        streams = int(loki.metric("loki_ingester_memory_streams"))
        loki.stop()
        disk = sum(file.stat().st_size for file in (folder / "loki" / "data" / "chunks").rglob("*") if file.is_file())
    return Row(
        mode.name,
        stored,
        expected - stored,
        streams,
        memory,
        disk / 1e6,
        cpu,
        statistics.median(by_id),
        statistics.median(scan),
    )


def _write(ids: Sequence[str], logs: Path) -> None:
    for service, lines in zip(SERVICES, _lines(ids), strict=False):
        (logs / f"{service}.log").write_text("\n".join(lines) + "\n")


def _lines(ids: Sequence[str]) -> Iterator[list[str]]:
    """Yield the lines of one service after the other, as access lines are."""
    began = time.time_ns() - len(ids) * 1_000_000
    for service in list(SERVICES)[:LINES]:
        yield [_line(service, each, began + number * 1_000_000) for number, each in enumerate(ids)]


def _line(service: str, trace_id: str, at: int) -> str:
    seconds, rest = divmod(at, 1_000_000_000)
    stamp = f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(seconds))}.{rest // 1000:06d}Z"
    return (
        f'{{"timestamp":"{stamp}","level":"info","logger":"access","message":"GET /api/products/{{id}} 200","service":"{service}",'
        f'"trace_id":"{trace_id}","span_id":"{trace_id[:16]}","trace_flags":"01","method":"GET","endpoint":"/api/products/{{id}}",'
        f'"path":"/api/products/{trace_id[:8]}","status_code":200,"duration_ms":1.234,"client":"127.0.0.1"}}'
    )


def _handled(loki: Loki) -> float:
    return loki.metric("loki_distributor_lines_received_total")


def _refused(loki: Loki) -> int:
    return int(loki.metric("loki_discarded_samples_total"))


def _stored(loki: Loki) -> int:
    answer = loki.json("/loki/api/v1/query", query=f"sum(count_over_time({EVERYTHING}[1h]))")["data"]["result"]
    return int(float(answer[0]["value"][1]))


def _cpu(server: Backend) -> float:
    """Return the CPU seconds that a process has had."""
    fields = Path(f"/proc/{server.pid}/stat").read_text().rpartition(")")[2].split()
    # utime and stime (proc(5)), in ticks of which Linux has 100 a second everywhere.
    return (int(fields[11]) + int(fields[12])) / 100


def _of_one(loki: Loki, trace_id: str, *, is_complete: bool) -> float:
    begin = time.perf_counter()
    found = len(loki.of_trace(trace_id))
    if is_complete and found != LINES:
        raise AssertionError(f"{trace_id} has {found} lines")
    return time.perf_counter() - begin


def _of_all(loki: Loki) -> float:
    begin = time.perf_counter()
    loki.json("/loki/api/v1/query", query=f"sum(count_over_time({EVERYTHING} |= `no such text` [1h]))")
    return time.perf_counter() - begin


def markdown(rows: Sequence[Row], about: dict[str, str]) -> str:
    """Return the table, with what it was measured with."""
    what = f"{about['cpu']}, {about['cores']} cores, {about['system']}, {about['date']}"
    lines = [
        "# The trace id as structured metadata, and as an index label",
        "",
        f"{what}; load average {about['load']} at the start. Loki {COMMANDS['loki'].version}, Promtail {COMMANDS['promtail'].version}.",
        f"{about['traces']} traces with {LINES} lines each, from {LINES} services, as fast as they are taken.",
        "",
        "| the trace id is | lines stored | lines refused | streams | Loki's memory (MB) | on disk (MB) | CPU of both (s) | lines of one id (s) | scan of everything (s) |",
        "| :--- | ---: | ---: | ---: | ---: | ---: | ---: | ---: | ---: |",
    ]
    for row in rows:
        counts = f"{row.lines:,} | {row.refused:,} | {row.streams:,}"
        sizes = f"{row.memory:.0f} | {row.disk:.0f} | {row.cpu:.1f}"
        lines.append(f"| {row.mode} | {counts} | {sizes} | {row.by_id:.3f} | {row.scan:.2f} |")
    return "\n".join(lines) + "\n"


@click.command()
@click.option("--traces", default=TRACES, show_default=True, type=click.IntRange(100), help="How many requests.")
def main(traces: int) -> None:
    """Measure each way to have the trace id, and leave the results of a whole run."""
    about = machine() | {"load": f"{busy_share():.1f}", "traces": f"{traces:,}"}
    rows = []
    for mode in MODES:
        with tempfile.TemporaryDirectory() as folder:
            rows.append(measure(mode, traces, Path(folder) / "run"))
    text = markdown(rows, about)
    if traces >= TRACES:
        RESULTS.mkdir(exist_ok=True)
        document = {"machine": about, "rows": [asdict(row) for row in rows]}
        (RESULTS / "log_labels.json").write_text(json.dumps(document, indent=2) + "\n")
        (RESULTS / "log_labels.md").write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()
