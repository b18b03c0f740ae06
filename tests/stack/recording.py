"""Records what the real Prometheus answers `goshop`, for tests that have none: `python -m tests.stack.recording`.

Each story is a past, the command that asks for it, and a proxy between the two that writes down what is said.
"""

import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.parse import urlencode
from urllib.request import ProxyHandler, build_opener

from slo.generation.recording import STEP
from tests.backends.build import built
from tests.goshop.replay import FOLDER, prometheus
from tests.stack.counted import BUCKET, COUNT, ROUTE, TARGET, Counter, openmetrics, requests, up
from tests.stack.prometheus import Prometheus, blocks, running

ROOT = Path(__file__).parents[2]
HOUR = 3600.0
# Met, missed, inconclusive, budget spent: whatever was asked was answered.
JUDGED = {0, 1, 3, 6}


def shop(bad: float, slow: float = 0.003) -> list[Counter]:
    """Return 50 requests/s, of which a share is bad and another slow."""
    good = requests(lambda at: round(50 * at * (1 - bad)), slow=slow, edges=("0.8", "+Inf"))
    failed = requests(lambda at: round(50 * at * bad), slow=slow, edges=("0.8", "+Inf"), status_code="500")
    return [*good, *failed, *up()]


def searches() -> list[Counter]:
    """Return 100 searches/s of which 3 of 1,000 take longer than 250 ms."""
    labels = TARGET | ROUTE
    edge = labels | {"le": "0.25"}
    return [Counter(COUNT, labels, lambda at: 100 * at), Counter(BUCKET, edge, lambda at: round(99.7 * at)), *up()]


@dataclass(frozen=True)
class Story:
    """What was counted for some `hours` each `step` s, and who asks."""

    counters: Callable[[], Iterable[Counter]]
    hours: float
    step: float
    command: tuple[str, ...]


BUDGET = ("slo", "budget", str(ROOT / "slo" / "specs" / "checkout.yaml"))
# The first specification of docs/slo.md.
PAGE = ("slo", "budget", "search.yaml")
WINDOW = ("gate", "--source", "prometheus", "--window", "10m")
STORIES = {
    "healthy": Story(lambda: shop(0.002), 3, 60, BUDGET),
    "spent": Story(lambda: shop(0.02), 3, 60, BUDGET),
    "page": Story(searches, 48, 60, PAGE),
    "canary": Story(lambda: shop(0.002), 0.3, 15, WINDOW),
    "broken": Story(lambda: shop(0.03), 0.3, 15, WINDOW),
}


def specification_of_the_page() -> str:
    """Return the specification that docs/slo.md shows."""
    page = (ROOT / "docs" / "slo.md").read_text()
    return page.split("```yaml\n", 1)[1].split("```", 1)[0]


def record(story: Story, start: Callable[[Path], Prometheus], promtool: Path, folder: Path) -> dict[str, Any]:
    """Return what a Prometheus with the story's past answered; raises `RuntimeError` where that was no verdict."""
    # Whole steps of the rules, so that the figures are the same whenever it is recorded.
    until = time.time() // STEP.seconds * STEP.seconds
    text = openmetrics(story.counters(), until - story.hours * HOUR, until, story.step)
    (folder / "search.yaml").write_text(specification_of_the_page())
    server = start(blocks(promtool, text, folder / f"past-{time.monotonic_ns()}"))
    answers: dict[str, Any] = {}
    ask = build_opener(ProxyHandler({}))

    def forward(query: str, _: dict[str, str]) -> tuple[int, bytes]:
        if query == "time()":
            data: dict[str, Any] = {"resultType": "scalar", "result": [until, str(until)]}
            return 200, json.dumps({"status": "success", "data": data}).encode()
        form = urlencode({"query": query, "time": str(until)}).encode()
        with ask.open(f"{server.url}/api/v1/query", form) as answer:
            body = answer.read()
        answers[query] = json.loads(body)["data"]
        return 200, body

    with prometheus(forward) as url:
        command = [sys.executable, "-m", "goshop", *story.command, "--prometheus", url]
        environ = {**os.environ, "PYTHONPATH": str(ROOT)}
        done = subprocess.run(command, cwd=folder, capture_output=True, text=True, check=False, env=environ)
    if done.returncode not in JUDGED:
        raise RuntimeError(f"{' '.join(story.command)} came to no verdict: {done.stderr}{done.stdout}")
    return {"now": until, "answers": answers}


def main() -> None:
    """Write every recording anew."""
    for title, story in STORIES.items():
        with TemporaryDirectory() as name, running(built("prometheus"), Path(name) / "server") as server:
            server.stop()
            found = record(story, partial(_restarted, server), built("promtool"), Path(name))
            (FOLDER / f"{title}.json").write_text(json.dumps(found, separators=(",", ":"), sort_keys=True) + "\n")


def _restarted(server: Prometheus, past: Path) -> Prometheus:
    (server.folder / "data").rename(server.folder / "before")
    past.rename(server.folder / "data")
    server.start()
    return server


if __name__ == "__main__":
    main()
