"""What the shop and each back-end take, on the shipped configurations and without Docker: time to start, memory, CPU.

    python -m benchmarks stack                  a minute; leaves benchmarks/results/stack.{json,md}
    python -m benchmarks stack --seconds 5      a glance, in the terminal only

Everything runs at once, started and built as the tests do (tests/stack). Tempo and Grafana are no Go modules that can be built:
Jaeger, which keeps traces in memory, stands where Tempo stands in the stack.
"""

import json
import os
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, Final, TypeVar

import click

import loadtests
from benchmarks.telemetry.machine import busy_share, machine
from goshop.shop import Shop
from loadtests.profiles import Arrivals, Profile
from loadtests.seed import SeedSize, seed_shop
from tests.backends.build import COMMANDS, built
from tests.compose.model import services, size
from tests.stack import alertmanager, jaeger, loki, prometheus, promtail
from tests.stack.observed import exporting
from tests.stack.walking import configuration, shipped_flags

RESULTS: Final = Path(__file__).parent / "results"
SECONDS: Final = 35
RATE: Final = 50
SIZE: Final = SeedSize(users=20, products=50, orders=20)
# Between two looks at the memory under load, in s.
LOOK: Final = 1.0
# Less of the load would be another load.
ANSWERED: Final = 0.95
STEADY: Final = "the shop: 5 services, PostgreSQL, Valkey"
# A Prometheus that has not scraped twice has not worked yet, in s.
IDLE: Final = 5.0
T = TypeVar("T")


@dataclass
class Part:
    """A part of the stack: its processes, and what was seen. Seconds until it was ready, MB (PSS) idle and at most, CPU s."""

    name: str
    version: str
    pids: tuple[int, ...] = field(repr=False)
    start: float
    idle: float = 0.0
    most: float = 0.0
    cpu: float = 0.0

    def look(self) -> None:
        """Keep the memory if it is more than ever before."""
        self.most = max(self.most, self.memory())

    def memory(self) -> float:
        """Return what it has now in MB: pages that several processes share count once."""
        return sum(_pss(pid) for root in self.pids for pid in (root, *_below(root))) / 1e6

    def spent(self) -> float:
        """Return the CPU seconds that its processes have had."""
        return sum(_cpu(pid) for root in self.pids for pid in (root, *_below(root)))


def _pss(pid: int) -> int:
    try:
        lines = Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines()
    except (FileNotFoundError, ProcessLookupError):  # a database's process that ended just now
        return 0
    return next((int(line.split()[1]) * 1024 for line in lines if line.startswith("Pss:")), 0)


def _below(pid: int) -> Iterator[int]:
    for path in Path(f"/proc/{pid}/task").glob("*/children"):
        try:
            children = path.read_text().split()
        except (FileNotFoundError, ProcessLookupError):
            continue
        for child in map(int, children):
            yield child
            yield from _below(child)


def _cpu(pid: int) -> float:
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    except (FileNotFoundError, ProcessLookupError):
        return 0.0
    # utime and stime (proc(5)).
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@contextmanager
def running(folder: Path) -> Iterator[tuple[Shop, list[Part]]]:
    """Run everything, one after the other; raises `StartError`. Main thread only."""
    commands = {name: built(name) for name in ("loki", "promtail", "jaeger", "prometheus", "alertmanager")}
    logs = folder / "logs"
    logs.mkdir()
    with ExitStack() as stack:
        parts: list[Part] = []

        def start(name: str, server: AbstractContextManager[T], pids: Callable[[T], list[int]]) -> T:
            began = time.perf_counter()
            found = stack.enter_context(server)
            known = COMMANDS.get(name.lower())
            parts.append(Part(name, known.version if known else "", tuple(pids(found)), time.perf_counter() - began))
            return found

        def one(server: Any) -> list[int]:
            return [server.process.pid]

        stored = start("Loki", loki.running(commands["loki"], folder / "loki"), one)
        traces = start("Jaeger", jaeger.running(commands["jaeger"], folder / "jaeger"), one)
        config = alertmanager.CONFIG.read_text()
        told = start(
            "Alertmanager",
            alertmanager.running(commands["alertmanager"], folder / "alertmanager", config),
            one,
        )
        shop = start(STEADY, exporting(folder, traces.traces_endpoint, GOSHOP_LOGS__FOLDER=str(logs)), _of_shop)
        start("Promtail", promtail.running(commands["promtail"], folder / "promtail", logs, stored.url), one)
        scraping = configuration(shop.internal, told.url, every=None)
        server = prometheus.running(commands["prometheus"], folder / "prometheus", scraping, flags=shipped_flags())
        start("Prometheus", server, one)
        yield shop, parts


def _of_shop(shop: Shop) -> list[int]:
    return [*shop.pids.values(), *(server.pid for server in (shop.postgres, shop.valkey) if server is not None)]


def measure(seconds: float, folder: Path) -> tuple[list[Part], int]:
    """Load the shop, and return its parts and how many requests there were; raises `ClickException` for a load that was not served."""
    with running(folder) as (shop, parts):
        data = folder / "seed.json"
        seed_shop(shop.url, shop.admin, data, size=SIZE)
        time.sleep(IDLE)
        for part in parts:
            part.idle = part.memory()
        before = [part.spent() for part in parts]
        looked: list[float] = []

        def look(progress: loadtests.Progress) -> None:
            if not looked or progress.elapsed >= looked[-1] + LOOK:
                looked.append(progress.elapsed)
                for part in parts:
                    part.look()

        profile = Profile(name="steady", load=Arrivals(rate=RATE, users=RATE), seconds=seconds)
        load = loadtests.run(profile, shop.url, data, folder / "k6", on_progress=look)
        for part, spent in zip(parts, before, strict=True):
            part.look()
            part.cpu = part.spent() - spent
        answered = sum(sample.expected for sample in load.samples)
        if answered < ANSWERED * RATE * seconds:
            raise click.ClickException(f"only {answered} requests were answered: {', '.join(load.problems)}")
        return parts, answered


def limits() -> tuple[int, float]:
    """Return how many containers compose/ has, and their memory limits in GB."""
    found = services()
    return len(found), sum(size(each["mem_limit"]) for each in found.values()) / 1e9


def markdown(parts: list[dict[str, Any]], about: dict[str, str]) -> str:
    """Return the table, with what it was measured with."""
    what = f"{about['cpu']}, {about['cores']} cores, {about['system']}, {about['python']}, {about['date']}"
    total = {key: sum(part[key] for part in parts) for key in ("start", "idle", "most", "cpu")}
    rows = [*parts, {"name": "**all**", "version": "", **total}]
    return "\n".join(
        [
            "# What the stack takes",
            "",
            f"{what}; load average {about['load']} at the start.",
            f"{about['requests']} requests in {about['seconds']} s ({RATE} a second), every one traced, logged and counted. Memory is the",
            "proportional set size: what processes share counts once. Started one after the other, with empty folders; the shop makes",
            "its databases and its keys first.",
            "",
            "| | version | ready after (s) | idle (MB) | at most, under load (MB) | CPU under load (s) |",
            "| :--- | :--- | ---: | ---: | ---: | ---: |",
            *(
                f"| {row['name']} | {row['version']} | {row['start']:.1f} | {row['idle']:.0f} | {row['most']:.0f} | {row['cpu']:.1f} |"
                for row in rows
            ),
            "",
            "Tempo and Grafana are no Go modules that could be built: they were not measured. Jaeger stands where Tempo stands in the stack.",
            "",
        ]
    )


@click.command()
@click.option("--seconds", default=SECONDS, show_default=True, type=click.IntRange(5, 600), help="Of load.")
def main(seconds: int) -> None:
    """Start everything, load it, and leave the results of a whole run."""
    about = machine() | {"load": f"{busy_share():.1f}", "seconds": str(seconds)}
    with tempfile.TemporaryDirectory() as folder:
        parts, requests = measure(seconds, Path(folder))
    found = [{key: value for key, value in asdict(part).items() if key != "pids"} for part in parts]
    about["requests"] = f"{requests:,}"
    text = markdown(found, about)
    if seconds >= SECONDS:
        RESULTS.mkdir(exist_ok=True)
        (RESULTS / "stack.json").write_text(json.dumps({"machine": about, "parts": found}, indent=2) + "\n")
        (RESULTS / "stack.md").write_text(text)
    print(text, end="")


if __name__ == "__main__":
    main()
